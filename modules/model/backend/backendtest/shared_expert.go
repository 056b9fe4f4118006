package backendtest

import "github.com/ds4-go/ds4/modules/model/backend"

// As experts, and added to what is there.
var sharedExpert = operation{
	name: "shared_expert", layers: func(s *backend.Shape) []int { return []int{1, s.Layers - 1} },
	in:  []field{{name: "x", gen: normal}, {name: "y", gen: normal}},
	out: []field{{name: "y", bound: intBound}},
	run: func(r *rig, il int) {
		w := &r.w.Layers[il]
		r.b.SharedExpert(backend.SharedExpertArgs{Layer: int32(il), Gate: w.FFNGateShexp, Up: w.FFNUpShexp, Down: w.FFNDownShexp,
			X: r.bufs["x"], Y: r.bufs["y"]})
	},
}
