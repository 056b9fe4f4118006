package cpu

import (
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Experts: see backend.ExpertsArgs. The routing weight multiplies the gated product, before it is quantised for the down
// projection.
func (b *Backend) Experts(a backend.ExpertsArgs) {
	if b.skip("experts", a.Layer) {
		return
	}
	n, k, f, d := len(b.step.Rows), b.sh.ActiveExps, b.sh.ExpertDim, b.sh.Embd
	gate, up, down := b.weight(a.Gate), b.weight(a.Up), b.weight(a.Down)
	ids, weights := view[int32](b.bufs[a.IDs.ID-1].data), b.all(a.Weights, n)
	if b.fastExperts(a, ids, weights) {
		return
	}

	x := b.x.set(b.all(a.X, n), n, d)
	b.need(x, gate.typ)
	b.need(x, up.typ)
	h := grow(&b.tmp[0], n*k*f)
	b.pool.span(f, rowPiece, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			for c := range n * k {
				e := int(ids[c])
				g := x.dot(gate.data[(e*f+r)*gate.rowBytes:][:gate.rowBytes], gate.typ, c/k)
				u := x.dot(up.data[(e*f+r)*up.rowBytes:][:up.rowBytes], up.typ, c/k)
				h[c*f+r] = swiglu(g, u, b.sh.Clamp) * weights[c]
			}
		}
	})
	if a.H.ID != 0 {
		copy(b.all(a.H, n), h)
	}

	mid, y := b.h.set(h, n*k, f), b.all(a.Y, n)
	b.need(mid, down.typ)
	b.pool.span(d, rowPiece, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			for i := range n {
				sum := float32(0)
				for c := i * k; c < (i+1)*k; c++ {
					sum += mid.dot(down.data[(int(ids[c])*d+r)*down.rowBytes:][:down.rowBytes], down.typ, c)
				}
				y[i*d+r] = sum
			}
		}
	})
}
