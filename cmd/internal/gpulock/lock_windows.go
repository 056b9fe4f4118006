package gpulock

import (
	"os"
	"syscall"
	"unsafe"
)

var lockFileEx = syscall.NewLazyDLL("kernel32.dll").NewProc("LockFileEx")

// errBusy says that another process has the lock: ERROR_LOCK_VIOLATION.
var errBusy = syscall.Errno(33)

// tryLock takes an exclusive lock, which ends with the open file, or says at once that it can't. Locked bytes can't be read by
// others, so the byte is one far behind the pid.
func tryLock(f *os.File) error {
	const exclusive, failAtOnce = 2, 1
	at := syscall.Overlapped{Offset: 1 << 30}
	if ok, _, err := lockFileEx.Call(f.Fd(), exclusive|failAtOnce, 0, 1, 0, uintptr(unsafe.Pointer(&at))); ok == 0 {
		return err
	}
	return nil
}
