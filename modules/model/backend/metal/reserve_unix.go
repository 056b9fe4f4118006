//go:build darwin || linux

package metal

import "syscall"

const canReserve = true

// reserve takes whole pages of addresses; the system backs them as they are touched.
func reserve(n int) ([]byte, error) {
	page := syscall.Getpagesize()
	return syscall.Mmap(-1, 0, (n+page-1)&^(page-1), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
}

func unreserve(p []byte) { _ = syscall.Munmap(p) }
