//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package gguf

import (
	"errors"
	"fmt"
	"syscall"
)

// Lock reads the whole file into memory and keeps it there until Close. The system allows a process only so much (ulimit -l):
// past that, and where there is not so much memory, the error wraps its errno. A file that is not mapped cannot be locked:
// errors.ErrUnsupported.
func (f *File) Lock() error {
	if f.data == nil || f.closed.Load() {
		return fmt.Errorf("gguf: lock: want a mapped file: %w", errors.ErrUnsupported)
	}
	if err := syscall.Mlock(f.data); err != nil {
		return fmt.Errorf("gguf: lock %d bytes in memory: %w", len(f.data), err)
	}
	return nil
}
