package fetchcmd

import "syscall"

// totalMemory is the memory of this machine, bytes; 0 unknown.
func totalMemory() int64 {
	var si syscall.Sysinfo_t
	if err := syscall.Sysinfo(&si); err != nil {
		return 0
	}
	return int64(si.Totalram) * int64(si.Unit) //nolint:unconvert // 32 bits on some machines
}
