package backendtest

import "github.com/ds4-go/ds4/modules/model/backend"

// The choice must be the oracle's: with random inputs, margins are far above the error of a sum.
var route = operation{
	name: "route", layers: every,
	in:  []field{{name: "x", gen: normal}},
	out: []field{{name: "ids", cmp: sameInts}, {name: "weights", bound: 1e-3}},
	run: func(r *rig, il int) {
		w := &r.w.Layers[il]
		r.b.Route(backend.RouteArgs{Layer: int32(il), Gate: w.FFNGateInp, Bias: w.ExpProbsB, Table: w.FFNGateTid2Eid,
			X: r.bufs["x"], IDs: r.bufs["ids"], Weights: r.bufs["weights"]})
	},
}
