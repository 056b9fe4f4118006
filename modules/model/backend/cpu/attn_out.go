package cpu

import (
	"github.com/ds4-go/ds4/modules/model/backend"
)

// AttnOut: see backend.AttnOutArgs. Each group of heads has its own rows of A; B joins the groups.
func (b *Backend) AttnOut(a backend.AttnOutArgs) {
	if b.skip("attn_out", a.Layer) {
		return
	}
	n, sh := len(b.step.Rows), &b.sh
	o, low := b.all(a.O, n), grow(&b.tmp[0], n*sh.Groups*sh.OutRank)
	if w := b.weight(a.A); !b.fastGroups(low, w, o) {
		b.plainGroups(low, w, o)
	}
	b.matmul(b.all(a.Y, n), sh.Embd, b.weight(a.B), 0, sh.Embd, b.x.set(low, n, sh.Groups*sh.OutRank))
}

// plainGroups multiplies group after group.
func (b *Backend) plainGroups(low []float32, w *weight, o []float32) {
	n, sh := len(b.step.Rows), &b.sh
	width, cols, lat := sh.Heads*sh.HeadDim, sh.Heads/sh.Groups*sh.HeadDim, sh.Groups*sh.OutRank
	u := grow(&b.tmp[1], n*cols)
	for g := range sh.Groups {
		for i := range n {
			copy(u[i*cols:(i+1)*cols], o[i*width+g*cols:])
		}
		b.matmul(low[g*sh.OutRank:], lat, w, g*sh.OutRank, sh.OutRank, b.x.set(u, n, cols))
	}
}

// fastGroups multiplies all groups in one loop, as the experts are: a group's heads lie together, so its share of a row is a row of
// its own. It says whether the variant has kernels for the type.
func (b *Backend) fastGroups(low []float32, w *weight, o []float32) bool {
	n, sh := len(b.step.Rows), &b.sh
	rank, lat := sh.OutRank, sh.Groups*sh.OutRank
	p := b.variant.op(w, rank)
	if p == nil || rank%b.variant.tile != 0 {
		return false
	}
	from, runs := grow(&b.from, n*sh.Groups), b.runs[:0]
	for g := range sh.Groups {
		runs = append(runs, expertRun{g, g * n, n})
		for i := range n {
			from[g*n+i] = int32(i*sh.Groups + g)
		}
	}
	b.runs = runs
	x := b.x.set(o, n*sh.Groups, sh.Heads/sh.Groups*sh.HeadDim)
	b.need(x, w.typ)
	b.pack(p, x, from, batchRuns(runs, p.few))
	b.eachPiece(p, w, runs, rank, func(m *worker, r expertRun, row, rows int) {
		at := r.expert*rank + row
		acc := b.expertRows(m, p, w, at, rows, x, r, from, &m.acc)
		for i := range n {
			copy(low[i*lat+at:][:rows], acc[i*rows:])
		}
	})
	return true
}
