package cpu

import (
	"fmt"
	"unsafe"

	"github.com/ds4-go/ds4/modules/gguf"
)

// The fast path multiplies tiles of weight rows with all activation rows at once. A variant's kernels keep the oracle's order of
// sums, so their bits are the plain loops' own; what a variant lacks falls back to these.

func ptr[T any](s []T) *byte { return (*byte)(unsafe.Pointer(unsafe.SliceData(s))) }

// tileRows is the number of weight rows in a tile.
const tileRows = 16

// tokenTile is the number of activation rows that pass over one tile of weights before the next: what the cache holds.
const tokenTile = 64

// Variants lists the kernel sets that this machine can run, the fastest first. "generic" is the plain loops.
func Variants() []string { return append(machineVariants(), "generic") }

// variant is a set of kernels: for each weight type a function that adds tile products to acc, or nil.
type variant struct {
	name   string
	tiles  map[gguf.Type]kernel
	scores func(a *dotArgs)
	values func(a *dotArgs)
}

// tile is the work of one kernel call: tileRows weight rows times n activation rows from row at.
type tile struct {
	w     *weight
	row   int // first weight row
	x     *acts
	at, n int
	acc   []float32 // (n, tileRows), zero at first
	mem   *threadMem
}

// threadMem is what a kernel needs beside registers.
type threadMem struct {
	acc, acc2, sums []float32
	bytes           []byte
	args            dotArgs
}

// dotArgs mirrors struct args of _gen/avx512.c.
type dotArgs struct {
	w              *byte
	stride, blocks int
	q              *int8
	qStep          int
	d              *float32
	dStep          int
	s              *byte
	sStep, n       int
	acc            *float32
	grid, signs    *uint64
	bytes, tmp     *byte
}

// pick finds the variant by name, or the fastest.
func pick(name string) (*variant, error) {
	for _, v := range Variants() {
		if name == "" || v == name {
			return newVariant(v), nil
		}
	}
	return nil, fmt.Errorf("cpu: variant %q: want one of %v", name, Variants())
}

// tiled multiplies like matmul, tile by tile. It says whether the variant can. The last tile may overlap the one before:
// what it computes twice has the same bits and is written once.
func (b *Backend) tiled(out []float32, stride int, w *weight, row0, rows int, x *acts) bool {
	k := b.variant.tiles[w.typ]
	if k == nil || rows < tileRows {
		return false
	}
	b.panel(x, w.typ)
	tokens := (x.n + tokenTile - 1) / tokenTile
	b.pool.each((rows+tileRows-1)/tileRows*tokens, func(i int) {
		m := b.mem.Get().(*threadMem)
		defer b.mem.Put(m)
		r, at := i/tokens*tileRows, i%tokens*tokenTile
		n, over := min(tokenTile, x.n-at), max(0, r+tileRows-rows)
		acc := k.run(m, w, row0+r-over, x, at, n)
		for j := range n {
			copy(out[(at+j)*stride+r:][:tileRows-over], acc[j*tileRows+over:])
		}
	})
	return true
}

// kernel adds the products of a tile to its acc.
type kernel func(t *tile)

// run multiplies one tile: weight rows row … row+tileRows−1 with activation rows at … at+n−1, giving (n, tileRows).
func (k kernel) run(m *threadMem, w *weight, row int, x *acts, at, n int) []float32 {
	t := tile{w: w, row: row, x: x, at: at, n: n, acc: grow(&m.acc, n*tileRows), mem: m}
	clear(t.acc)
	k(&t)
	return t.acc
}

// panel makes the activations' form by block, which kernels read.
func (b *Backend) panel(x *acts, t gguf.Type) {
	b.need(x, t)
	switch t {
	case gguf.TypeF16:
		if len(x.pf) == 0 {
			panelOf(b, &x.pf, x.f, x.n, x.cols, 16)
		}
	case gguf.TypeQ8_0, gguf.TypeMXFP4:
		if len(x.p8) == 0 {
			panelOf(b, &x.p8, x.q8, x.n, x.cols, 32)
			panelOf(b, &x.p8d, x.q8d, x.n, x.cols/32, 1)
			sum := grow(&x.p8s, x.n*x.cols/32)
			for i := range sum {
				s := int32(0)
				for _, v := range x.p8[32*i : 32*i+32] {
					s += int32(v)
				}
				sum[i] = 128 * s
			}
		}
	default:
		b.panelK(x, t)
	}
}

// panelK makes the form for weights in blocks of 256; the sums differ by type.
func (b *Backend) panelK(x *acts, t gguf.Type) {
	if len(x.pk) == 0 {
		panelOf(b, &x.pk, x.qk, x.n, x.cols, 256)
		panelOf(b, &x.pkd, x.qkd, x.n, x.cols/256, 1)
		panelOf(b, &x.pks, x.qksum, x.n, x.cols/16, 16)
		x.pk2, x.pk4, x.pkiq = x.pk2[:0], x.pk4[:0], x.pkiq[:0]
	}
	switch n := len(x.pks); {
	case t == gguf.TypeQ2_K && len(x.pk2) == 0: // of every four in the order 0, 2, 1, 3
		p := grow(&x.pk2, n)
		for i := 0; i < n; i += 4 {
			p[i], p[i+1], p[i+2], p[i+3] = x.pks[i], x.pks[i+2], x.pks[i+1], x.pks[i+3]
		}
	case t == gguf.TypeQ4_K && len(x.pk4) == 0: // likewise, over 32
		p := grow(&x.pk4, n/2)
		s := func(i int) int16 { return x.pks[2*i] + x.pks[2*i+1] }
		for i := 0; i < n/2; i += 4 {
			p[i], p[i+1], p[i+2], p[i+3] = s(i), s(i+2), s(i+1), s(i+3)
		}
	case t == gguf.TypeIQ2_XXS && len(x.pkiq) == 0:
		p := grow(&x.pkiq, n/2)
		for i := range p {
			p[i] = 64 * (int32(x.pks[2*i]) + int32(x.pks[2*i+1]))
		}
	}
}

// panelOf turns (n, cols) into (cols/block, n, block).
func panelOf[T any](b *Backend, dst *[]T, src []T, n, cols, block int) {
	grow(dst, n*cols)
	d := *dst
	if n == 1 {
		copy(d, src)
		return
	}
	b.pool.each(n, func(i int) {
		for k := 0; k < cols/block; k++ {
			copy(d[(k*n+i)*block:][:block], src[i*cols+k*block:])
		}
	})
}
