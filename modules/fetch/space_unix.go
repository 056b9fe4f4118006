//go:build linux || darwin || freebsd

package fetch

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// freeSpace is the number of bytes that may be written in dir; ok is false where nobody knows.
func freeSpace(dir string) (free int64, ok bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true //nolint:unconvert // their types differ from system to system
}

// allocated is the number of bytes a file takes on the disk.
func allocated(fi fs.FileInfo) int64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return fi.Size()
}

// syncDir makes a rename to path survive power loss.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	_ = d.Sync() // some file systems sync no folders; the rename itself has succeeded
	return d.Close()
}
