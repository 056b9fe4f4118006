package backendtest

import "github.com/ds4-go/ds4/modules/model/backend"

// As hc_pre, for the wanted rows.
var hcHead = operation{
	name: "hc_head", layers: outside,
	in:  []field{{name: "hc", gen: normal}},
	out: []field{{name: "out_x", bound: sumBound, outs: true}},
	run: func(r *rig, _ int) {
		r.b.HCHead(backend.HCHeadArgs{Fn: r.w.OutputHCFn, Scale: r.w.OutputHCScale, Base: r.w.OutputHCBase, Norm: r.w.OutputNorm,
			HC: r.bufs["hc"], X: r.bufs["out_x"]})
	},
}
