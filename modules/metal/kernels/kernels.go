// Package kernels holds the Metal sources of the model's operations, one file each, and the structs of their arguments. The
// sources travel as text and are compiled on the machine that runs them.
package kernels

import (
	"embed"
	"strings"
)

//go:embed *.metal
var files embed.FS

// order of the sources: what several share comes first.
var order = []string{"common", "forms", "product", "tiles",
	"embed", "hc_pre", "hc_post", "hc_head", "attn_qkv", "compress", "index_topk", "attend", "attn_out", "route", "experts", "shared_expert",
	"logits", "top", "draft_join", "joined"}

// Source is the one translation unit that all kernels are compiled from.
func Source() string {
	var s strings.Builder
	for _, name := range order {
		p, err := files.ReadFile(name + ".metal")
		if err != nil {
			panic("kernels: " + err.Error()) // a file that go:embed has just put there
		}
		s.WriteString("// ---- " + name + ".metal\n")
		s.Write(p)
	}
	return s.String()
}

// Names are the entry points.
func Names() []string { return names }

var names = []string{
	"product_rows", "product_tiles", "product_floats", "quantize",
	"embed", "hc_mix", "hc_pre", "hc_post", "hc_steer", "latent_kv", "q_heads", "keep_ring", "compress",
	"index_queries", "index_scores", "index_select", "attend_tiles", "attend_merge", "attend_rows", "attn_out_low", "route",
	"experts_plan", "experts_sum",
	"experts_gate_up_iq2_xxs", "experts_gate_up_q2_k", "experts_gate_up_q4_k", "experts_gate_up_mxfp4",
	"experts_down_iq2_xxs", "experts_down_q2_k", "experts_down_q4_k", "experts_down_mxfp4",
	"experts_gate_up_tiles_iq2_xxs", "experts_gate_up_tiles_q2_k", "experts_gate_up_tiles_q4_k", "experts_gate_up_tiles_mxfp4",
	"experts_down_tiles_iq2_xxs", "experts_down_tiles_q2_k", "experts_down_tiles_q4_k", "experts_down_tiles_mxfp4",
	"shared_gate_up", "shared_swiglu", "logits_rows", "top_parts", "top_merge", "draft_norms", "draft_sum",
	"latent_rows", "query_heads", "attn_out_post",
	"experts_down_post_iq2_xxs", "experts_down_post_q2_k", "experts_down_post_q4_k", "experts_down_post_mxfp4",
}
