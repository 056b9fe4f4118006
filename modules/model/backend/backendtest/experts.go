package backendtest

import "github.com/ds4-go/ds4/modules/model/backend"

// Two int8 products in a row; the gated products between are quantised anew. Layer 1 reaches the clamps.
var experts = operation{
	name: "experts", layers: func(s *backend.Shape) []int { return []int{1, s.Layers - 1} },
	in:  []field{{name: "x", gen: normal}, {name: "ids", gen: anyExperts}, {name: "weights", gen: anyWeights}},
	out: []field{{name: "y", bound: intBound}, {name: "h", bound: intBound}},
	run: func(r *rig, il int) {
		w := &r.w.Layers[il]
		r.b.Experts(backend.ExpertsArgs{Layer: int32(il), Gate: w.FFNGateExps, Up: w.FFNUpExps, Down: w.FFNDownExps,
			X: r.bufs["x"], IDs: r.bufs["ids"], Weights: r.bufs["weights"], Y: r.bufs["y"], H: r.bufs["h"]})
	},
}

func anyExperts(g *gen, p []byte) {
	perm := g.Perm(g.sh.Experts)
	for i := range ints(p) {
		ints(p)[i] = int32(perm[i])
	}
}

func anyWeights(g *gen, p []byte) {
	for i := range floats(p) {
		floats(p)[i] = 0.05 + 0.4*g.Float32()
	}
}
