package kvstore

import (
	"os"
	"syscall"
	"unsafe"
)

var lockFileEx = syscall.NewLazyDLL("kernel32.dll").NewProc("LockFileEx")

// lockFile waits for an exclusive lock, which ends with the open file.
func lockFile(f *os.File) error {
	const exclusive = 2
	var at syscall.Overlapped
	if ok, _, err := lockFileEx.Call(f.Fd(), exclusive, 0, 1, 0, uintptr(unsafe.Pointer(&at))); ok == 0 {
		return err
	}
	return nil
}

// syncDir has nothing to do: a rename is in the file system's journal.
func syncDir(string) error { return nil }
