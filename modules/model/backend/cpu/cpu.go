package cpu

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Options are the choices a caller has. The zero value uses all cores and the fastest variant that the machine has.
type Options struct {
	Threads int    // 0: all cores
	Variant string // "", or the name of a kernel set: see Variants
	Poison  bool   // fill new buffers with NaN, so that a test sees what is read before it is written
}

// Backend implements backend.Backend.
type Backend struct {
	sh   backend.Shape
	lim  backend.Limits
	opt  Options
	pool *pool

	variant *variant
	workers sync.Pool

	bufs    []buffer
	weights []weight
	reads   sync.WaitGroup // in the background, from bufs

	step *backend.Step
	err  error
	rope [2][]float32 // by kind: cos and sin of every row of the step, (rows, r/2, 2)
	scratch
}

type buffer struct {
	name  string
	row   int // bytes
	parts []int
	data  []byte
}

type weight struct {
	name       string
	typ        gguf.Type
	rows, cols int
	rowBytes   int
	data       []byte
}

// New makes a backend for one shape. Errors: a shape or a limit out of range, an unknown variant.
func New(sh backend.Shape, lim backend.Limits, opt Options) (*Backend, error) {
	if err := sh.Check(); err != nil {
		return nil, err
	}
	if err := lim.Check(); err != nil {
		return nil, err
	}
	if opt.Threads <= 0 {
		opt.Threads = runtime.GOMAXPROCS(0)
	}
	v, err := pick(opt.Variant)
	if err != nil {
		return nil, err
	}
	b := &Backend{sh: sh, lim: lim, opt: opt, variant: v, pool: newPool(opt.Threads)}
	b.workers.New = func() any { return new(worker) }
	return b, nil
}

func (b *Backend) worker() *worker   { return b.workers.Get().(*worker) }
func (b *Backend) release(w *worker) { b.workers.Put(w) }

// Bind keeps data where it is. Errors: a type without kernels, a size that does not fit the dimensions.
func (b *Backend) Bind(t *gguf.Tensor, data []byte) (backend.Weight, error) {
	cols, rows := 1, 1
	for i, d := range t.Dims {
		if d > math.MaxInt32 {
			return backend.Weight{}, fmt.Errorf("cpu: %s: dimension %d is %d: too large", t.Name, i, d)
		}
		if i == 0 {
			cols = int(d)
		} else {
			rows *= int(d)
		}
	}
	switch t.Type {
	case gguf.TypeF32, gguf.TypeF16, gguf.TypeI32, gguf.TypeQ8_0, gguf.TypeQ2_K, gguf.TypeQ4_K, gguf.TypeIQ2_XXS, gguf.TypeMXFP4:
	default:
		return backend.Weight{}, fmt.Errorf("cpu: %s: no kernels for type %v", t.Name, t.Type)
	}
	rb, err := t.Type.RowBytes(cols)
	if err != nil {
		return backend.Weight{}, fmt.Errorf("cpu: %s: %w", t.Name, err)
	}
	if rows > math.MaxInt32 || int64(len(data)) < rb*int64(rows) {
		return backend.Weight{}, fmt.Errorf("cpu: %s: want %d bytes, got %d", t.Name, rb*int64(rows), len(data))
	}
	b.weights = append(b.weights, weight{t.Name, t.Type, rows, cols, int(rb), data})
	return backend.Weight{ID: int32(len(b.weights)), Type: t.Type, Rows: int32(rows), Cols: int32(cols)}, nil
}

// Alloc takes zeroed memory, which the system commits as it is touched.
func (b *Backend) Alloc(name string, rows int, parts ...backend.Part) (backend.Buf, error) {
	u := buffer{name: name}
	for _, p := range parts {
		u.parts = append(u.parts, u.row)
		u.row += int(p.Bytes())
	}
	if rows < 0 || u.row > 0 && rows > math.MaxInt/u.row {
		return backend.Buf{}, fmt.Errorf("cpu: %s: %d rows of %d bytes: %w", name, rows, u.row, backend.ErrMemory)
	}
	data, err := alloc(rows * u.row)
	if err != nil {
		return backend.Buf{}, fmt.Errorf("cpu: %s: %d rows of %d bytes: %w", name, rows, u.row, err)
	}
	u.data = data
	if b.opt.Poison {
		for i := range u.data {
			u.data[i] = 0xff
		}
	}
	b.bufs = append(b.bufs, u)
	return backend.Buf{ID: int32(len(b.bufs)), Rows: int32(rows), RowBytes: int64(u.row)}, nil
}

