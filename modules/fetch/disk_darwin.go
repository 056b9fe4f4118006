package fetch

import (
	"os"
	"syscall"
	"unsafe"
)

// fstore is struct fstore of <sys/fcntl.h>.
type fstore struct {
	flags     uint32
	posmode   int32
	offset    int64
	length    int64
	allocated int64 // out
}

const (
	fAllocateAll = 4
	fPeofPosMode = 3
)

// preallocate reserves the blocks of f up to size, where the file system can.
// Only the missing part is asked for: F_PREALLOCATE counts from the physical end.
func preallocate(f *os.File, size int64) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	want := size - allocated(st)
	if want <= 0 {
		return nil
	}
	req := fstore{flags: fAllocateAll, posmode: fPeofPosMode, length: want}
	_, _, errno := syscall.Syscall(syscall.SYS_FCNTL, f.Fd(), syscall.F_PREALLOCATE, uintptr(unsafe.Pointer(&req)))
	if errno == syscall.ENOSPC {
		return errno
	}
	return nil
}
