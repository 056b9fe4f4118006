package gguf

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"unicode/utf8"
)

// Payload produces the data of one tensor, exactly as many bytes as its type
// and dimensions ask for. It may be called more than once, with the same result.
type Payload func(w io.Writer) error

// Bytes is a payload that is in memory.
func Bytes(b []byte) Payload {
	return func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}

// Section is a payload that lies in another file, such as another tensor's
// bytes: n bytes at off.
func Section(r io.ReaderAt, off, n int64) Payload {
	return func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(r, off, n))
		return err
	}
}

// Writer plans a file and then streams it: metadata in the order of the Add
// calls, the directory and the data in that of the AddTensor calls. Only
// header and plan are in memory, so the size of the data does not matter. The
// same calls give the same bytes.
//
// A Writer may write several times. It is not safe for concurrent use.
type Writer struct {
	kvs       []byte // encoded records
	nKV       int
	keys      map[string]bool
	tensors   []plannedTensor
	names     map[string]int
	alignment uint64
	shared    bool
	types     options
	end       uint64 // of the data so far, in bytes, padded
}

type plannedTensor struct {
	name    string
	typ     Type
	dims    []uint64
	bytes   uint64
	offset  uint64
	payload Payload // nil: shares the data of another
}

// NewWriter returns an empty plan with the default alignment. Of the options
// only [WithType] and [AllowScalars] matter here.
func NewWriter(opts ...Option) *Writer {
	return &Writer{
		keys: map[string]bool{}, names: map[string]int{},
		alignment: DefaultAlignment, types: defaultOptions(opts),
	}
}

// Add appends a metadata record. v is one of the types of [Scalar], a slice of
// one, or an [Array] from another file. A plain int is refused, as it does not
// say how the file should hold it.
//
// [KeyAlignment] must come before the first tensor.
func (w *Writer) Add(key string, v any) error {
	kind, value, err := encodeValue(v)
	if err != nil {
		return fmt.Errorf("gguf: key %q: %w", key, err)
	}
	return w.addRecord(key, kind, value)
}

// Copy appends a metadata record of another file as it is.
func (w *Writer) Copy(kv *KV) error {
	raw, err := kv.Raw()
	if err != nil {
		return err
	}
	return w.addRecord(kv.Key, kv.Kind, raw)
}

func (w *Writer) addRecord(key string, kind Kind, value []byte) error {
	switch {
	case key == "" || len(key) > maxKeyBytes:
		return fmt.Errorf("gguf: key %q: want 1 to %d bytes, got %d", clip(key, 80), maxKeyBytes, len(key))
	case !utf8.ValidString(key):
		return fmt.Errorf("gguf: key %q: want valid UTF-8", clip(key, 80))
	case w.keys[key]:
		return fmt.Errorf("gguf: key %q: added twice", key)
	}
	if key == KeyAlignment {
		if err := w.setAlignment(kind, value); err != nil {
			return err
		}
	}
	if key == KeySharedOffsets {
		w.shared = kind == KindBool && value[0] == 1
	}
	w.keys[key] = true
	w.nKV++
	w.kvs = appendString(w.kvs, key)
	w.kvs = binary.LittleEndian.AppendUint32(w.kvs, uint32(kind))
	w.kvs = append(w.kvs, value...)
	return nil
}

func (w *Writer) setAlignment(kind Kind, value []byte) error {
	if kind != KindUint32 {
		return fmt.Errorf("gguf: key %q: want u32, got %v", KeyAlignment, kind)
	}
	align := binary.LittleEndian.Uint32(value)
	if bits.OnesCount32(align) != 1 || align > maxAlignment {
		return fmt.Errorf("gguf: key %q: want a power of two up to %d, got %d", KeyAlignment, maxAlignment, align)
	}
	if len(w.tensors) > 0 {
		return fmt.Errorf("gguf: key %q: want it before the first tensor", KeyAlignment)
	}
	w.alignment = uint64(align)
	return nil
}

