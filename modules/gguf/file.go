package gguf

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync/atomic"
)

// File is an open GGUF file. Opening indexes the header: where each metadata
// value lies, and the tensor directory. Values are decoded when asked for.
//
// A File is safe for use by several goroutines, except for Close. Slices and
// strings documented as views point into the file's mapping and must neither
// be written nor used after Close.
type File struct {
	version     uint32
	alignment   int64
	alignmentAt int64
	headerSize  int64 // bytes up to the end of the last tensor record
	dataOffset  int64 // bytes from the start of the file to the data section
	size        int64

	head   []byte      // at least the header
	data   []byte      // the whole file, when mapped or in memory
	src    io.ReaderAt // the whole file, otherwise
	closer func() error
	closed atomic.Bool

	kvs     []KV
	keys    map[string]int32
	tensors []Tensor
	names   map[string]int32
}

// Open opens the file at path, mapped into memory where the system can.
func Open(path string, opts ...Option) (*File, error) {
	o := defaultOptions(opts)
	fd, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("gguf: %w", err)
	}
	st, err := fd.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s: want a regular file, got %s", path, describeMode(st.Mode()))
	}
	if err != nil {
		_ = fd.Close() // err is what matters
		return nil, fmt.Errorf("gguf: %w", err)
	}
	f := &File{size: st.Size(), src: fd, closer: fd.Close}
	if !o.noMmap {
		// Where mapping fails (pipes, some network mounts), reading still works.
		if data, unmap, err := mapFile(fd, st.Size()); err == nil {
			f.data, f.src, f.closer = data, nil, unmap
			_ = fd.Close() // the mapping stays
		}
	}
	if err := f.load(&o); err != nil {
		_ = f.Close() // err is what matters
		var e *Error
		if !errors.As(err, &e) {
			return nil, fmt.Errorf("gguf: %s: %w", path, err)
		}
		e.Path = path
		return nil, e
	}
	return f, nil
}

// Parse opens a file of size bytes behind r. The header is kept in memory;
// tensor data is read on demand. Close does not close r.
func Parse(r io.ReaderAt, size int64, opts ...Option) (*File, error) {
	o := defaultOptions(opts)
	if size < 0 {
		return nil, fmt.Errorf("gguf: want a size of 0 or more bytes, got %d", size)
	}
	f := &File{size: size, src: r}
	if err := f.load(&o); err != nil {
		var e *Error
		if !errors.As(err, &e) {
			err = fmt.Errorf("gguf: read header: %w", err)
		}
		return nil, err
	}
	return f, nil
}

// ParseBytes opens a file that is in memory. Views point into data.
func ParseBytes(data []byte, opts ...Option) (*File, error) {
	o := defaultOptions(opts)
	f := &File{size: int64(len(data)), data: data}
	if data == nil {
		f.data = []byte{}
	}
	if err := f.load(&o); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) load(o *options) error {
	return f.parse(&scanner{buf: f.data, size: f.size, src: f.src, opt: o})
}

func describeMode(m os.FileMode) string {
	if m.IsDir() {
		return "a directory"
	}
	return "a special file (" + m.String() + ")"
}

// Close releases the mapping or the file descriptor. All views end here.
// Further calls do nothing.
func (f *File) Close() error {
	if f.closed.Swap(true) || f.closer == nil {
		return nil
	}
	if err := f.closer(); err != nil {
		return fmt.Errorf("gguf: close: %w", err)
	}
	return nil
}

// Version returns the format version, 3 unless [AllowVersion2] was given.
func (f *File) Version() int { return int(f.version) }

// Alignment returns the alignment of tensor data in bytes.
func (f *File) Alignment() int64 { return f.alignment }

// HeaderSize returns the bytes up to the end of the last tensor record.
func (f *File) HeaderSize() int64 { return f.headerSize }

// DataOffset returns where the data section starts, in bytes from the start
// of the file. Tensor offsets count from here.
func (f *File) DataOffset() int64 { return f.dataOffset }

// Size returns the size of the file in bytes.
func (f *File) Size() int64 { return f.size }

// Mapped reports whether tensor data can be had without a copy.
func (f *File) Mapped() bool { return f.data != nil }

// NumKVs returns the number of metadata records.
func (f *File) NumKVs() int { return len(f.kvs) }

// NumTensors returns the number of tensor records.
func (f *File) NumTensors() int { return len(f.tensors) }

// KVs iterates over the metadata in file order.
func (f *File) KVs() iter.Seq[*KV] {
	return func(yield func(*KV) bool) {
		for i := range f.kvs {
			if !yield(&f.kvs[i]) {
				return
			}
		}
	}
}

// KV returns the metadata record with the given key.
func (f *File) KV(key string) (*KV, bool) {
	i, ok := f.keys[key]
	if !ok {
		return nil, false
	}
	return &f.kvs[i], true
}

// Tensors iterates over the tensors in file (directory) order.
func (f *File) Tensors() iter.Seq[*Tensor] {
	return func(yield func(*Tensor) bool) {
		for i := range f.tensors {
			if !yield(&f.tensors[i]) {
				return
			}
		}
	}
}

// TensorsByOffset iterates over the tensors that have data, in the order in
// which it lies in the file.
func (f *File) TensorsByOffset() iter.Seq[*Tensor] {
	return func(yield func(*Tensor) bool) {
		for _, t := range f.byOffset() {
			if !yield(t) {
				return
			}
		}
	}
}

// Tensor returns the tensor with the given name.
func (f *File) Tensor(name string) (*Tensor, bool) {
	i, ok := f.names[name]
	if !ok {
		return nil, false
	}
	return &f.tensors[i], true
}

// Index returns the position of t in the directory, -1 if it is not of f.
func (f *File) Index(t *Tensor) int {
	if i, ok := f.names[t.Name]; ok && t.file == f {
		return int(i)
	}
	return -1
}

// ReadAt reads bytes of the file, like io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if f.closed.Load() {
		return 0, fmt.Errorf("gguf: read: %w", ErrClosed)
	}
	if f.data == nil {
		return f.src.ReadAt(p, off)
	}
	if off < 0 {
		return 0, fmt.Errorf("gguf: read: want an offset of 0 or more, got %d", off)
	}
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Data returns the bytes of t: a view when f is mapped or in memory, otherwise
// a fresh copy. See [Tensor.Section] to stream without either.
func (f *File) Data(t *Tensor) ([]byte, error) {
	if t.file != f {
		return nil, fmt.Errorf("gguf: tensor %q: not of this file", t.Name)
	}
	return t.Data()
}
