package metal

import (
	"fmt"
	"os"
	"unsafe"
)

// Buffer is memory that CPU and GPU share. The CPU may touch it while no command buffer that uses it is running. It lives
// until Release; the memory of a wrapped one stays the caller's.
type Buffer struct {
	buf id
	mem []byte
}

// Storage mode shared, hazard tracking untracked: order is kept by barriers alone.
const (
	resourceUntracked = 1 << 8
	resourceOptions   = resourceUntracked
)

// NewBuffer takes n bytes of zeroed shared memory. Error: ErrMemory.
func (d *Device) NewBuffer(n int) (*Buffer, error) {
	if n <= 0 {
		return nil, fmt.Errorf("metal: buffer: want at least 1 byte, got %d", n)
	}
	b := d.dev.sendID(selNewBuffer, uintptr(n), resourceOptions)
	if b == 0 {
		return nil, fmt.Errorf("metal: buffer of %d bytes: %w", n, ErrMemory)
	}
	return &Buffer{b, unsafe.Slice((*byte)(pointer(b.send(selContents))), n)}, nil
}

// Wrap makes a buffer of memory that is already there, without a copy: whole pages, neither moved nor unmapped before
// Release — a memory map. Read-only maps may be wrapped, and must not be written by a kernel. Error: ErrMemory, or memory
// that is not whole pages.
func (d *Device) Wrap(mem []byte) (*Buffer, error) {
	b, err := d.WrapPages(uintptr(unsafe.Pointer(unsafe.SliceData(mem))), len(mem))
	if err == nil {
		b.mem = mem
	}
	return b, err
}

// WrapPages is Wrap for n bytes at an address. Its Bytes are nil: the pages may hold more than what the caller owns, and Go must
// have no pointer to that. What the caller owns there stays in place and reachable until Release.
func (d *Device) WrapPages(addr uintptr, n int) (*Buffer, error) {
	page := uintptr(os.Getpagesize())
	if n <= 0 || addr%page != 0 || uintptr(n)%page != 0 {
		return nil, fmt.Errorf("metal: wrap: want whole pages of %d bytes, got %d bytes at %#x", page, n, addr)
	}
	b := d.dev.sendID(selNewBufferNoCopy, addr, uintptr(n), resourceOptions, 0)
	if b == 0 {
		return nil, fmt.Errorf("metal: wrap %d bytes: %w", n, ErrMemory)
	}
	return &Buffer{b, nil}, nil
}

// Bytes is the buffer's memory; nil after Release, and of WrapPages.
func (b *Buffer) Bytes() []byte { return b.mem }

// Release drops the buffer.
func (b *Buffer) Release() {
	b.buf.release()
	b.buf, b.mem = 0, nil
}
