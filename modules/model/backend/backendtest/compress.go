package backendtest

import "github.com/ds4-go/ds4/modules/model/backend"

// Its outputs are state alone: see compareState.
var compress = operation{
	name: "compress", state: true,
	layers: func(s *backend.Shape) []int { return kinds(s, func(il int) bool { return s.Ratio[il] != 0 }) },
	in:     []field{{name: "x", gen: normal}},
	run: func(r *rig, il int) {
		w := &r.w.Layers[il]
		r.b.Compress(backend.CompressArgs{Layer: int32(il), Attn: w.AttnCompressor, Index: w.IndexerCompressor, X: r.bufs["x"], State: r.state})
	},
}
