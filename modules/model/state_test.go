package model_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/backend/null"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// last feeds tokens and returns the logits of the last one.
func last(t testing.TB, q *model.Seq, tokens []int32, rows int) []float32 {
	t.Helper()
	j, err := q.Feed(context.Background(), tokens, rows, []model.Want{{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return j.Logits(nil, 0)
}

func same(t testing.TB, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: logit %d: want %v, got %v", what, i, want[i], got[i])
		}
	}
}

// TestThreads runs a golden prompt with several thread counts: work is divided by output, so no bit may change.
func TestThreads(t *testing.T) {
	g := goldens[1]
	threads := []int{1, 2, 7}
	if testing.Short() {
		threads = []int{7}
	}
	for _, n := range threads {
		e := engine(t, g.tiny, limits(g.prompt+len(g.ids), 1, g.prompt), cpu.Options{Threads: n})
		g.check(t, e, func(q *model.Seq, prompt []int32) *model.Job {
			j, err := q.Feed(context.Background(), prompt, 0, []model.Want{{}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return j
		})
	}
}

// TestSplit cuts a prompt in two at every position, and into chunks of odd sizes: the logits may not change.
func TestSplit(t *testing.T) {
	tiny, n := synth.T0(), 150
	prompt := synth.Prompt(tiny.Shape.Vocab, n)
	e := engine(t, tiny, limits(2*n, 2, n), cpu.Options{Poison: true})
	whole := newSeq(t, e)
	want := last(t, whole, prompt, 0)
	whole.Free()
	step := 1
	if testing.Short() {
		step = 31
	}
	for at := 1; at < n; at += step {
		q := newSeq(t, e)
		last(t, q, prompt[:at], 0)
		same(t, fmt.Sprintf("split at %d", at), last(t, q, prompt[at:], 0), want)
		q.Free()
	}
	for _, rows := range []int{1, 2, 3, 5, 7, 16, 17, 18, 64, 128} {
		q := newSeq(t, e)
		last(t, q, prompt[:9], 9) // starts that are no multiple of 4
		same(t, fmt.Sprintf("chunks of %d", rows), last(t, q, prompt[9:], rows), want)
		q.Free()
	}
}

// TestGoldenSplit does so with the golden prompt at positions around every border.
func TestGoldenSplit(t *testing.T) {
	g := goldens[1]
	e := engine(t, g.tiny, limits(g.prompt+len(g.ids), 1, g.prompt), cpu.Options{Poison: true})
	cuts := []int{1, 3, 4, 15, 16, 35, 36, 127, 128, 129, 149}
	if testing.Short() {
		cuts = []int{36, 128}
	}
	for _, at := range cuts {
		g.check(t, e, func(q *model.Seq, prompt []int32) *model.Job {
			last(t, q, prompt[:at], 0)
			j, err := q.Feed(context.Background(), prompt[at:], 0, []model.Want{{}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return j
		})
	}
}

// TestRestore saves at every residue of 4 and around the border of a window of 128, moves the state to another engine, and
// goes on: the logits may not change.
func TestRestore(t *testing.T) {
	tiny := synth.T0()
	prompt := synth.Prompt(tiny.Shape.Vocab, 180)
	lim := limits(256, 3, 64)
	a, b := engine(t, tiny, lim, cpu.Options{Poison: true}), engine(t, tiny, lim, cpu.Options{Poison: true})
	for _, n := range []int{1, 2, 3, 4, 5, 30, 125, 126, 127, 128, 129, 130, 131, 132} {
		q := newSeq(t, a)
		last(t, q, prompt[:n], 0)
		s, err := q.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		branch, err := q.Branch()
		if err != nil {
			t.Fatal(err)
		}
		want := last(t, q, prompt[n:n+20], 0)
		same(t, fmt.Sprintf("branch at %d", n), last(t, branch, prompt[n:n+20], 0), want)
		q.Free()
		branch.Free()

		moved, err := b.Import(s.Tokens(), func(i int, dst []byte) error {
			done := make(chan error)
			s.ReadPage(i, dst, func(err error) { done <- err })
			return <-done
		}, s.State())
		if err != nil {
			t.Fatal(err)
		}
		for name, from := range map[string]struct {
			e *model.Engine
			s *model.Snapshot
		}{"restored": {a, s}, "imported": {b, moved}} {
			r, err := from.e.Restore(from.s)
			if err != nil {
				t.Fatal(err)
			}
			same(t, fmt.Sprintf("%s at %d", name, n), last(t, r, prompt[n:n+20], 0), want)
			r.Free()
			from.s.Free()
		}
	}
	for _, e := range []*model.Engine{a, b} {
		if p, s, i := e.Leaks(); p+s+i != 0 {
			t.Errorf("leaked %d pages, %d slots, %d sequences", p, s, i)
		}
	}
}

// TestImportRefuses gives states that do not fit.
func TestImportRefuses(t *testing.T) {
	tiny := synth.T0()
	e := engine(t, tiny, limits(64, 2, 16), cpu.Options{})
	page := func(int, []byte) error { return nil }
	good := make([]byte, model.StateBytes(tiny.Shape, 5))
	for name, c := range map[string]struct {
		tokens []int32
		state  []byte
		want   error
	}{
		"a state too short":     {make([]int32, 5), good[:len(good)-1], model.ErrCorrupt},
		"a token out of range":  {[]int32{0, 1, 2, 3, 64}, good, model.ErrCorrupt},
		"more than the context": {make([]int32, 65), good, model.ErrContextFull},
	} {
		if _, err := e.Import(c.tokens, page, c.state); !errors.Is(err, c.want) {
			t.Errorf("%s: want %v, got %v", name, c.want, err)
		}
	}
	broken := errors.New("disk")
	if _, err := e.Import(make([]int32, 5), func(int, []byte) error { return broken }, good); !errors.Is(err, broken) {
		t.Errorf("a page that cannot be read: want %v, got %v", broken, err)
	}
	if p, s, i := e.Leaks(); p+s+i != 0 {
		t.Errorf("leaked %d pages, %d slots, %d sequences", p, s, i)
	}
}

// TestLimits asks for more than there is.
func TestLimits(t *testing.T) {
	tiny := synth.T0()
	lim := limits(40, 2, 32)
	lim.Slots = 3
	e := engine(t, tiny, lim, cpu.Options{})
	a, b := newSeq(t, e), newSeq(t, e)
	if _, err := e.NewSeq(); !errors.Is(err, model.ErrNoSlots) {
		t.Errorf("a third sequence: want ErrNoSlots, got %v", err)
	}
	ctx := context.Background()
	long := make([]int32, 20)
	if err := e.Run(ctx, []model.Job{{Seq: a, Tokens: long[:18]}, {Seq: b, Tokens: long[:14]}}); err != nil {
		t.Errorf("one spare slot serves one long span: %v", err)
	}
	err := e.Run(ctx, []model.Job{{Seq: a, Tokens: make([]int32, 41)}})
	if err == nil {
		t.Error("more rows than a step has were accepted")
	}
	if _, err := a.Feed(ctx, make([]int32, 41), 10, nil, nil); !errors.Is(err, model.ErrContextFull) || a.Len() != 40 {
		t.Errorf("41 tokens: want ErrContextFull after 40, got %v after %d", err, a.Len())
	}
	if err := e.Run(ctx, []model.Job{{Seq: b, Tokens: []int32{64}}}); err == nil {
		t.Error("a token beyond the vocabulary was accepted")
	}
	if err := a.Rewind(3); !errors.Is(err, model.ErrRewind) {
		t.Errorf("a rewind of 37 tokens: want ErrRewind, got %v", err)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if err := e.Run(done, []model.Job{{Seq: b, Tokens: []int32{1}}}); !errors.Is(err, model.ErrCanceled) {
		t.Errorf("a context that ended: want ErrCanceled, got %v", err)
	}
}

// TestPagesRunOut lets snapshots go when pages are asked for, and refuses when none is left to go.
func TestPagesRunOut(t *testing.T) {
	tiny := synth.T0()
	lim := limits(64, 4, 32)
	lim.PageBytes = 3 * model.PageBytes(tiny.Shape)
	f, err := tiny.File()
	if err != nil {
		t.Fatal(err)
	}
	b, err := null.New(tiny.Shape, lim)
	if err != nil {
		t.Fatal(err)
	}
	w, err := model.Load(f, tiny.Shape, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	var old *model.Snapshot
	asked := 0
	e, err := model.New(b, w, tiny.Shape, lim, model.Options{Reclaim: func() bool {
		asked++
		if old == nil {
			return false
		}
		old.Free()
		old = nil
		return true
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	q := newSeq(t, e)
	if _, err := q.Feed(ctx, []int32{1, 2, 3}, 0, nil, nil); err != nil {
		t.Fatal(err)
	}
	if old, err = q.Snapshot(); err != nil {
		t.Fatal(err)
	}
	q.Free() // its page lives on in the snapshot
	for i := range 3 {
		if _, err := newSeq(t, e).Feed(ctx, []int32{1}, 0, nil, nil); err != nil {
			t.Fatalf("sequence %d: %v", i, err)
		}
	}
	if asked != 1 {
		t.Errorf("pages were asked for %d times, want once", asked)
	}
	if _, err := newSeq(t, e).Feed(ctx, []int32{1}, 0, nil, nil); !errors.Is(err, model.ErrNoPages) {
		t.Errorf("a fourth page of three: want ErrNoPages, got %v", err)
	}
}

// TestTape records the calls of steps of 1, 6 and 300 rows of the real shape: one tape, and no allocation.
func TestTape(t *testing.T) {
	sh := backend.Flash()
	lim := model.Limits{CtxTokens: 8192, Seqs: 2, Slots: 6, Rows: 301, Outs: 4, Tops: 8}
	b, err := null.New(sh, lim)
	if err != nil {
		t.Fatal(err)
	}
	e, err := model.New(b, &model.Weights{Layers: make([]model.Layer, sh.Layers)}, sh, lim, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	q, p := newSeq(t, e), newSeq(t, e)
	jobs := make([]model.Job, 2)
	run := func(rows int) {
		jobs[0].Seq, jobs[0].Tokens = q, long[:rows]
		jobs[1].Seq, jobs[1].Tokens = p, long[:1]
		jobs[0].Wants = wants
		if err := e.Run(context.Background(), jobs); err != nil {
			t.Fatal(err)
		}
		jobs[0].Keep(max(0, rows-backend.Slack))
		jobs[1].Keep(0)
	}
	for _, rows := range []int{1, 6, 300, 2} {
		run(rows)
	}
	if b.Captures != 1 || b.Replays != 3 {
		t.Errorf("want one tape for all row counts, got %d captures and %d replays", b.Captures, b.Replays)
	}
	// by layer: 2 × hc_pre and hc_post, attn_qkv, attend, attn_out, route, experts, shared_expert; compress on 41, index_topk on 21
	if want := 1 + 43*10 + 41 + 21 + 3; len(b.Tape()) != want {
		t.Errorf("want %d calls, got %d", want, len(b.Tape()))
	}
	if n := testing.AllocsPerRun(100, func() { run(6) }); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
}

var (
	long  = make([]int32, 300)
	wants = []model.Want{{Row: 0}}
)

// BenchmarkTape is the host's share of a decode step: the calls alone.
func BenchmarkTape(b *testing.B) {
	sh := backend.Flash()
	lim := model.Limits{CtxTokens: 8192, Seqs: 1, Slots: 5, Rows: 8, Outs: 1, Tops: 1}
	n, err := null.New(sh, lim)
	if err != nil {
		b.Fatal(err)
	}
	e, err := model.New(n, &model.Weights{Layers: make([]model.Layer, sh.Layers)}, sh, lim, model.Options{})
	if err != nil {
		b.Fatal(err)
	}
	q := newSeq(b, e)
	jobs := []model.Job{{Seq: q, Tokens: long[:1], Wants: wants}}
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Run(context.Background(), jobs); err != nil {
			b.Fatal(err)
		}
	}
}

// TestLayoutSizes compares the layout with the figures of the specification.
func TestLayoutSizes(t *testing.T) {
	sh := backend.Flash()
	sum := func(parts []backend.Part) (n int64) {
		for _, p := range parts {
			n += p.Bytes()
		}
		return n
	}
	for _, c := range []struct {
		what      string
		got, want int64
	}{
		{"KV row", int64(sh.KVRowBytes()), 592},
		{"slot", sum(sh.SlotParts()), 20708352},
		{"page", sum(sh.PageParts()), 7285760},
		{"page, as the engine has it", model.PageBytes(sh), 7285760},
	} {
		if c.got != c.want {
			t.Errorf("%s: want %d bytes, got %d", c.what, c.want, c.got)
		}
	}
	if n := model.StateBytes(sh, 2048); n < 3_600_000 || n > 3_900_000 {
		t.Errorf("state at a multiple of 128: want about 3.8 MB, got %d", n)
	}
	if !slices.Equal(model.Inventory(sh)[0].Dims, []int{4096, 129280}) {
		t.Errorf("embedding: got %v", model.Inventory(sh)[0])
	}
}
