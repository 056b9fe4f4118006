package driver

import "unsafe"

// Alloc takes device memory.
func (d *Driver) Alloc(n int64) (Ptr, error) {
	p := new(uintptr)
	err := d.do(cuMemAlloc, ptr(p), uintptr(n))
	return Ptr(*p), err
}

// Free gives memory of Alloc back.
func (d *Driver) Free(p Ptr) error { return d.do(cuMemFree, uintptr(p)) }

// Pinned takes host memory that the device copies at full speed. It is not the collector's.
func (d *Driver) Pinned(n int) ([]byte, error) {
	p := new(uintptr)
	if err := d.do(cuMemHostAlloc, ptr(p), uintptr(n), 1); err != nil { // portable: for every context
		return nil, err
	}
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(p))), n), nil
}

// FreePinned gives memory of Pinned back.
func (d *Driver) FreePinned(p []byte) error { return d.do(cuMemFreeHost, address(p)) }

func address(p []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(p))) }

// ToDevice queues a copy. src must be pinned, or stay in place until the stream has run.
func (d *Driver) ToDevice(dst Ptr, src []byte, s Stream) error {
	return d.do(cuMemcpyHtoDAsync, uintptr(dst), address(src), uintptr(len(src)), uintptr(s))
}

// ToHost queues a copy.
func (d *Driver) ToHost(dst []byte, src Ptr, s Stream) error {
	return d.do(cuMemcpyDtoHAsync, address(dst), uintptr(src), uintptr(len(dst)), uintptr(s))
}

// Copy queues a copy within the device.
func (d *Driver) Copy(dst, src Ptr, n int64, s Stream) error {
	return d.do(cuMemcpyDtoDAsync, uintptr(dst), uintptr(src), uintptr(n), uintptr(s))
}

// Fill queues setting n bytes.
func (d *Driver) Fill(dst Ptr, v byte, n int64, s Stream) error {
	return d.do(cuMemsetD8Async, uintptr(dst), uintptr(v), uintptr(n), uintptr(s))
}

// Range is a reserved range of addresses whose memory is committed from its start, chunk by chunk.
type Range struct {
	Base      Ptr
	Size      int64 // reserved
	Committed int64
	chunks    []chunk
}

type chunk struct {
	handle uint64
	at     Ptr
	size   int64
}

// chunkBytes is what a range grows by: a multiple of every granularity seen (2 MiB).
const chunkBytes = 64 << 20

// allocProp is CUmemAllocationProp for pinned device memory.
type allocProp struct {
	kind, handleTypes   uint32
	locType, locID      int32
	win32               uintptr
	compression, rdma   uint8
	usage               uint16
	reserved, reserved2 uint32
}

type accessDesc struct {
	locType, locID int32
	flags          uint32
}

// Reserve takes addresses and no memory.
func (d *Driver) Reserve(size int64) (*Range, error) {
	size = (size + chunkBytes - 1) / chunkBytes * chunkBytes
	p := new(uintptr)
	if err := d.do(cuMemAddressReserve, ptr(p), uintptr(size), 0, 0, 0); err != nil {
		return nil, err
	}
	return &Range{Base: Ptr(*p), Size: size}, nil
}

// Commit backs the first n bytes of the range with memory.
func (d *Driver) Commit(r *Range, n int64) error {
	for r.Committed < min(n, r.Size) {
		size := min(chunkBytes, r.Size-r.Committed)
		h, at := new(uint64), r.Base+Ptr(r.Committed)
		prop := &allocProp{kind: 1, locType: 1, locID: d.dev}
		if err := d.do(cuMemCreate, ptr(h), uintptr(size), ptr(prop), 0); err != nil {
			return err
		}
		if err := d.do(cuMemMap, uintptr(at), uintptr(size), 0, uintptr(*h), 0); err != nil {
			_ = d.do(cuMemRelease, uintptr(*h))
			return err
		}
		r.chunks = append(r.chunks, chunk{*h, at, size})
		access := &accessDesc{1, d.dev, 3}
		if err := d.do(cuMemSetAccess, uintptr(at), uintptr(size), ptr(access), 1); err != nil {
			return err
		}
		r.Committed += size
	}
	return nil
}

// Release gives memory and addresses back.
func (d *Driver) Release(r *Range) error {
	var first error
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	for _, c := range r.chunks {
		keep(d.do(cuMemUnmap, uintptr(c.at), uintptr(c.size)))
		keep(d.do(cuMemRelease, uintptr(c.handle)))
	}
	keep(d.do(cuMemAddressFree, uintptr(r.Base), uintptr(r.Size)))
	r.chunks, r.Committed = nil, 0
	return first
}