// Memory lists what was allocated; pages of a buffer that were never touched count all the same.
func (b *Backend) Memory() backend.Memory {
	m := backend.Memory{}
	m.TotalBytes, m.FreeBytes = systemMemory()
	for i := range b.bufs {
		m.Uses = append(m.Uses, backend.Use{Name: b.bufs[i].name, Bytes: int64(len(b.bufs[i].data))})
	}
	m.Uses = append(m.Uses, backend.Use{Name: "scratch", Bytes: b.bytes()})
	return m
}

// Close stops the threads and frees the buffers, once what is read in the background has been read. The weights' bytes are
// the caller's.
func (b *Backend) Close() error {
	b.pool.close()
	b.reads.Wait()
	var err error
	for i := range b.bufs {
		if e := free(b.bufs[i].data); err == nil {
			err = e
		}
	}
	b.bufs, b.weights = nil, nil
	return err
}

// Write replaces the start of a row.
func (b *Backend) Write(dst backend.Buf, row int, p []byte) { copy(b.row(dst, row), p) }

// Copy copies one row.
func (b *Backend) Copy(dst backend.Buf, dstRow int, src backend.Buf, srcRow int) {
	copy(b.row(dst, dstRow), b.row(src, srcRow))
}

// Read copies rows at once, or on a goroutine where the caller gave done.
func (b *Backend) Read(p []byte, src backend.Buf, row int, done func(error)) {
	u := &b.bufs[src.ID-1]
	from := u.data[row*u.row:]
	if done == nil {
		copy(p, from)
		return
	}
	b.reads.Add(1)
	go func() {
		copy(p, from)
		b.reads.Done()
		done(nil)
	}()
}

// Begin starts a step.
func (b *Backend) Begin(s *backend.Step) {
	s.Check(&b.sh, &b.lim)
	b.step, b.err = s, nil
	b.rotations()
}

// Wait ends the step.
func (b *Backend) Wait() error {
	err := b.err
	b.step, b.err = nil, nil
	return err
}

// skip says that an operation must not run: one before it failed, or the step was stopped.
func (b *Backend) skip(op string, layer int32) bool {
	if b.err == nil && b.step.Stop != nil && b.step.Stop.Load() {
		b.fail(op, layer, backend.ErrCanceled)
	}
	return b.err != nil
}

func (b *Backend) fail(op string, layer int32, err error) {
	if b.err == nil {
		b.err = &backend.OpError{Op: op, Layer: int(layer), Err: err}
	}
}

func (b *Backend) ratio(layer int32) int {
	if int(layer) >= b.sh.Layers { // the draft layer
		return 0
	}
	return b.sh.Ratio[layer]
}

func (b *Backend) weight(w backend.Weight) *weight { return &b.weights[w.ID-1] }

// row is the bytes of one row of a buffer.
func (b *Backend) row(u backend.Buf, row int) []byte {
	d := &b.bufs[u.ID-1]
	return d.data[row*d.row : (row+1)*d.row : (row+1)*d.row]
}

// part is the bytes of one part of a row.
func (b *Backend) part(u backend.Buf, row, part int) []byte {
	d := &b.bufs[u.ID-1]
	end := d.row
	if part+1 < len(d.parts) {
		end = d.parts[part+1]
	}
	return d.data[row*d.row+d.parts[part] : row*d.row+end]
}

// f32 is a row of a buffer as floats.
func (b *Backend) f32(u backend.Buf, row int) []float32 { return floats(b.row(u, row)) }

// all is the first n rows of a buffer as floats, one after another.
func (b *Backend) all(u backend.Buf, n int) []float32 {
	d := &b.bufs[u.ID-1]
	return floats(d.data[:n*d.row])
}

func (b *Backend) i32(u backend.Buf, row int) []int32 { return view[int32](b.row(u, row)) }

// floats views bytes that a backend allocated, or that a GGUF file aligned, as float32. Hosts are little-endian.
func floats(p []byte) []float32 { return view[float32](p) }

func view[T any](p []byte) []T {
	if len(p) == 0 {
		return nil
	}
	var z T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(p))), len(p)/int(unsafe.Sizeof(z)))
}

func view8(p []int8) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(p))), len(p))
}
