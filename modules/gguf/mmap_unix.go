//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package gguf

import (
	"errors"
	"math"
	"os"
	"syscall"
)

// mapFile maps size bytes of f, read-only. The mapping outlives f.
func mapFile(f *os.File, size int64) (data []byte, unmap func() error, err error) {
	if size <= 0 || size > math.MaxInt {
		return nil, nil, errors.ErrUnsupported
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	// Control keeps the descriptor open for the call; Fd would make it blocking.
	ctlErr := raw.Control(func(fd uintptr) {
		data, err = syscall.Mmap(int(fd), 0, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
	})
	if err = errors.Join(ctlErr, err); err != nil {
		return nil, nil, err
	}
	advise(data)
	return data, func() error { return syscall.Munmap(data) }, nil
}