// AddTensor appends a tensor whose data comes next in the file. dims are in
// ggml order, the contiguous dimension first.
func (w *Writer) AddTensor(name string, t Type, dims []uint64, data Payload) error {
	if data == nil {
		return fmt.Errorf("gguf: tensor %q: want a payload, got nil", clip(name, 80))
	}
	p, err := w.plan(name, t, dims)
	if err != nil {
		return err
	}
	if w.end > math.MaxInt64-2*maxAlignment-p.bytes {
		return fmt.Errorf("gguf: tensor %q: file size overflows", name)
	}
	p.offset, p.payload = w.end, data
	w.end = roundUp(w.end+p.bytes, w.alignment)
	w.names[name] = len(w.tensors)
	w.tensors = append(w.tensors, p)
	return nil
}

// ShareOffsets marks the file as synthetic with [KeySharedOffsets], so that
// [Writer.AddShared] may be used.
func (w *Writer) ShareOffsets() error { return w.Add(KeySharedOffsets, true) }

// AddShared appends a tensor that has no data of its own: it lies off bytes
// into the data of tensor owner, which must hold all of it. off is a multiple
// of the alignment. Readers refuse such a file unless told [AllowSharedOffsets].
func (w *Writer) AddShared(name string, t Type, dims []uint64, owner string, off uint64) error {
	if !w.shared {
		return fmt.Errorf("gguf: tensor %q: want ShareOffsets before shared data", clip(name, 80))
	}
	p, err := w.plan(name, t, dims)
	if err != nil {
		return err
	}
	i, ok := w.names[owner]
	if !ok {
		return fmt.Errorf("gguf: tensor %q: shares data of %q: %w", name, clip(owner, 80), ErrNotFound)
	}
	o := &w.tensors[i]
	if off%w.alignment != 0 {
		return fmt.Errorf("gguf: tensor %q: want a shared offset in multiples of %d, got %d", name, w.alignment, off)
	}
	if off > o.bytes || p.bytes > o.bytes-off {
		return fmt.Errorf("gguf: tensor %q: want shared data within the %d bytes of %q, got %d at %d", name, o.bytes, owner, p.bytes, off)
	}
	p.offset = o.offset + off
	w.names[name] = len(w.tensors)
	w.tensors = append(w.tensors, p)
	return nil
}

// plan checks a tensor by the rules of the reader.
func (w *Writer) plan(name string, t Type, dims []uint64) (plannedTensor, error) {
	p := plannedTensor{name: name, typ: t, dims: append([]uint64(nil), dims...)}
	fail := func(format string, args ...any) (plannedTensor, error) {
		return p, fmt.Errorf("gguf: tensor %q: %w", clip(name, 80), fmt.Errorf(format, args...))
	}
	if _, dup := w.names[name]; dup {
		return fail("added twice")
	}
	if name == "" || len(name) > maxTensorName || !utf8.ValidString(name) {
		return fail("want a name of 1 to %d bytes of UTF-8, got %d bytes", maxTensorName, len(name))
	}
	if len(dims) > maxDims || len(dims) == 0 && !w.types.scalars {
		return fail("want 1 to %d dimensions, got %d", maxDims, len(dims))
	}
	info, ok := w.types.typeInfo(t)
	if !ok {
		return fail("want a known type, got %v: %w", t, ErrUnsupported)
	}
	elements, product := uint64(1), uint64(1)
	for _, d := range dims {
		hi, lo := bits.Mul64(product, max(d, 1))
		if hi != 0 || lo > math.MaxInt64 {
			return fail("want fewer than 2^63 elements, got dimensions %d", dims)
		}
		product = lo
		elements *= d
	}
	if len(dims) > 0 && dims[0]%uint64(info.BlockSize) != 0 || len(dims) == 0 && info.BlockSize > 1 {
		return fail("want rows in blocks of %d elements (%s), got dimensions %d", info.BlockSize, info.Name, dims)
	}
	hi, size := bits.Mul64(elements/uint64(info.BlockSize), uint64(info.BlockBytes))
	if hi != 0 || size > math.MaxInt64 {
		return fail("want fewer than 2^63 bytes, got dimensions %d of %s", dims, info.Name)
	}
	p.bytes = size
	return p, nil
}

