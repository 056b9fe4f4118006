package cpu

import (
	"math"

	"github.com/ds4-go/ds4/modules/gguf"
)

// acts is a matrix of activations (n, cols), with the integer forms that quantised weights are multiplied with. The forms
// are made once and serve every matrix that reads the activations.
type acts struct {
	n, cols int
	f       []float32 // (n, cols)

	q8    []int8    // (n, cols): blocks of 32
	q8d   []float32 // (n, cols/32)
	q8n   []int32   // (n, cols/32): −128 times the sum of a block; variants alone
	qk    []int8    // (n, cols): blocks of 256
	qkd   []float32 // (n, cols/256)
	qksum []int16   // (n, cols/16)
	qkn   []int32   // (n, cols/32): as q8n

	packed32, packed256 []byte // batches of rows, for tiles: see pack
}

// scratch is memory that operations reuse from step to step.
type scratch struct {
	x, qlat, h acts
	tmp        [8][]float32
	rows       [][]byte
	terms      []float64

	order, from []int32 // choices by expert, and the row of each
	runs        []expertRun
	pieces      []expertPiece
}

func (s *scratch) bytes() int64 {
	n := 0
	for _, a := range []*acts{&s.x, &s.qlat, &s.h} {
		n += cap(a.q8) + 4*cap(a.q8d) + 4*cap(a.q8n) + cap(a.qk) + 4*cap(a.qkd) + 2*cap(a.qksum) + 4*cap(a.qkn)
		n += cap(a.packed32) + cap(a.packed256)
	}
	for _, t := range s.tmp {
		n += 4 * cap(t)
	}
	n += 8 * cap(s.terms)
	return int64(n)
}

// grow makes *p hold n values; their contents are undefined.
func grow[T any](p *[]T, n int) []T {
	if cap(*p) < n {
		*p = make([]T, n)
	}
	*p = (*p)[:n]
	return *p
}

// set points the activations at new values; integer forms are made by need.
func (a *acts) set(f []float32, n, cols int) *acts {
	a.n, a.cols, a.f = n, cols, f[:n*cols]
	a.q8, a.qk = a.q8[:0], a.qk[:0]
	a.packed32, a.packed256 = a.packed32[:0], a.packed256[:0]
	return a
}

// quantPiece is the number of values that a thread turns into integers at a time.
const quantPiece = 2048

// need makes the form that weights of type t are multiplied with.
func (b *Backend) need(a *acts, t gguf.Type) {
	switch t {
	case gguf.TypeQ8_0, gguf.TypeMXFP4:
		if len(a.q8) == 0 {
			grow(&a.q8, a.n*a.cols)
			grow(&a.q8d, a.n*a.cols/32)
			grow(&a.q8n, a.n*a.cols/32)
			b.pool.span(len(a.q8), quantPiece, func(lo, hi int) { b.quantize32(a, lo, hi) })
		}
	case gguf.TypeQ2_K, gguf.TypeQ4_K, gguf.TypeIQ2_XXS:
		if len(a.qk) == 0 {
			grow(&a.qk, a.n*a.cols)
			grow(&a.qkd, a.n*a.cols/256)
			grow(&a.qksum, a.n*a.cols/16)
			grow(&a.qkn, a.n*a.cols/32)
			b.pool.span(len(a.qk), quantPiece, func(lo, hi int) { b.quantize256(a, lo, hi) })
		}
	}
}

// quantize32 makes the values lo … hi−1: whole blocks, and blocks know nothing of rows.
func (b *Backend) quantize32(a *acts, lo, hi int) {
	if b.variant.quantQ8_0 == nil {
		quantizeQ8_0(a.q8[lo:hi], a.q8d[lo/32:], a.f[lo:])
		return
	}
	m := b.worker()
	defer b.release(m)
	m.act = actArgs{x: &a.f[lo], blocks: (hi - lo) / 32, q: &a.q8[lo], d: &a.q8d[lo/32], xn: &a.q8n[lo/32]}
	b.variant.quantQ8_0(&m.act)
}

func (b *Backend) quantize256(a *acts, lo, hi int) {
	if b.variant.quantQ8_K == nil {
		quantizeQ8_K(a.qk[lo:hi], a.qkd[lo/256:], a.qksum[lo/16:], a.f[lo:])
		return
	}
	m := b.worker()
	defer b.release(m)
	m.act = actArgs{x: &a.f[lo], blocks: (hi - lo) / 256, q: &a.qk[lo], d: &a.qkd[lo/256], xn: &a.qkn[lo/32], xs: &a.qksum[lo/16]}
	b.variant.quantQ8_K(&m.act)
}

// quantizeQ8_0 makes blocks of 32 int8 with an f32 scale.
func quantizeQ8_0(q []int8, d, x []float32) {
	for blk := 0; blk < len(q); blk += 32 {
		a := float32(0)
		for _, v := range x[blk : blk+32] {
			if m := abs(v); m > a {
				a = m
			}
		}
		scale, inv := a/127, float32(0)
		if scale != 0 {
			inv = 1 / scale
		}
		for i, v := range x[blk : blk+32] {
			q[blk+i] = roundInt8(float32(v * inv))
		}
		d[blk/32] = scale
	}
}

// quantizeQ8_K makes blocks of 256 int8 with an f32 scale, such that the extreme element becomes −127, and sums over 16.
func quantizeQ8_K(q []int8, d []float32, sums []int16, x []float32) {
	for blk := 0; blk < len(q); blk += 256 {
		a, ext := float32(0), float32(0)
		for _, v := range x[blk : blk+256] {
			if m := abs(v); m > a {
				a, ext = m, v
			}
		}
		if inv := -127 / ext; a == 0 || math.IsInf(float64(inv), 0) {
			clear(q[blk : blk+256])
			d[blk/256] = 0
		} else {
			for i, v := range x[blk : blk+256] {
				q[blk+i] = roundInt8(float32(inv * v))
			}
			d[blk/256] = 1 / inv
		}
		for j := range 16 {
			s := int16(0)
			for _, v := range q[blk+16*j : blk+16*j+16] {
				s += int16(v)
			}
			sums[blk/16+j] = s
		}
	}
}

// roundInt8 rounds half to even and clamps. Adding 1.5·2^23 leaves no bits below the unit, so the addition rounds. v must be
// a product that is rounded already: fused with the addition, as arm64 would, it could round differently.
func roundInt8(v float32) int8 {
	const magic = 3 << 22
	return int8(min(max(v+magic-magic, -128), 127))
}
