//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package kvstore

import (
	"errors"
	"os"
	"syscall"
)

// lockFile waits for an exclusive lock, which ends with the open file.
func lockFile(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// syncDir makes a rename durable.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = f.Sync()
	_ = f.Close()
	if errors.Is(err, syscall.EINVAL) { // file systems that cannot sync a folder
		return nil
	}
	return err
}
