package model_test

import (
	"bytes"
	"context"
	"math"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// headEngine is an engine with a draft head.
func headEngine(t *testing.T, tiny synth.Tiny, lim model.Limits, o model.Options) *model.Engine {
	t.Helper()
	f, err := tiny.File()
	if err != nil {
		t.Fatal(err)
	}
	head, err := synth.DraftFile(f, 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := cpu.New(tiny.Shape, lim, cpu.Options{Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	w, err := model.Load(f, tiny.Shape, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.LoadDraft(head, f, tiny.Shape, b); err != nil {
		t.Fatal(err)
	}
	e, err := model.New(b, w, tiny.Shape, lim, o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// guesses feeds a prompt in chunks, with the head following, and returns what it guesses behind it, and how sure it is.
func guesses(t *testing.T, q *model.Seq, e *model.Engine, prompt []int32, rows int) ([]int32, []float32) {
	t.Helper()
	ctx := context.Background()
	j, err := q.Feed(ctx, prompt[q.Len():len(prompt)-1], rows, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := []model.Drafting{{Job: j, Next: prompt[len(prompt)-1], Want: 5}}
	if err := e.Draft(ctx, d); err != nil {
		t.Fatal(err)
	}
	if len(d[0].Tokens) != 5 || len(d[0].Margins) != 5 {
		t.Fatalf("want 5 guesses, got %v with %v", d[0].Tokens, d[0].Margins)
	}
	return d[0].Tokens, d[0].Margins
}

// imported is a sequence of an engine that goes on from another one's snapshot.
func imported(t *testing.T, e *model.Engine, s *model.Snapshot, state []byte) *model.Seq {
	t.Helper()
	moved, err := e.Import(s.Tokens(), func(i int, dst []byte) error {
		s.ReadPage(i, dst, nil)
		return nil
	}, state)
	if err != nil {
		t.Fatal(err)
	}
	defer moved.Free()
	q, err := e.Restore(moved)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// TestDraftHeadFollows: what the head guesses behind a prompt depends on the prompt alone: not on its chunks, nor on a
// snapshot in between, nor on rows that were evaluated and not kept. Its window is neither empty nor stale.
func TestDraftHeadFollows(t *testing.T) {
	tiny := synth.T0()
	prompt := synth.Prompt(tiny.Shape.Vocab, 160)
	lim := limits(256, 3, 160)
	e := headEngine(t, tiny, lim, model.Options{})
	alike := func(what string, tokens []int32, margins, want []float32, wantTokens []int32) {
		t.Helper()
		for i := range want {
			if tokens[i] != wantTokens[i] || math.Float32bits(margins[i]) != math.Float32bits(want[i]) {
				t.Errorf("%s: want %v by %v, got %v by %v", what, wantTokens, want, tokens, margins)
				return
			}
		}
	}
	q := newSeq(t, e)
	wantTokens, want := guesses(t, q, e, prompt, 0)
	q.Free()
	for _, rows := range []int{1, 2, 5, 16, 17, 18, 40, 100} {
		q := newSeq(t, e)
		tokens, margins := guesses(t, q, e, prompt, rows)
		alike("chunks", tokens, margins, want, wantTokens)
		q.Free()
	}
	q = newSeq(t, e)
	guesses(t, q, e, prompt[:141], 32)
	for _, kept := range []int{1, 2, 0, 3} { // checks of guesses that are mostly wrong, each followed by new guesses
		at := q.Len()
		jobs := []model.Job{{Seq: q, Tokens: append([]int32{prompt[at]}, 3, 1, 4, 1, 5, 9, 2, 6)}}
		copy(jobs[0].Tokens, prompt[at:at+kept])
		if err := e.Run(context.Background(), jobs); err != nil {
			t.Fatal(err)
		}
		jobs[0].Keep(kept)
		if err := e.Draft(context.Background(), []model.Drafting{{Job: &jobs[0], Next: prompt[at+kept], Want: model.MaxDrafts}}); err != nil {
			t.Fatal(err)
		}
	}
	s, err := q.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	q.Free()
	if q, err = e.Restore(s); err != nil {
		t.Fatal(err)
	}
	tokens, margins := guesses(t, q, e, prompt, 32)
	alike("after checks and a restore", tokens, margins, want, wantTokens)
	q.Free()
	other := headEngine(t, tiny, lim, model.Options{})
	q = imported(t, other, s, s.State())
	tokens, margins = guesses(t, q, other, prompt, 32)
	alike("in another engine", tokens, margins, want, wantTokens)
	q.Free()
	q = imported(t, other, s, s.State()[:model.StateBytes(tiny.Shape, s.Len())]) // from one without a head
	guesses(t, q, other, prompt, 32)
	q.Free()
	headless := engine(t, tiny, lim, cpu.Options{Poison: true})
	short := last(t, imported(t, headless, s, s.State()[:model.StateBytes(tiny.Shape, s.Len())]), prompt[s.Len():], 0)
	same(t, "in an engine without a head", last(t, imported(t, headless, s, s.State()), prompt[s.Len():], 0), short)
	s.Free()
	if pages, slots, ids := e.Leaks(); pages != 0 || slots != 0 || ids != 0 {
		t.Errorf("left: %d pages, %d slots, %d sequences", pages, slots, ids)
	}
}

// TestDraftFileRefused: a draft head that does not fit its model is refused by name.
func TestDraftFileRefused(t *testing.T) {
	tiny := synth.T0()
	base, err := tiny.File()
	if err != nil {
		t.Fatal(err)
	}
	good, err := synth.DraftFile(base, 1)
	if err != nil {
		t.Fatal(err)
	}
	if bad := model.CheckDraftFile(good, base, tiny.Shape); len(bad) > 0 || good.NumTensors() != 32 {
		t.Fatalf("want a head of 32 tensors that fits, got %d and %v", good.NumTensors(), bad)
	}
	rewrite := func(change func(w *gguf.Writer, t *gguf.Tensor, data []byte) (skip bool), keys map[string]any) *gguf.File {
		t.Helper()
		w := gguf.NewWriter()
		add := func(k string, v any) {
			if err := w.Add(k, v); err != nil {
				t.Fatal(err)
			}
		}
		if _, ok := keys[gguf.KeyArchitecture]; !ok {
			add(gguf.KeyArchitecture, model.DraftArchitecture)
		}
		for k, v := range keys {
			add(k, v)
		}
		for x := range good.Tensors() {
			data, err := x.Data()
			if err != nil {
				t.Fatal(err)
			}
			if change != nil && change(w, x, data) {
				continue
			}
			if err := w.AddTensor(x.Name, x.Type, x.Dims, gguf.Bytes(data)); err != nil {
				t.Fatal(err)
			}
		}
		var b bytes.Buffer
		if _, err := w.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		f, err := gguf.ParseBytes(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	drop := func(name string) func(*gguf.Writer, *gguf.Tensor, []byte) bool {
		return func(_ *gguf.Writer, x *gguf.Tensor, _ []byte) bool { return x.Name == name }
	}
	for _, c := range []struct {
		what string
		f    *gguf.File
		want string
	}{
		{"the model itself", base, "general.architecture"},
		{"no bias", rewrite(drop("mtp.0.exp_probs_b.bias"), nil), "mtp.0.exp_probs_b.bias: want"},
		{"no joint", rewrite(drop("mtp.0.e_proj.weight"), nil), "mtp.0.e_proj.weight: want"},
		{"another tensor", rewrite(func(w *gguf.Writer, x *gguf.Tensor, data []byte) bool {
			if x.Name == "mtp.0.norm.weight" {
				if err := w.AddTensor("mtp.1.norm.weight", x.Type, x.Dims, gguf.Bytes(data)); err != nil {
					t.Fatal(err)
				}
			}
			return false
		}, nil), "mtp.1.norm.weight: want the 32"},
		{"another width", rewrite(nil, map[string]any{model.DraftArchitecture + ".embedding_length": uint32(4096)}), "embedding_length: want"},
	} {
		bad := model.CheckDraftFile(c.f, base, tiny.Shape)
		if len(bad) == 0 || !strings.Contains(bad[0].Error(), c.want) {
			t.Errorf("%s: want %q, got %v", c.what, c.want, bad)
		}
	}
}
