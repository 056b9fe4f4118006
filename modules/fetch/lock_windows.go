package fetch

import (
	"os"
	"syscall"
	"unsafe"
)

var lockFileEx = syscall.NewLazyDLL("kernel32.dll").NewProc("LockFileEx")

const (
	lockExclusive       = 2
	lockFailImmediately = 1
	errorLockViolation  = syscall.Errno(33)
)

// lockFile locks one byte far behind the text, so that others can read who holds it.
func lockFile(f *os.File) error {
	ol := syscall.Overlapped{Offset: 1 << 20}
	r, _, err := lockFileEx.Call(f.Fd(), lockExclusive|lockFailImmediately, 0, 1, 0, uintptr(unsafe.Pointer(&ol)))
	if r != 0 {
		return nil
	}
	if err == errorLockViolation || err == syscall.ERROR_IO_PENDING { //nolint:errorlint // a bare Errno
		return errHeld
	}
	return err
}

// removeLocked closes first: Windows removes no open file. Whoever opens it in between keeps it.
func removeLocked(f *os.File, path string) {
	_ = f.Close()
	_ = os.Remove(path)
}
