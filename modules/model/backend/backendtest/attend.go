package backendtest

import (
	"slices"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// f32 softmax attention over exact rows: sums only.
var attend = operation{
	name: "attend", layers: every, state: true,
	in:  []field{{name: "q", gen: normal}, {name: "kv", gen: func(g *gen, p []byte) { g.kvRows(p, 1) }}, {name: "sel", gen: anySelection}},
	out: []field{{name: "o", bound: sumBound}},
	run: func(r *rig, il int) {
		r.b.Attend(backend.AttendArgs{Layer: int32(il), Sinks: r.w.Layers[il].AttnSinks,
			Q: r.bufs["q"], KV: r.bufs["kv"], Sel: r.bufs["sel"], O: r.bufs["o"], State: r.state})
	},
}

// anySelection is an ascending choice among the rows that are visible, the identity where there are few.
func anySelection(g *gen, p []byte) {
	sel := ints(p)
	for i := range sel {
		sel[i] = int32(i)
	}
	if n := int(g.row.Pos+1) / 4; n > len(sel) {
		perm := g.Perm(n)
		for i := range sel {
			sel[i] = int32(perm[i])
		}
		slices.Sort(sel)
	}
}
