//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package gguf

import (
	"errors"
	"fmt"
)

// Lock needs a system that locks mapped files: errors.ErrUnsupported.
func (f *File) Lock() error { return fmt.Errorf("gguf: lock: %w", errors.ErrUnsupported) }
