package fetch

import (
	"errors"
	"os"
	"syscall"
)

const (
	fallocKeepSize  = 1
	fallocPunchHole = 2
)

// preallocate reserves the blocks of f up to size, where the file system can.
func preallocate(f *os.File, size int64) error {
	err := syscall.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return err
}

// punch makes a range of f a hole, which reads as zeros; false where it can't.
func punch(f *os.File, off, n int64) bool {
	return syscall.Fallocate(int(f.Fd()), fallocKeepSize|fallocPunchHole, off, n) == nil
}

func syncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
