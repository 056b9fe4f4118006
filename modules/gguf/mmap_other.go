//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package gguf

import (
	"errors"
	"os"
)

// mapFile has no mapping to offer here; Open falls back to reading.
func mapFile(*os.File, int64) ([]byte, func() error, error) {
	return nil, nil, errors.ErrUnsupported
}
