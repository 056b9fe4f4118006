package gguf

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// checkLayout checks where the tensors lie: in the file, apart from each other.
func (f *File) checkLayout(s *scanner) error {
	s.what = "tensor"
	sorted, next, end := true, uint64(0), uint64(0)
	for i := range f.tensors {
		t := &f.tensors[i]
		s.record, s.name = i, []byte(nil)
		fail := func(class Class, want, got string) error {
			s.name = []byte(t.Name)
			return s.fail(class, t.start, want, got)
		}
		base := uint64(f.dataOffset)
		if t.Offset > math.MaxInt64-base || t.Bytes > math.MaxInt64-base-t.Offset {
			return fail(ClassOffsetOverflow, "data that ends before byte 2^63", fmt.Sprintf("offset %d of %d bytes", t.Offset, t.Bytes))
		}
		if last := base + t.Offset + t.Bytes; last > uint64(f.size) && !s.opt.headerOnly {
			return fail(ClassTensorOutOfFile, fmt.Sprintf("data within %d bytes of file", f.size), fmt.Sprintf("bytes %d to %d", base+t.Offset, last))
		}
		if s.opt.contiguous && t.Offset != next {
			return fail(ClassNotContiguous, fmt.Sprintf("offset %d", next), fmt.Sprintf("%d", t.Offset))
		}
		next = roundUp(t.Offset+t.Bytes, uint64(f.alignment))
		if t.Bytes > 0 {
			sorted = sorted && t.Offset >= end
			end = t.Offset + t.Bytes
		}
	}
	if sorted || s.opt.sharedOffsets && f.saysShared() {
		return nil
	}
	return f.checkOverlap(s)
}

// saysShared reports whether the file declares its shared offsets.
func (f *File) saysShared() bool {
	shared, err := f.Bool(KeySharedOffsets)
	return err == nil && shared
}

func (f *File) checkOverlap(s *scanner) error {
	byOffset := f.byOffset()
	for i := 1; i < len(byOffset); i++ {
		a, b := byOffset[i-1], byOffset[i]
		if a.Offset+a.Bytes <= b.Offset {
			continue
		}
		s.record, s.name = f.Index(b), []byte(b.Name)
		got := fmt.Sprintf("offset %d inside tensor %q (%d to %d)", b.Offset, a.Name, a.Offset, a.Offset+a.Bytes)
		if f.saysShared() {
			got += "; the file is marked as synthetic, see AllowSharedOffsets"
		}
		return s.fail(ClassTensorsOverlap, b.start, "data of its own", got)
	}
	return nil
}

// byOffset lists the tensors that have data, by where it starts; of several at
// one place the first of the directory comes first.
func (f *File) byOffset() []*Tensor {
	list := make([]*Tensor, 0, len(f.tensors))
	for i := range f.tensors {
		if t := &f.tensors[i]; t.Bytes > 0 {
			list = append(list, t)
		}
	}
	slices.SortStableFunc(list, func(a, b *Tensor) int { return cmp.Compare(a.Offset, b.Offset) })
	return list
}

func roundUp(n, align uint64) uint64 { return (n + align - 1) / align * align }
