package cuda

import (
	"testing"
	"unsafe"
)

// TestArgSizes compares with the numbers that the kernels assert.
func TestArgSizes(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"quantize", unsafe.Sizeof(quantizeArgs{}), 80},
		{"matmul", unsafe.Sizeof(matmulArgs{}), 248},
		{"matmul_q8_0_few8_post", unsafe.Sizeof(matmulPostArgs{}), 288},
		{"front", unsafe.Sizeof(frontArgs{}), 504},
		{"front_rest", unsafe.Sizeof(frontRestArgs{}), 384},
		{"repack", unsafe.Sizeof(repackArgs{}), 32},
		{"rope_table", unsafe.Sizeof(ropeTableArgs{}), 40},
		{"embed", unsafe.Sizeof(embedArgs{}), 40},
		{"hc_mix", unsafe.Sizeof(hcMixArgs{}), 64},
		{"hc_pre", unsafe.Sizeof(hcPreArgs{}), 152},
		{"hc_post", unsafe.Sizeof(hcPostArgs{}), 56},
		{"attn_qkv_latents", unsafe.Sizeof(latentKVArgs{}), 168},
		{"q_heads", unsafe.Sizeof(qHeadsArgs{}), 48},
		{"keep_ring", unsafe.Sizeof(keepArgs{}), 40},
		{"compress_emit", unsafe.Sizeof(emitArgs{}), 160},
		{"index_queries", unsafe.Sizeof(indexQueryArgs{}), 56},
		{"index_scores", unsafe.Sizeof(indexScoreArgs{}), 144},
		{"index_select", unsafe.Sizeof(indexSelectArgs{}), 48},
		{"attend", unsafe.Sizeof(attendArgs{}), 240},
		{"route", unsafe.Sizeof(routeArgs{}), 64},
		{"route_few", unsafe.Sizeof(routePlanArgs{}), 120},
		{"experts_plan", unsafe.Sizeof(planArgs{}), 56},
		{"experts", unsafe.Sizeof(expertsArgs{}), 104},
		{"ffn_up", unsafe.Sizeof(ffnUpArgs{}), 136},
		{"ffn_down", unsafe.Sizeof(ffnDownArgs{}), 176},
		{"experts_sum", unsafe.Sizeof(sumArgs{}), 32},
		{"swiglu_quantize", unsafe.Sizeof(swigluArgs{}), 80},
		{"draft_join", unsafe.Sizeof(draftArgs{}), 176},
		{"top", unsafe.Sizeof(topArgs{}), 48},
		{"state", unsafe.Sizeof(stateArgs{}), 80},
	} {
		if c.got != c.want {
			t.Errorf("arguments of %s: want %d bytes, got %d", c.name, c.want, c.got)
		}
	}
}

// TestArgRoom: a launch's arguments are copied to a buffer of the backend.
func TestArgRoom(t *testing.T) {
	for _, n := range []uintptr{unsafe.Sizeof(frontArgs{}), unsafe.Sizeof(matmulPostArgs{}), unsafe.Sizeof(attendArgs{}), unsafe.Sizeof(ffnDownArgs{})} {
		if room := unsafe.Sizeof(Backend{}.args); n > room {
			t.Errorf("want at most %d bytes, got %d", room, n)
		}
	}
}
