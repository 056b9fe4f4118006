package fetch

import (
	"io/fs"
	"syscall"
	"unsafe"
)

var getDiskFreeSpaceEx = syscall.NewLazyDLL("kernel32.dll").NewProc("GetDiskFreeSpaceExW")

// freeSpace is the number of bytes that may be written in dir; ok is false where nobody knows.
func freeSpace(dir string) (free int64, ok bool) {
	p, err := syscall.UTF16PtrFromString(dir)
	if err != nil {
		return 0, false
	}
	var n uint64
	r, _, _ := getDiskFreeSpaceEx.Call(uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&n)), 0, 0)
	return int64(n), r != 0
}

// allocated is the number of bytes a file takes on the disk.
func allocated(fi fs.FileInfo) int64 { return fi.Size() }

// syncDir has no equivalent: NTFS journals renames by itself.
func syncDir(string) error { return nil }
