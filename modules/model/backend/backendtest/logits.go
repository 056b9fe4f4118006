package backendtest

import "github.com/ds4-go/ds4/modules/model/backend"

// One int8 product with exact block sums: only the sum over blocks may be reordered.
var logits = operation{
	name: "logits", layers: outside,
	in:  []field{{name: "out_x", gen: outRow, outs: true}},
	out: []field{{name: "logits", bound: sumBound, outs: true}},
	run: func(r *rig, _ int) {
		r.b.Logits(backend.LogitsArgs{Output: r.w.Output, X: r.bufs["out_x"], Logits: r.bufs["logits"]})
	},
}

// outRow is the same for every row, so that a row alone has the inputs that it has in a step.
func outRow(g *gen, p []byte) {
	h := newGen(1, "out", 0)
	normal(h, p)
}
