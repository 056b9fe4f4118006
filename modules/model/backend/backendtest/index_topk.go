package backendtest

import (
	"math"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// The set may differ in rows that lie at the threshold: a query value in a hundred may take another E2M1 step.
var indexTopK = operation{
	name: "index_topk", state: true,
	layers: func(s *backend.Shape) []int { return kinds(s, s.Indexed) },
	in:     []field{{name: "qlat", gen: normal}, {name: "x", gen: normal}},
	out:    []field{{name: "sel", bound: 0.13, cmp: selection}},
	run: func(r *rig, il int) {
		w := &r.w.Layers[il]
		r.b.IndexTopK(backend.IndexTopKArgs{Layer: int32(il), QB: w.IndexerAttnQB, Proj: w.IndexerProj,
			QLat: r.bufs["qlat"], X: r.bufs["x"], Sel: r.bufs["sel"], State: r.state})
	},
}

// selection is the share of selected rows that differ. The list must ascend, be in range, and be the identity where
// nothing is left out.
func selection(x *comparison, got, want []byte) float64 {
	n := int(x.row.Pos+1) / x.sh.Ratio[x.il]
	if n <= x.sh.TopK {
		return sameInts(x, got[:4*n], want[:4*n])
	}
	have := map[int32]bool{}
	for _, c := range ints(want) {
		have[c] = true
	}
	off, last := 0, int32(-1)
	for _, c := range ints(got) {
		if c <= last || int(c) >= n {
			return math.Inf(1)
		}
		last = c
		if !have[c] {
			off++
		}
	}
	return float64(off) / float64(x.sh.TopK)
}
