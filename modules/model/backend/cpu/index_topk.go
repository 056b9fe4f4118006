package cpu

import (
	"cmp"
	"math"
	"slices"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// IndexTopK: see backend.IndexTopKArgs. Rows that see at most TopK compressed rows need no scores.
func (b *Backend) IndexTopK(a backend.IndexTopKArgs) {
	if b.skip("index_topk", a.Layer) {
		return
	}
	sh, il := &b.sh, int(a.Layer)
	var scored []int
	for i, r := range b.step.Rows {
		if b.visible(r.Pos, il) > sh.TopK {
			scored = append(scored, i)
			continue
		}
		sel := b.i32(a.Sel, i)
		for c := range sel {
			sel[c] = int32(c)
		}
	}
	if len(scored) == 0 {
		return
	}
	n, width := len(scored), sh.IndexHeads*backend.IndexDim
	lat, x := grow(&b.tmp[0], n*sh.QRank), grow(&b.tmp[1], n*sh.Embd)
	for j, i := range scored {
		copy(lat[j*sh.QRank:], b.f32(a.QLat, i))
		copy(x[j*sh.Embd:], b.f32(a.X, i))
	}
	q, w := grow(&b.tmp[2], n*width), grow(&b.tmp[3], n*sh.IndexHeads)
	b.matmul(q, width, b.weight(a.QB), 0, width, b.qlat.set(lat, n, sh.QRank))
	b.matmul(w, sh.IndexHeads, b.weight(a.Proj), 0, sh.IndexHeads, b.x.set(x, n, sh.Embd))
	scale := float32(1 / math.Sqrt(float64(width)))
	for i := range w {
		w[i] *= scale
	}
	b.pool.each(n*sh.IndexHeads, func(i int) {
		head := q[i*backend.IndexDim:][:backend.IndexDim]
		rotate(head, b.rowRotation(ropeCompressed, scored[i/sh.IndexHeads]), false)
		hadamard(head)
		var vals [backend.IndexRowBytes]byte
		var exps [backend.IndexExpBytes]byte
		packIndex(vals[:], exps[:], head)
		unpackIndex(head, vals[:], exps[:])
	})
	for j, i := range scored {
		r := b.step.Rows[i]
		scores := grow(&b.tmp[4], b.visible(r.Pos, il))
		b.scores(scores, q[j*width:(j+1)*width], w[j*sh.IndexHeads:(j+1)*sh.IndexHeads], a.State, b.step.Spans[r.Span].Seq, il)
		best(b.i32(a.Sel, i), scores)
	}
}

// visible is the number of compressed rows that a token at pos sees.
func (b *Backend) visible(pos int32, il int) int { return int(pos+1) / b.sh.Ratio[il] }

// scores rates compressed rows 0 … len(out)−1 for one query: Σ over heads of max(0, q·row)·w.
func (b *Backend) scores(out, q, w []float32, st backend.State, seq int32, il int) {
	b.pool.span(len(out), 64, func(lo, hi int) {
		var row [backend.IndexDim]float32
		for c := lo; c < hi; c++ {
			part, k := b.pagePart(st, seq, c, il)
			unpackIndex(row[:], part[b.sh.PageIndexOffset(il)+k*backend.IndexRowBytes:], part[b.sh.PageIndexExpOffset(il)+k*backend.IndexExpBytes:])
			acc := float32(0)
			for h, wh := range w {
				if s := dot(q[h*backend.IndexDim:(h+1)*backend.IndexDim], row[:]); s > 0 {
					acc += float32(s * wh)
				}
			}
			out[c] = acc
		}
	})
}

// best writes the indices of the len(sel) greatest scores in ascending order; equal scores go to the lower index.
func best(sel []int32, scores []float32) {
	order := make([]int32, len(scores))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		if c := cmp.Compare(scores[b], scores[a]); c != 0 {
			return c
		}
		return cmp.Compare(a, b)
	})
	copy(sel, order)
	slices.Sort(sel)
}
