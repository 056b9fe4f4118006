//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package gguf

// advise does nothing: these systems choose page sizes themselves.
func advise([]byte) {}
