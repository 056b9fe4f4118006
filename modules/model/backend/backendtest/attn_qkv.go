package backendtest

import "github.com/ds4-go/ds4/modules/model/backend"

// Int8 products. The query passes two of them, and the latent between is quantised anew.
var attnQKV = operation{
	name: "attn_qkv", layers: every, state: true,
	in: []field{{name: "x", gen: normal}},
	out: []field{{name: "qlat", bound: sumBound}, {name: "q", bound: intBound},
		{name: "kv", bound: kvBound, cmp: kvError}},
	run: func(r *rig, il int) {
		w := &r.w.Layers[il]
		r.b.AttnQKV(backend.AttnQKVArgs{Layer: int32(il), QA: w.AttnQA, QANorm: w.AttnQANorm, QB: w.AttnQB, KVW: w.AttnKV, KVNorm: w.AttnKVANorm,
			X: r.bufs["x"], QLat: r.bufs["qlat"], Q: r.bufs["q"], KV: r.bufs["kv"], State: r.state})
	},
}
