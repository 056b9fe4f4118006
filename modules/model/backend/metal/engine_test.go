package metal_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/backend/metal"
	"github.com/ds4-go/ds4/modules/model/synth"
)

func limits(ctx, seqs, rows int) model.Limits {
	return model.Limits{CtxTokens: ctx, Seqs: seqs, Slots: seqs + model.SpareSlots, Rows: rows, Outs: min(rows, 8), Tops: min(2*rows, 16)}
}

var files = map[string]*gguf.File{}

// engine runs a tiny model on a backend.
func engine(t testing.TB, tiny synth.Tiny, lim model.Limits, open func(model.Shape, model.Limits) (backend.Backend, error)) *model.Engine {
	t.Helper()
	f := files[tiny.Name]
	if f == nil {
		var err error
		if f, err = tiny.File(); err != nil {
			t.Fatal(err)
		}
		files[tiny.Name] = f
	}
	b, err := open(tiny.Shape, lim)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	w, err := model.Load(f, tiny.Shape, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := model.New(b, w, tiny.Shape, lim, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func gpu(t testing.TB, tiny synth.Tiny, lim model.Limits) *model.Engine {
	return engine(t, tiny, lim, func(s model.Shape, l model.Limits) (backend.Backend, error) { return open(t, s, l) })
}

// logits feeds tokens in chunks and returns the last token's.
func logits(t testing.TB, q *model.Seq, tokens []int32, rows int) []float32 {
	t.Helper()
	j, err := q.Feed(context.Background(), tokens, rows, []model.Want{{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(j.Logits(nil, 0))
}

func sequence(t testing.TB, e *model.Engine) *model.Seq {
	t.Helper()
	q, err := e.NewSeq()
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func rms(got, want []float32) float64 {
	d, w := 0.0, 0.0
	for i := range want {
		e := float64(got[i]) - float64(want[i])
		d += e * e
		w += float64(want[i]) * float64(want[i])
	}
	return math.Sqrt(d / w)
}

// TestSame: a prompt in any chunks, beside another sequence, and continued from a snapshot or from an import gives the same bits.
func TestSame(t *testing.T) {
	needGPU(t)
	tiny := synth.T1()
	const n = 40 // past the window, more rows of ratio 4 than are selected
	prompt := synth.Prompt(tiny.Shape.Vocab, n)
	lim := limits(256, 3, n)
	lim.PageBytes = 8 * model.PageBytes(tiny.Shape)
	e := gpu(t, tiny, lim)
	want := logits(t, sequence(t, e), prompt, 0)
	for _, rows := range []int{3, 17} {
		q := sequence(t, e)
		if got := logits(t, q, prompt, rows); !slices.Equal(got, want) {
			t.Errorf("chunks of %d: other logits than in one", rows)
		}
		q.Free()
	}
	q := sequence(t, e)
	if _, err := q.Feed(context.Background(), prompt[:n-4], 0, nil, nil); err != nil {
		t.Fatal(err)
	}
	s, err := q.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Free()
	other := sequence(t, e)
	jobs := []model.Job{{Seq: other, Tokens: prompt[:9]}, {Seq: q, Tokens: prompt[n-4:], Wants: []model.Want{{Row: 3}}}}
	if err := e.Run(context.Background(), jobs); err != nil {
		t.Fatal(err)
	}
	if got := jobs[1].Logits(nil, 0); !slices.Equal(got, want) {
		t.Error("beside another sequence: other logits than alone")
	}
	other.Free() // nothing was kept
	q.Free()
	r, err := e.Restore(s)
	if err != nil {
		t.Fatal(err)
	}
	if got := logits(t, r, prompt[n-4:], 1); !slices.Equal(got, want) {
		t.Error("from a snapshot: other logits than at once")
	}
	c := engine(t, tiny, lim, func(s model.Shape, l model.Limits) (backend.Backend, error) { return cpu.New(s, l, cpu.Options{}) })
	on := carry(t, s, c)
	if e := rms(logits(t, on, prompt[n-4:], 0), want); !(e < 0.5) {
		t.Errorf("continued on the CPU: want an error below 0.5, got %.2g", e)
	}
}

// carry continues a snapshot in another engine.
func carry(t *testing.T, s *model.Snapshot, to *model.Engine) *model.Seq {
	t.Helper()
	if err := s.Wait(); err != nil {
		t.Fatal(err)
	}
	moved, err := to.Import(s.Tokens(), func(i int, dst []byte) error {
		done := make(chan error, 1)
		s.ReadPage(i, dst, func(err error) { done <- err })
		return <-done
	}, s.State())
	if err != nil {
		t.Fatal(err)
	}
	defer moved.Free()
	q, err := to.Restore(moved)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// TestCancel stops a step, and goes on from where the sequence stood.
func TestCancel(t *testing.T) {
	needGPU(t)
	tiny := synth.T1()
	e := gpu(t, tiny, limits(256, 1, 8))
	q := sequence(t, e)
	prompt := synth.Prompt(tiny.Shape.Vocab, 12)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := q.Feed(ctx, prompt, 0, nil, nil); !errors.Is(err, backend.ErrCanceled) {
		t.Fatalf("want ErrCanceled, got %v", err)
	}
	if q.Len() != 0 {
		t.Fatalf("a cancelled step was kept: %d tokens", q.Len())
	}
	a := logits(t, q, prompt, 0)
	if b := logits(t, sequence2(t, e, q), prompt, 5); !slices.Equal(a, b) {
		t.Error("after a cancelled step: other logits")
	}
}

// sequence2 frees q and starts anew.
func sequence2(t *testing.T, e *model.Engine, q *model.Seq) *model.Seq {
	q.Free()
	return sequence(t, e)
}

func TestAdmit(t *testing.T) {
	const gib = 1 << 30
	flash := backend.Flash()
	lim := backend.Limits{CtxTokens: 1 << 20, Seqs: 1, Slots: 5, Rows: 512, Outs: 1, Tops: 1}
	for _, c := range []struct {
		what             string
		set, free, bytes int64
		say              string
	}{
		{"a Studio", 400 * gib, 0, 81 * gib, ""},
		{"96 GB", 72 * gib, 0, 81 * gib, "iogpu.wired_limit_mb"},
		{"128 GB at 1M", 83 * gib, 0, 81 * gib, "would fit"},
		{"other programs", 400 * gib, 3 * gib, 81 * gib, "close other programs"},
		{"programs beside the weights", 400 * gib, 85 * gib, 81 * gib, "would fit"},
		{"files in the cache", 400 * gib, 120 * gib, 81 * gib, ""},
	} {
		err := metal.Admit("M", c.set, c.free, c.bytes, flash, lim)
		switch {
		case c.say == "" && err != nil:
			t.Errorf("%s: %v", c.what, err)
		case c.say != "" && (!errors.Is(err, backend.ErrMemory) || !strings.Contains(err.Error(), c.say)):
			t.Errorf("%s: want ErrMemory with %q, got %v", c.what, c.say, err)
		}
	}
}
