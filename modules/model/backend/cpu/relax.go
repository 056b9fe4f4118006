//go:build amd64 || arm64

package cpu

// relax tells the processor that a thread waits: the other thread of its core gets the core's resources.
func relax()
