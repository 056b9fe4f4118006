//go:build unix

package cpu

import (
	"syscall"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// alloc maps anonymous memory: zeroed, page-aligned, committed as it is touched, and invisible to the collector.
func alloc(n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	p, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		return nil, backend.ErrMemory
	}
	return p, nil
}

func free(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	return syscall.Munmap(p)
}
