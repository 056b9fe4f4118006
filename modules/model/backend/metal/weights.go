package metal

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"slices"
	"unsafe"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/metal"
	"github.com/ds4-go/ds4/modules/model/backend"
)

type weight struct {
	name       string
	typ        gguf.Type
	rows, cols int
	data       []byte
	at         ref // once it is wrapped
}

// region is a stretch of pages that one buffer wraps.
type region struct {
	start, end uintptr
	buf        *metal.Buffer
}

// Bind notes where a tensor lies; its pages are wrapped when the next step begins. Errors: a type without kernels, a size that
// does not fit the dimensions, a tensor longer than the device's longest buffer.
func (b *Backend) Bind(t *gguf.Tensor, data []byte) (backend.Weight, error) {
	cols, rows := 1, 1
	for i, d := range t.Dims {
		if d > math.MaxInt32 {
			return backend.Weight{}, fmt.Errorf("metal: %s: dimension %d is %d: too large", t.Name, i, d)
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
		return backend.Weight{}, fmt.Errorf("metal: %s: no kernels for type %v", t.Name, t.Type)
	}
	rb, err := t.Type.RowBytes(cols)
	if err != nil {
		return backend.Weight{}, fmt.Errorf("metal: %s: %w", t.Name, err)
	}
	n := rb * int64(rows)
	switch {
	case rows > math.MaxInt32 || int64(len(data)) < n || n == 0:
		return backend.Weight{}, fmt.Errorf("metal: %s: want %d bytes, got %d", t.Name, n, len(data))
	case uint64(n)+2*uint64(os.Getpagesize()) > b.d.Info().MaxBufferBytes:
		return backend.Weight{}, fmt.Errorf("metal: %s: want at most %d bytes in one buffer, got %d: %w", t.Name, b.d.Info().MaxBufferBytes, n, backend.ErrMemory)
	case uintptr(unsafe.Pointer(unsafe.SliceData(data)))%4 != 0:
		return backend.Weight{}, fmt.Errorf("metal: %s: want an address that is a multiple of 4", t.Name)
	}
	b.weights = append(b.weights, weight{name: t.Name, typ: t.Type, rows: rows, cols: cols, data: data[:n:n]})
	return backend.Weight{ID: int32(len(b.weights)), Type: t.Type, Rows: int32(rows), Cols: int32(cols)}, nil
}

// wrap makes buffers over the pages of what was bound since: neighbours share one, up to the longest that the device has.
func (b *Backend) wrap() error {
	if b.mapped == len(b.weights) {
		return nil
	}
	page := uintptr(os.Getpagesize())
	list := make([]*weight, 0, len(b.weights)-b.mapped)
	for i := b.mapped; i < len(b.weights); i++ {
		list = append(list, &b.weights[i])
	}
	first := func(w *weight) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(w.data))) }
	slices.SortFunc(list, func(x, y *weight) int { return cmp.Compare(first(x), first(y)) })
	for i := 0; i < len(list); {
		start := first(list[i]) &^ (page - 1)
		end, j := start, i
		for ; j < len(list); j++ {
			// heaps and files leave gaps of less than a page between tensors; a larger one may be no memory at all
			at, to := first(list[j]), (first(list[j])+uintptr(len(list[j].data))+page-1)&^(page-1)
			if j > i && at > end+page || uint64(max(end, to)-start) > b.d.Info().MaxBufferBytes {
				break
			}
			end = max(end, to)
		}
		if err := b.wrapRegion(list[i:j], start, end); err != nil {
			return err
		}
		i = j
	}
	b.mapped = len(b.weights)
	b.wire()
	return nil
}

func (b *Backend) wrapRegion(list []*weight, start, end uintptr) error {
	buf, err := b.d.WrapPages(start, int(end-start)) // by address: on Go's heap the pages hold other objects too
	if err != nil {
		return fmt.Errorf("metal: weights from %s on: %w", list[0].name, classify(err))
	}
	b.regions = append(b.regions, region{start, end, buf})
	for _, w := range list {
		w.at = ref{buf, int(uintptr(unsafe.Pointer(unsafe.SliceData(w.data))) - start)}
	}
	return nil
}

// wire keeps the weights resident where the system can.
func (b *Backend) wire() {
	if b.opt.NoResidency {
		return
	}
	if b.set == nil {
		set, err := b.d.NewResidency()
		if err != nil {
			b.opt.NoResidency = true // an older system wires at each command buffer
			return
		}
		b.set = set
	}
	var all []*metal.Buffer
	for i := range b.regions {
		all = append(all, b.regions[i].buf)
	}
	b.set.Set(all)
}

// Warm reads every page of the weights, in the order of the file, so that the first step does not wait for a disk. progress, if
// not nil, is told the bytes read so far and in all.
func (b *Backend) Warm(progress func(done, total int64)) {
	total, done, sum := int64(0), int64(0), byte(0)
	for i := range b.weights {
		total += int64(len(b.weights[i].data))
	}
	page := os.Getpagesize()
	const report = 64 << 20
	for i := range b.weights {
		p := b.weights[i].data
		for at := 0; at < len(p); at += report {
			piece := p[at:min(len(p), at+report)]
			for j := 0; j < len(piece); j += page {
				sum ^= piece[j]
			}
			done += int64(len(piece))
			if progress != nil {
				progress(done, total)
			}
		}
	}
	b.scr.sink = sum
}

func (b *Backend) weight(w backend.Weight) *weight { return &b.weights[w.ID-1] }

// vector is where an optional weight lies; the step block stands for one that is absent.
func (b *Backend) vector(w backend.Weight) ref {
	if w.ID == 0 {
		return ref{b.block, 0}
	}
	return b.weight(w).at
}
