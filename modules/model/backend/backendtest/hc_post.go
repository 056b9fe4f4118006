package backendtest

import "github.com/ds4-go/ds4/modules/model/backend"

// Five products and sums a value.
var hcPost = operation{
	name: "hc_post", layers: func(s *backend.Shape) []int { return []int{0} },
	in:  []field{{name: "hc", gen: normal}, {name: "y", gen: normal}, {name: "mix", gen: normal}},
	out: []field{{name: "hc", bound: sumBound}, {name: "tap", bound: sumBound}},
	run: func(r *rig, il int) {
		r.b.HCPost(backend.HCPostArgs{Layer: int32(il), HC: r.bufs["hc"], Mix: r.bufs["mix"], Y: r.bufs["y"], Tap: r.bufs["tap"]})
	},
}
