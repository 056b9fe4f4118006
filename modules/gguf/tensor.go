package gguf

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Tensor is one entry of the directory. A Tensor may also be made by hand
// (Name, Type, Dims) where only its shape matters; such a one has no data.
type Tensor struct {
	Name   string
	Type   Type
	Dims   []uint64 // ggml order: Dims[0] is the row, contiguous
	Offset uint64   // bytes from the start of the data section
	Bytes  uint64   // bytes of data

	info  TypeInfo // with the options' types; zero when made by hand
	file  *File
	start int64 // where the record begins, for errors
}

// typeInfo returns the packing of the tensor's type.
func (t *Tensor) typeInfo() TypeInfo {
	if t.info.BlockSize > 0 {
		return t.info
	}
	info, _ := t.Type.Info()
	return info
}

// TypeName returns the name of the type, with those of [WithType].
func (t *Tensor) TypeName() string {
	if info := t.typeInfo(); info.Name != "" {
		return info.Name
	}
	return t.Type.String()
}

// Elements returns the number of elements: the product of Dims.
func (t *Tensor) Elements() uint64 {
	n := uint64(1)
	for _, d := range t.Dims {
		n *= d
	}
	return n
}

func (t *Tensor) rowLen() uint64 {
	if len(t.Dims) == 0 {
		return 1
	}
	return t.Dims[0]
}

// Rows returns the number of rows: the product of all dimensions but the first.
func (t *Tensor) Rows() uint64 {
	n := uint64(1)
	for _, d := range t.Dims[min(1, len(t.Dims)):] {
		n *= d
	}
	return n
}

// RowBytes returns the bytes of one row, 0 if the type is unknown.
func (t *Tensor) RowBytes() int64 {
	info := t.typeInfo()
	if info.BlockSize == 0 {
		return 0
	}
	return int64(t.rowLen() / uint64(info.BlockSize) * uint64(info.BlockBytes))
}

// Shape returns the dimensions outermost first, as most programs write them.
func (t *Tensor) Shape() []uint64 {
	shape := make([]uint64, len(t.Dims))
	for i, d := range t.Dims {
		shape[len(shape)-1-i] = d
	}
	return shape
}

// String returns type and shape, outermost dimension first: "q8_0 (1024, 4096)".
func (t *Tensor) String() string {
	var b strings.Builder
	b.WriteString(t.TypeName())
	b.WriteString(" (")
	for i, d := range t.Shape() {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.FormatUint(d, 10))
	}
	b.WriteByte(')')
	return b.String()
}

// FileOffset returns where the data starts, in bytes from the start of the file.
func (t *Tensor) FileOffset() int64 {
	if t.file == nil {
		return 0
	}
	return t.file.dataOffset + int64(t.Offset)
}

// Data returns the tensor's bytes: a view when the file is mapped or in
// memory, otherwise a fresh copy.
func (t *Tensor) Data() ([]byte, error) { return t.bytes(0, t.Bytes) }

// Row returns the bytes of row r, counted over all outer dimensions: a view or
// a copy, as Data.
func (t *Tensor) Row(r uint64) ([]byte, error) {
	if r >= t.Rows() {
		return nil, fmt.Errorf("gguf: tensor %q: want a row below %d, got %d", t.Name, t.Rows(), r)
	}
	n := uint64(t.RowBytes())
	return t.bytes(r*n, n)
}

// Slice returns the bytes of entry i of the outermost dimension, such as one
// expert of a stack: a view or a copy, as Data.
func (t *Tensor) Slice(i uint64) ([]byte, error) {
	if len(t.Dims) == 0 {
		return nil, fmt.Errorf("gguf: tensor %q: want a tensor with dimensions to slice, got a scalar", t.Name)
	}
	outer := t.Dims[len(t.Dims)-1]
	if len(t.Dims) == 1 {
		return nil, fmt.Errorf("gguf: tensor %q: want 2 dimensions or more to slice, got 1", t.Name)
	}
	if i >= outer {
		return nil, fmt.Errorf("gguf: tensor %q: want an entry below %d, got %d", t.Name, outer, i)
	}
	n := t.Bytes / outer
	return t.bytes(i*n, n)
}

// bytes returns n bytes at off within the tensor; the caller keeps to its size.
func (t *Tensor) bytes(off, n uint64) ([]byte, error) {
	f := t.file
	if f == nil {
		return nil, fmt.Errorf("gguf: tensor %q: made by hand, has no data", t.Name)
	}
	if f.closed.Load() {
		return nil, fmt.Errorf("gguf: tensor %q: %w", t.Name, ErrClosed)
	}
	start := uint64(t.FileOffset()) + off
	if start+n > uint64(f.size) {
		return nil, fmt.Errorf("gguf: tensor %q: want bytes %d to %d, file ends at %d: %w", t.Name, start, start+n, f.size, ClassTruncated)
	}
	if f.data != nil {
		return f.data[start : start+n : start+n], nil
	}
	if n > math.MaxInt {
		return nil, fmt.Errorf("gguf: tensor %q: %d bytes do not fit in memory", t.Name, n)
	}
	buf := make([]byte, n)
	if read, err := f.src.ReadAt(buf, int64(start)); uint64(read) < n {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("gguf: tensor %q: read %d of %d bytes at %d: %w", t.Name, read, n, start, err)
	}
	return buf, nil
}

// Section returns a reader over the tensor's bytes. It fails on the first read
// after Close.
func (t *Tensor) Section() *io.SectionReader {
	if t.file == nil {
		return io.NewSectionReader(strings.NewReader(""), 0, 0)
	}
	return io.NewSectionReader(t.file, t.FileOffset(), int64(t.Bytes))
}

// Payload returns the tensor's bytes as a payload for a [Writer], streamed
// from the file. The file must stay open until they are written.
func (t *Tensor) Payload() Payload {
	return func(w io.Writer) error {
		if t.file != nil && t.file.data != nil {
			data, err := t.Data()
			if err != nil {
				return err
			}
			return Bytes(data)(w)
		}
		_, err := io.Copy(w, t.Section())
		return err
	}
}