// WriteHeader writes everything before the data section, padding included, and
// returns the bytes written: a file to plan with, see [HeaderOnly].
func (w *Writer) WriteHeader(out io.Writer) (int64, error) {
	n, err := out.Write(w.header())
	if err != nil {
		return int64(n), fmt.Errorf("gguf: write header: %w", err)
	}
	return int64(n), nil
}

// header returns everything before the data section, padded.
func (w *Writer) header() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, headerBytes+len(w.kvs)+96*len(w.tensors)+int(w.alignment))
	b = append(b, "GGUF"...)
	b = le.AppendUint32(b, 3)
	b = le.AppendUint64(b, uint64(len(w.tensors)))
	b = le.AppendUint64(b, uint64(w.nKV))
	b = append(b, w.kvs...)
	for i := range w.tensors {
		t := &w.tensors[i]
		b = appendString(b, t.name)
		b = le.AppendUint32(b, uint32(len(t.dims)))
		for _, d := range t.dims {
			b = le.AppendUint64(b, d)
		}
		b = le.AppendUint32(b, uint32(t.typ))
		b = le.AppendUint64(b, t.offset)
	}
	return append(b, make([]byte, roundUp(uint64(len(b)), w.alignment)-uint64(len(b)))...)
}

// Size returns the bytes that WriteTo will write.
func (w *Writer) Size() int64 {
	n := uint64(headerBytes + len(w.kvs))
	for i := range w.tensors {
		n += uint64(8 + len(w.tensors[i].name) + 4 + 8*len(w.tensors[i].dims) + 4 + 8)
	}
	return int64(roundUp(n, w.alignment) + w.end)
}

// WriteTo streams the file, and returns the bytes written.
func (w *Writer) WriteTo(out io.Writer) (int64, error) {
	buf := bufio.NewWriterSize(out, 1<<20)
	count := &countingWriter{w: buf}
	if _, err := w.WriteHeader(count); err != nil {
		return count.n, err
	}
	zeros := make([]byte, w.alignment)
	for i := range w.tensors {
		t := &w.tensors[i]
		if t.payload == nil {
			continue
		}
		start := count.n
		exact := &exactWriter{w: count, left: t.bytes}
		if err := t.payload(exact); err != nil {
			return count.n, fmt.Errorf("gguf: write tensor %q: %w", t.name, err)
		}
		if exact.left > 0 {
			return count.n, fmt.Errorf("gguf: write tensor %q: want %d bytes of data, got %d", t.name, t.bytes, count.n-start)
		}
		pad := roundUp(t.bytes, w.alignment) - t.bytes
		if _, err := count.Write(zeros[:pad]); err != nil {
			return count.n, fmt.Errorf("gguf: write padding: %w", err)
		}
	}
	if err := buf.Flush(); err != nil {
		return count.n - int64(buf.Buffered()), fmt.Errorf("gguf: write: %w", err)
	}
	return count.n, nil
}

// WriteFile writes the file under a temporary name beside path, syncs it and
// renames it: path is the old file or the whole new one, never a part.
func (w *Writer) WriteFile(path string) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp*")
	if err != nil {
		return fmt.Errorf("gguf: %w", err)
	}
	defer func() {
		if err != nil {
			_ = tmp.Close()
			_ = os.Remove(tmp.Name())
		}
	}()
	if _, err := w.WriteTo(tmp); err != nil {
		return err
	}
	// CreateTemp makes private files; a model is not a secret.
	if err := tmp.Chmod(0o644); err != nil {
		return fmt.Errorf("gguf: %w", err)
	}
	if err := tmp.Sync(); err != nil {
		return fmt.Errorf("gguf: %w", err)
	}
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("gguf: %w", err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("gguf: %w", err)
	}
	return nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// exactWriter refuses more than the bytes a tensor has.
type exactWriter struct {
	w    io.Writer
	left uint64
}

func (e *exactWriter) Write(p []byte) (int, error) {
	if uint64(len(p)) > e.left {
		return 0, fmt.Errorf("%d bytes more than the tensor has", uint64(len(p))-e.left)
	}
	n, err := e.w.Write(p)
	e.left -= uint64(n)
	return n, err
}
