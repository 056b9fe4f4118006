package gguf

import (
	"cmp"
	"errors"
	"fmt"
	"io"
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

// Warnings lists what is legal in the file and yet suspicious: gaps between
// tensors, bytes after the last one, padding that is not zero. It reads the
// padding of every tensor, which Open does not.
func (f *File) Warnings() ([]*Error, error) {
	var list []*Error
	warn := func(class Class, at uint64, t *Tensor, want, got string) {
		e := &Error{Class: class, Offset: int64(at), Record: -1, What: "header", Want: want, Got: got}
		if t != nil {
			e.What, e.Name, e.Record = "tensor", t.Name, f.Index(t)
		}
		list = append(list, e)
	}
	size := uint64(f.size)
	// end is the first byte that is not accounted for, last the tensor before it.
	end, last := uint64(f.headerSize), (*Tensor)(nil)
	pad := func() error {
		padded := min(roundUp(end, uint64(f.alignment)), size)
		at, err := f.firstNonZero(end, padded)
		if err == nil && at < padded {
			warn(ClassBadPadding, at, last, "zero padding up to byte "+utoa(padded), "something else")
		}
		end = max(end, padded)
		return err
	}
	for _, t := range f.byOffset() {
		start := uint64(t.FileOffset())
		if start < end { // shares data, by permission
			end, last = max(end, start+t.Bytes), t
			continue
		}
		if err := pad(); err != nil {
			return nil, err
		}
		if start > end {
			warn(ClassGap, end, t, "data from byte "+utoa(end), "data from byte "+utoa(start))
		}
		end, last = start+t.Bytes, t
	}
	if err := pad(); err != nil {
		return nil, err
	}
	if end < size {
		warn(ClassTrailingData, end, last, "end of file at byte "+utoa(end), utoa(size-end)+" bytes more")
	}
	return list, nil
}

// firstNonZero returns the first byte in [from, to) of the file that is not
// zero, or to.
func (f *File) firstNonZero(from, to uint64) (uint64, error) {
	buf := make([]byte, 4096)
	for from < to {
		n := min(to-from, uint64(len(buf)))
		if _, err := f.ReadAt(buf[:n], int64(from)); err != nil && !errors.Is(err, io.EOF) {
			return from, err
		}
		for i, b := range buf[:n] {
			if b != 0 {
				return from + uint64(i), nil
			}
		}
		from += n
	}
	return to, nil
}

func roundUp(n, align uint64) uint64 { return (n + align - 1) / align * align }
