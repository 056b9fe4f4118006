package cuda

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/cuda/driver"
)

// tileBytes is the size of a tile of 16 rows by 256 inputs (kernels/tiles.cuh); 0: a type that keeps the file's layout.
func tileBytes(t gguf.Type) int64 {
	switch t {
	case gguf.TypeQ8_0:
		return 4352
	case gguf.TypeIQ2_XXS:
		return 1120
	case gguf.TypeQ2_K:
		return 1344
	case gguf.TypeQ4_K:
		return 2368
	case gguf.TypeMXFP4:
		return 2176
	}
	return 0
}

// Bind takes room on the card and starts the upload, which goes on while further tensors are bound.
func (b *Backend) Bind(t *gguf.Tensor, data []byte) (backend.Weight, error) {
	cols, rows := int64(1), int64(1)
	for i, d := range t.Dims {
		if d > math.MaxInt32 {
			return backend.Weight{}, fmt.Errorf("cuda: %s: dimension %d is %d: too large", t.Name, i, d)
		}
		if i == 0 {
			cols = int64(d)
		} else if rows *= int64(d); rows > math.MaxInt32 {
			return backend.Weight{}, fmt.Errorf("cuda: %s: more than %d rows", t.Name, math.MaxInt32)
		}
	}
	switch t.Type {
	case gguf.TypeF32, gguf.TypeF16, gguf.TypeI32:
	default:
		if tileBytes(t.Type) == 0 {
			return backend.Weight{}, fmt.Errorf("cuda: %s: no kernels for type %v", t.Name, t.Type)
		}
	}
	rowBytes, err := t.Type.RowBytes(int(cols))
	if err != nil {
		return backend.Weight{}, fmt.Errorf("cuda: %s: %w", t.Name, err)
	}
	if int64(len(data)) < rowBytes*rows {
		return backend.Weight{}, fmt.Errorf("cuda: %s: want %d bytes, got %d", t.Name, rowBytes*rows, len(data))
	}
	key := shared{t.Offset, unsafe.SliceData(data), t.Type, cols, rows}
	if w, ok := b.shared[key]; ok { // a synthetic file, whose layers share their experts
		return w, nil
	}
	b.enter()
	defer b.leave()
	runs := (cols + 255) / 256
	size := rowBytes * rows
	if n := tileBytes(t.Type); n > 0 {
		size = (rows + 15) / 16 * runs * n
	}
	base, err := b.arena.take(b.d, size)
	if err != nil {
		return backend.Weight{}, fmt.Errorf("cuda: %s: %d bytes: %w", t.Name, size, lacking(err))
	}
	if b.load == nil {
		if b.load, err = newLoader(b.d, b.opt.Loaders); err != nil {
			return backend.Weight{}, fmt.Errorf("cuda: loader: %w", lacking(err))
		}
	}
	w := weight{t.Name, t.Type, int(rows), int(cols), base}
	if err := b.load.tensor(b, &w, data[:rowBytes*rows], rowBytes); err != nil {
		return backend.Weight{}, fmt.Errorf("cuda: %s: %w", t.Name, lacking(err))
	}
	b.weights = append(b.weights, w)
	h := backend.Weight{ID: int32(len(b.weights)), Type: t.Type, Rows: int32(rows), Cols: int32(cols)}
	if b.shared == nil {
		b.shared = map[shared]backend.Weight{}
	}
	b.shared[key] = h
	return h, nil
}

// shared identifies the bytes of a tensor: those that several tensors share are on the card once.
type shared struct {
	offset     uint64
	data       *byte
	typ        gguf.Type
	cols, rows int64
}

func (b *Backend) weight(w backend.Weight) *weight { return &b.weights[w.ID-1] }

// vector is the address of a weight, 0 of a zero handle.
func (b *Backend) vector(w backend.Weight) addr {
	if w.ID == 0 {
		return 0
	}
	return b.weight(w).base
}

// arena takes device memory for weights: small ones share pieces.
type arena struct {
	bytes      int64
	all        []addr
	piece      addr
	used, size int64
}

const (
	arenaPiece = 32 << 20
	arenaSmall = 4 << 20 // larger tensors have an allocation of their own
)

func (a *arena) take(d *driver.Driver, n int64) (addr, error) {
	n = (n + 255) &^ 255
	if n > arenaSmall {
		p, err := d.Alloc(n)
		if err != nil {
			return 0, err
		}
		a.all, a.bytes = append(a.all, p), a.bytes+n
		return p, nil
	}
	if a.used+n > a.size {
		p, err := d.Alloc(arenaPiece)
		if err != nil {
			return 0, err
		}
		a.all, a.bytes = append(a.all, p), a.bytes+arenaPiece
		a.piece, a.used, a.size = p, 0, arenaPiece
	}
	p := a.piece + addr(a.used)
	a.used += n
	return p, nil
}

func (a *arena) free(d *driver.Driver) error {
	var first error
	for _, p := range a.all {
		if err := d.Free(p); first == nil {
			first = err
		}
	}
	*a = arena{}
	return first
}
