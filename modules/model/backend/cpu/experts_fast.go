package cpu

import (
	"cmp"
	"slices"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// run of choices of one expert in the sorted order.
type expertRun struct{ expert, at, n int }

// fastExperts groups the choices by expert, so that each expert's weights are read once for all rows. Products land in
// the grouped order; the sum over a row's choices keeps theirs. It says whether the variant has kernels for the types.
func (b *Backend) fastExperts(a backend.ExpertsArgs, ids []int32, weights []float32) bool {
	gate, up, down := b.weight(a.Gate), b.weight(a.Up), b.weight(a.Down)
	kg, kd := b.variant.tiles[gate.typ], b.variant.tiles[down.typ]
	if kg == nil || kd == nil || gate.typ != up.typ {
		return false
	}
	n, k, f, d := len(b.step.Rows), b.sh.ActiveExps, b.sh.ExpertDim, b.sh.Embd
	x := b.x.set(b.all(a.X, n), n, d)
	b.need(x, gate.typ)
	order, runs := groupChoices(ids[:n*k])
	picked := b.pick(x, order, k)
	b.panel(picked, gate.typ)

	h := grow(&b.tmp[0], n*k*f)
	b.eachTile(runs, f, func(m *threadMem, r expertRun, row, at, tn int) {
		g := kg.run(m, gate, r.expert*f+row, picked, at, tn)
		m.acc, m.acc2 = m.acc2, m.acc // the next run writes elsewhere
		u := kg.run(m, up, r.expert*f+row, picked, at, tn)
		for j := range tn {
			w, out := weights[order[at+j]], h[(at+j)*f+row:]
			for i := range tileRows {
				out[i] = swiglu(g[j*tileRows+i], u[j*tileRows+i], b.sh.Clamp) * w
			}
		}
	})
	if a.H.ID != 0 {
		out := b.all(a.H, n)
		for at, c := range order {
			copy(out[int(c)*f:][:f], h[at*f:])
		}
	}

	mid := b.h.set(h, n*k, f)
	b.panel(mid, down.typ)
	o, y := grow(&b.tmp[1], n*k*d), b.all(a.Y, n)
	b.eachTile(runs, d, func(m *threadMem, r expertRun, row, at, tn int) {
		acc := kd.run(m, down, r.expert*d+row, mid, at, tn)
		for j := range tn {
			copy(o[int(order[at+j])*d+row:][:tileRows], acc[j*tileRows:])
		}
	})
	b.pool.span(d, 256, func(lo, hi int) {
		for i := range n {
			for j := lo; j < hi; j++ {
				sum := float32(0)
				for c := i * k; c < (i+1)*k; c++ {
					sum += o[c*d+j]
				}
				y[i*d+j] = sum
			}
		}
	})
	return true
}

// groupChoices sorts choices by expert, and lists the runs of equal experts.
func groupChoices(ids []int32) (order []int32, runs []expertRun) {
	order = make([]int32, len(ids))
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
	return order, runs
}

// eachTile calls f for every tile of rows (a multiple of tileRows) and every piece of at most tokenTile choices of a run.
func (b *Backend) eachTile(runs []expertRun, rows int, f func(m *threadMem, r expertRun, row, at, n int)) {
	tiles := rows / tileRows
	b.pool.each(len(runs)*tiles, func(i int) {
		m := b.mem.Get().(*threadMem)
		defer b.mem.Put(m)
		r := runs[i/tiles]
		for at := r.at; at < r.at+r.n; at += tokenTile {
			f(m, r, i%tiles*tileRows, at, min(tokenTile, r.at+r.n-at))
		}
	})
}

// pick copies the quantised rows of x that the choices read, in their order.
func (b *Backend) pick(x *acts, order []int32, k int) *acts {
	p, c := &b.picked, x.cols
	p.set(nil, 0, 0)
	p.n, p.cols = len(order), c
	copyRows := func(i, row int) {
		if len(x.qk) > 0 {
			copy(p.qk[i*c:(i+1)*c], x.qk[row*c:])
			copy(p.qkd[i*c/256:(i+1)*c/256], x.qkd[row*c/256:])
			copy(p.qksum[i*c/16:(i+1)*c/16], x.qksum[row*c/16:])
		}
		if len(x.q8) > 0 {
			copy(p.q8[i*c:(i+1)*c], x.q8[row*c:])
			copy(p.q8d[i*c/32:(i+1)*c/32], x.q8d[row*c/32:])
		}
	}
	if len(x.qk) > 0 {
		grow(&p.qk, p.n*c)
		grow(&p.qkd, p.n*c/256)
		grow(&p.qksum, p.n*c/16)
	}
	if len(x.q8) > 0 {
		grow(&p.q8, p.n*c)
		grow(&p.q8d, p.n*c/32)
	}
	for i, o := range order {
		copyRows(i, int(o)/k)
	}
	return p
}
