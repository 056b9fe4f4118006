package metal_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/metal"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// TestPlanted plants faults in the real kernels, one at a time. Each must be refused by the stand-in, or change the logits of a
// prompt that ends in short steps. Each costs a compilation of all kernels, so three stand for all unless DS4_METAL_ALL is set.
func TestPlanted(t *testing.T) {
	needGPU(t)
	if testing.Short() {
		t.Skip("a compilation of all kernels for each fault")
	}
	tiny := synth.T1()
	lim := limits(64, 1, 12)
	run := func(t *testing.T) ([]float32, error) {
		q := sequence(t, gpu(t, tiny, lim))
		prompt := synth.Prompt(tiny.Shape.Vocab, 38)
		var out []float32
		for _, n := range []int{12, 12, 10, 3, 1} {
			j, err := q.Feed(context.Background(), prompt[:n], n, []model.Want{{}}, nil)
			if err != nil {
				return nil, err
			}
			prompt, out = prompt[n:], append(out, j.Logits(nil, 0)...)
		}
		return out, nil
	}
	want, err := run(t)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct{ what, old, with string }{
		{"the norm's barrier is missing", "    if (lane == 0) part[simd] = v;\n    threadgroup_barrier(mem_flags::mem_threadgroup);\n    return simd_sum", "    if (lane == 0) part[simd] = v;\n    return simd_sum"},
		{"a divergent barrier", "    threadgroup_barrier(mem_flags::mem_threadgroup);\n    pack_kv(v,", "    if (tid < 9) threadgroup_barrier(mem_flags::mem_threadgroup);\n    pack_kv(v,"},
		{"a block of 33 bytes", "? 34 : type == type_mxfp4", "? 33 : type == type_mxfp4"},
		{"a read past a matrix", "w + (ulong) at * row_bytes(type_q8_0, a.cols), true", "w + (ulong) at * 4096 * row_bytes(type_q8_0, a.cols), true"},
		{"a wrong buffer index", "device       float * index_q   [[buffer(16)]]", "device       float * index_q   [[buffer(17)]]"},
		{"an index used twice", "device       float * index_q   [[buffer(16)]]", "device       float * index_q   [[buffer(15)]]"},
		{"a wrong sign of the rotation", "return i & 1 ? fma(other, s, v * c)", "return i & 1 ? fma(-other, s, v * c)"},
		{"a choice left out", "for (int k = 0; k < a.e.active; k++) {", "for (int k = 1; k < a.e.active; k++) {"},
		{"the clamp forgotten", "    g = min(g, limit);\n    return g * sigmoid(g) * clamp(u, -limit, limit);", "    return g * sigmoid(g) * u * 1.001f;"},
		{"the sink forgotten", "float top = sinks[h], den = 1, v = 0;", "float top = sinks[h], den = 0, v = 0;"},
		{"one Sinkhorn round less", "for (int i = 0; i < rounds; i++) {\n        if (i > 0)", "for (int i = 1; i < rounds; i++) {\n        if (i > 0)"},
		{"the window's oldest row left out", "const int p = r.pos + 1 - raw + j;", "const int p = r.pos + 1 - raw + max(j, 1);"},
		{"an address space forgotten", "static inline float sigmoid(float x) {", "static inline float first(const float * p) { return p[0]; }\nstatic inline float sigmoid(float x) {"},
	} {
		t.Run(f.what, func(t *testing.T) {
			if few := []string{"an index used twice", "an address space forgotten", "a read past a matrix"}; os.Getenv("DS4_METAL_ALL") == "" && !slices.Contains(few, f.what) {
				t.Skip("DS4_METAL_ALL is not set")
			}
			text := kernels.Source()
			if !strings.Contains(text, f.old) {
				t.Fatalf("the sources have no %q", f.old)
			}
			defer metal.SetSource(func() string { return strings.Replace(text, f.old, f.with, 1) })()
			b, err := open(t, tiny.Shape, lim)
			if err != nil {
				t.Logf("refused: %.200v", err)
				return
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			got, err := run(t)
			switch {
			case err != nil:
				t.Logf("caught: %.200v", err)
			case slices.Equal(got, want):
				t.Error("nobody noticed")
			default:
				t.Logf("other logits: error %.2g", rms(got, want))
			}
		})
	}
}
