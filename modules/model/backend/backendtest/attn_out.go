package backendtest

import "github.com/ds4-go/ds4/modules/model/backend"

// Two int8 products in a row.
var attnOut = operation{
	name: "attn_out", layers: func(s *backend.Shape) []int { return []int{s.Layers - 1} },
	in:  []field{{name: "o", gen: scaled(0.3)}},
	out: []field{{name: "y", bound: intBound}},
	run: func(r *rig, il int) {
		w := &r.w.Layers[il]
		r.b.AttnOut(backend.AttnOutArgs{Layer: int32(il), A: w.AttnOutputA, B: w.AttnOutputB, O: r.bufs["o"], Y: r.bufs["y"]})
	},
}
