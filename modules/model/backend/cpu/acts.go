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
	qk    []int8    // (n, cols): blocks of 256
	qkd   []float32 // (n, cols/256)
	qksum []int16   // (n, cols/16)

	// The same by block, for tiles: see panel.
	pf       []float32
	p8       []int8
	p8d      []float32
	p8s      []int32
	pk       []int8
	pkd      []float32
	pks      []int16
	pk2, pk4 []int16
	pkiq     []int32
}

// scratch is memory that operations reuse from step to step.
type scratch struct {
	x, qlat, h acts
	picked     acts // activations in the order of their experts
	tmp        [8][]float32
	rows       [][]byte
}

func (s *scratch) bytes() int64 {
	n := 0
	for _, a := range []*acts{&s.x, &s.qlat, &s.h, &s.picked} {
		n += cap(a.q8) + 4*cap(a.q8d) + cap(a.qk) + 4*cap(a.qkd) + 2*cap(a.qksum)
		n += 4*cap(a.pf) + cap(a.p8) + 4*cap(a.p8d) + 4*cap(a.p8s) + cap(a.pk) + 4*cap(a.pkd) + 2*(cap(a.pks)+cap(a.pk2)+cap(a.pk4)) + 4*cap(a.pkiq)
	}
	for _, t := range s.tmp {
		n += 4 * cap(t)
	}
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
	a.pf, a.p8, a.pk = a.pf[:0], a.p8[:0], a.pk[:0]
	return a
}

// need makes the form that weights of type t are multiplied with.
func (b *Backend) need(a *acts, t gguf.Type) {
	switch t {
	case gguf.TypeQ8_0, gguf.TypeMXFP4:
		if len(a.q8) == 0 {
			grow(&a.q8, a.n*a.cols)
			grow(&a.q8d, a.n*a.cols/32)
			b.pool.each(a.n, func(i int) {
				quantizeQ8_0(a.q8[i*a.cols:(i+1)*a.cols], a.q8d[i*a.cols/32:], a.f[i*a.cols:])
			})
		}
	case gguf.TypeQ2_K, gguf.TypeQ4_K, gguf.TypeIQ2_XXS:
		if len(a.qk) == 0 {
			grow(&a.qk, a.n*a.cols)
			grow(&a.qkd, a.n*a.cols/256)
			grow(&a.qksum, a.n*a.cols/16)
			b.pool.each(a.n, func(i int) {
				quantizeQ8_K(a.qk[i*a.cols:(i+1)*a.cols], a.qkd[i*a.cols/256:], a.qksum[i*a.cols/16:], a.f[i*a.cols:])
			})
		}
	}
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
			q[blk+i] = roundInt8(v * inv)
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
				q[blk+i] = roundInt8(inv * v)
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

// roundInt8 rounds half to even and clamps. Adding 1.5·2^23 leaves no bits below the unit, so the addition rounds.
func roundInt8(v float32) int8 {
	const magic = 3 << 22
	return int8(min(max(v+magic-magic, -128), 127))
}
