//go:build !linux && !darwin && !windows

package fetchcmd

// totalMemory is the memory of this machine, bytes; 0 unknown.
func totalMemory() int64 { return 0 }
