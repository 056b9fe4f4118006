//go:build linux || darwin || freebsd

package synthcmd

import "syscall"

// freeSpace is the number of bytes that may be written in dir; ok is false where nobody knows.
func freeSpace(dir string) (free int64, ok bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true //nolint:unconvert // their types differ from system to system
}
