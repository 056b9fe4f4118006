package backendtest

import (
	"encoding/binary"
	"math"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// Candidates are exact, in order, ties included; the sums may be reordered.
var top = operation{
	name: "top", layers: outside,
	in:  []field{{name: "logits", gen: tiedLogits, outs: true}, {name: "masks", gen: anyMask, tops: true}},
	out: []field{{name: "top", bound: 1e-5, tops: true, cmp: sameTop}},
	run: func(r *rig, _ int) {
		r.b.Top(backend.TopArgs{Logits: r.bufs["logits"], Masks: r.bufs["masks"], Top: r.bufs["top"]})
	},
}

// tiedLogits are coarse, so that many are equal.
func tiedLogits(g *gen, p []byte) {
	for i := range floats(p) {
		floats(p)[i] = float32(math.Round(g.NormFloat64()*16)) / 4
	}
}

func anyMask(g *gen, p []byte) {
	for i := range p {
		p[i] = byte(g.Uint32())
	}
}

// sameTop wants equal candidates and maxima, and sums within the bound.
func sameTop(_ *comparison, got, want []byte) float64 {
	le := binary.LittleEndian
	n := int(le.Uint32(want[backend.TopLen:]))
	for _, r := range [][2]int{{backend.TopMaxRaw, backend.TopLen + 4}, {backend.TopIDs, backend.TopIDs + 8*n}} {
		if string(got[r[0]:r[1]]) != string(want[r[0]:r[1]]) {
			return math.Inf(1)
		}
	}
	worst := 0.0
	for _, at := range []int{backend.TopLogSumRaw, backend.TopSumAdj} {
		g, w := math.Float64frombits(le.Uint64(got[at:])), math.Float64frombits(le.Uint64(want[at:]))
		worst = max(worst, math.Abs(g-w)/math.Abs(w))
	}
	return worst
}
