package cpu

import (
	"cmp"
	"slices"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// expertRun is a run of choices of one expert in the sorted order.
type expertRun struct{ expert, at, n int }

// fastExperts groups the choices by expert, so that each expert's weights are read once for all rows. Products land in
// the grouped order; the sum over a row's choices keeps theirs. It says whether the variant has kernels for the types.
func (b *Backend) fastExperts(a backend.ExpertsArgs, ids []int32, weights []float32) bool {
	gate, up, down := b.weight(a.Gate), b.weight(a.Up), b.weight(a.Down)
	n, k, f, d := len(b.step.Rows), b.sh.ActiveExps, b.sh.ExpertDim, b.sh.Embd
	pg, pd := b.variant.op(gate, f), b.variant.op(down, d)
	if pg == nil || pd == nil || gate.typ != up.typ || min(f, d)%b.variant.tile != 0 {
		return false
	}
	x := b.x.set(b.all(a.X, n), n, d)
	b.need(x, gate.typ)
	order, runs := b.groupChoices(ids[:n*k])
	from := grow(&b.from, n*k)
	for i, c := range order {
		from[i] = c / int32(k)
	}
	b.pack(pg, x, from, batchRuns(runs, pg.few))
	h := grow(&b.tmp[0], n*k*f)
	b.eachPiece(pg, gate, runs, f, func(m *worker, r expertRun, row, rows int) {
		b.gatedRows(m, pg, gate, up, x, r, row, rows, h, weights)
	})
	if a.H.ID != 0 {
		out := b.all(a.H, n)
		for at, c := range order {
			copy(out[int(c)*f:][:f], h[at*f:])
		}
	}

	mid := b.h.set(h, n*k, f)
	b.need(mid, down.typ)
	b.pack(pd, mid, nil, batchRuns(runs, pd.few))
	o, y := grow(&b.tmp[1], n*k*d), b.all(a.Y, n)
	b.eachPiece(pd, down, runs, d, func(m *worker, r expertRun, row, rows int) {
		acc := b.expertRows(m, pd, down, r.expert*d+row, rows, mid, r, nil, &m.acc)
		for j := range r.n {
			copy(o[int(order[r.at+j])*d+row:][:rows], acc[j*rows:])
		}
	})
	b.pool.span(n*d, 512, func(lo, hi int) {
		for ; lo < hi; lo++ {
			sum, at := float32(0), lo/d*k*d+lo%d
			for range k {
				sum += o[at]
				at += d
			}
			y[lo] = sum
		}
	})
	return true
}

// gatedRows writes rows of h for the choices of a run: gate and up products, joined and weighed.
func (b *Backend) gatedRows(m *worker, p *product, gate, up *weight, x *acts, r expertRun, row, rows int, h, weights []float32) {
	f := b.sh.ExpertDim
	g := b.expertRows(m, p, gate, r.expert*f+row, rows, x, r, b.from, &m.acc)
	u := b.expertRows(m, p, up, r.expert*f+row, rows, x, r, b.from, &m.up)
	for j := range r.n {
		b.gated(m, h[(r.at+j)*f+row:][:rows], g[j*rows:], u[j*rows:], weights[b.order[r.at+j]])
	}
}

// expertRows multiplies rows weight rows from row with the run's activations: (r.n, rows). Choice i reads row from[i] of x,
// or i where from is nil.
func (b *Backend) expertRows(m *worker, p *product, w *weight, row, rows int, x *acts, r expertRun, from []int32, acc *[]float32) []float32 {
	if r.n > p.few {
		return b.multiply(m, p, w, row, 0, rows, x, r.at, r.n, acc)
	}
	out, l := grow(acc, r.n*rows), b.variant.lanes
	for g := 0; g < rows; g += l {
		m.aim(p, w, row+g)
		for j := range r.n {
			i := r.at + j
			if from != nil {
				i = int(from[i])
			}
			m.activations(p, x, i)
			m.vec.out = &out[j*rows+g]
			p.vec(&m.vec)
		}
	}
	return out
}

// batchRuns are the runs of more than few rows.
func batchRuns(runs []expertRun, few int) []batchRun {
	var list []batchRun
	for _, r := range runs {
		if r.n > few {
			list = append(list, batchRun{r.at, r.n})
		}
	}
	return list
}

// groupChoices sorts choices by expert, and lists the runs of equal experts.
func (b *Backend) groupChoices(ids []int32) ([]int32, []expertRun) {
	order, runs := grow(&b.order, len(ids)), b.runs[:0]
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, c int32) int { return cmp.Or(cmp.Compare(ids[a], ids[c]), cmp.Compare(a, c)) })
	for at, c := range order {
		if last := len(runs) - 1; last >= 0 && runs[last].expert == int(ids[c]) {
			runs[last].n++
		} else {
			runs = append(runs, expertRun{int(ids[c]), at, 1})
		}
	}
	b.runs = runs
	return order, runs
}

// eachPiece calls f for every piece of every run's expert: a tile of weight rows, or some vectors where the run is short.
func (b *Backend) eachPiece(p *product, w *weight, runs []expertRun, rows int, f func(m *worker, r expertRun, row, rows int)) {
	tile := b.variant.tile
	long := max(tile, pieceBytes/w.rowBytes/tile*tile)
	for rows%long != 0 {
		long -= tile
	}
	pieces := b.pieces[:0]
	for i, r := range runs {
		step := tile
		if r.n <= p.few {
			step = long
		}
		for row := 0; row < rows; row += step {
			pieces = append(pieces, expertPiece{i, row, step})
		}
	}
	b.pieces = pieces
	b.pool.each(len(pieces), func(i int) {
		m := b.worker()
		defer b.release(m)
		f(m, runs[pieces[i].run], pieces[i].row, pieces[i].rows)
	})
}

type expertPiece struct{ run, row, rows int }
