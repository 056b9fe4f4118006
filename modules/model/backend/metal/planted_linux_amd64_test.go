package metal_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/metal/standin"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/metal"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// small is the least model that comes to every kernel of its types: the indexer selects from 12 tokens on, windows close.
func small() synth.Tiny {
	t := synth.T0()
	t.Name = "T0-metal"
	s := &t.Shape
	s.Layers, s.Ratio, s.Hash, s.Heads, s.TopK = 4, []int{0, 0, 4, 128}, 1, 8, 2
	return t
}

// TestPlanted plants faults in the real kernels, one at a time. Each must be refused by the stand-in, or change the logits of a
// prompt that ends in short steps.
func TestPlanted(t *testing.T) {
	needGPU(t)
	if testing.Short() {
		t.Skip("compiles what each fault changes")
	}
	tiny := small()
	lim := limits(64, 1, 12)
	run := func(t *testing.T) ([]float32, error) {
		q := sequence(t, gpu(t, tiny, lim))
		prompt := synth.Prompt(tiny.Shape.Vocab, 17)
		var out []float32
		for _, n := range []int{12, 4, 1} {
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

// TestBarriers leaves out each barrier between the dispatches of a decoded token, one at a time; what comes after it runs first then.
// The step must fail, or have other logits: no barrier is missing where its like is noticed, and none is there for nothing.
func TestBarriers(t *testing.T) {
	needGPU(t)
	tiny, lim := small(), limits(64, 1, 15)
	prompt := synth.Prompt(tiny.Shape.Vocab, 16) // the last token closes a window
	start := func() (*model.Engine, *model.Seq) {
		e := gpu(t, tiny, lim)
		q := sequence(t, e)
		if _, err := q.Feed(context.Background(), prompt[:15], 15, nil, nil); err != nil {
			t.Fatal(err)
		}
		return e, q
	}
	e, q := start()
	token := func(id int32, skip int64) (logits []float32, top string, err error) { // without keeping it
		if err := errors.Join(standin.Reset(), standin.Set("skip_barrier", skip)); err != nil {
			t.Fatal(err)
		}
		jobs := []model.Job{{Seq: q, Tokens: []int32{id}, Wants: []model.Want{{}}}}
		if err := errors.Join(e.Run(context.Background(), jobs), standin.Set("skip_barrier", 0)); err != nil {
			return nil, "", err
		}
		return slices.Clone(jobs[0].Logits(nil, 0)), fmt.Sprint(jobs[0].Top(0)), nil
	}
	other, id := prompt[0], prompt[15]
	want, wantTop, err := token(id, 0)
	if err != nil {
		t.Fatal(err)
	}
	total, _, err := standin.Counts()
	if err != nil {
		t.Fatal(err)
	}
	for i := int64(1); i <= int64(total.Barriers); i++ {
		if _, _, err := token(other, 0); err != nil { // what it leaves behind is wrong for ours
			t.Fatal(err)
		}
		got, top, err := token(id, i)
		if err != nil {
			e, q = start()
		} else if slices.Equal(got, want) && top == wantTop {
			t.Errorf("barrier %d of %d left out: nobody noticed", i, total.Barriers)
		}
	}
	if got, top, err := token(id, 0); err != nil || !slices.Equal(got, want) || top != wantTop {
		t.Errorf("with all barriers again: other logits, or %v", err)
	}
	t.Logf("%d barriers for %d dispatches", total.Barriers, total.Dispatches)
}
