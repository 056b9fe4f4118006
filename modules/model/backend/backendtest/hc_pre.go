package backendtest

import "github.com/ds4-go/ds4/modules/model/backend"

// F16 weights times f32, and a Sinkhorn iteration that contracts: sums only.
var hcPre = operation{
	name: "hc_pre", layers: func(s *backend.Shape) []int { return []int{0, s.Layers - 1} },
	in:  []field{{name: "hc", gen: normal}},
	out: []field{{name: "x", bound: sumBound}, {name: "mix", bound: sumBound}},
	run: func(r *rig, il int) {
		w := &r.w.Layers[il]
		r.b.HCPre(backend.HCPreArgs{Layer: int32(il), Fn: w.HCAttnFn, Scale: w.HCAttnScale, Base: w.HCAttnBase, Norm: w.AttnNorm,
			HC: r.bufs["hc"], X: r.bufs["x"], Mix: r.bufs["mix"]})
	},
}
