//go:build !linux

package cpu

// systemMemory returns zeros: not known here.
func systemMemory() (total, free int64) { return 0, 0 }
