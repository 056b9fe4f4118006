//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package gpulock

import (
	"errors"
	"os"
	"syscall"
)

// errBusy says that another process has the lock.
var errBusy = syscall.EWOULDBLOCK

// tryLock takes an exclusive lock, which ends with the open file, or says at once that it can't.
func tryLock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
