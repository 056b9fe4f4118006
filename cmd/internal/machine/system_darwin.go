package machine

import "golang.org/x/sys/unix"

// memory returns the machine's memory in bytes; what is free means little here, as the system keeps it in use.
func memory() (total, free int64) {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0, 0
	}
	return int64(n), 0
}

func cpuName() string {
	s, err := unix.Sysctl("machdep.cpu.brand_string")
	if err != nil {
		return ""
	}
	return s
}
