//go:build !linux && !darwin && !windows

package machine

func memory() (total, free int64) { return 0, 0 }

func cpuName() string { return "" }
