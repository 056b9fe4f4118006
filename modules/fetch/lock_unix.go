//go:build unix && !solaris && !aix

package fetch

import (
	"errors"
	"os"
	"syscall"
)

func lockFile(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errHeld
	}
	return err
}

func removeLocked(f *os.File, path string) {
	_ = os.Remove(path)
	_ = f.Close()
}
