package bench

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/draft"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// guesser is an engine on the smallest model with a draft head, and room for checks of guesses.
func guesser(t *testing.T) *model.Engine {
	t.Helper()
	f, err := synth.T0().File()
	if err != nil {
		t.Fatal(err)
	}
	s, err := model.ReadShape(f)
	if err != nil {
		t.Fatal(err)
	}
	head, err := synth.DraftFile(f, 1)
	if err != nil {
		t.Fatal(err)
	}
	lim := model.Limits{CtxTokens: 128, Seqs: 2, Slots: 2 + model.SpareSlots, Rows: 32, Outs: 32, Tops: 32}
	b, err := cpu.New(s, lim, cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	w, err := model.Load(f, s, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.LoadDraft(head, f, s, b); err != nil {
		t.Fatal(err)
	}
	e, err := model.New(b, w, s, lim, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// find is the row of a kind, a probability and a depth.
func find(t *testing.T, rows []DraftRow, kind string, p float64, depth, answer int) DraftRow {
	t.Helper()
	i := slices.IndexFunc(rows, func(r DraftRow) bool {
		return r.Kind == kind && r.P == p && r.Depth == depth && r.Answer == answer
	})
	if i < 0 {
		t.Fatalf("want a row of %s at %g and depth %d, got none", kind, p, depth)
	}
	return rows[i]
}

// TestRunDraft: rows say what was done, whoever guesses; the text is checked by the run itself.
func TestRunDraft(t *testing.T) {
	e := guesser(t)
	const gen = 24
	pages := e.FreePages()
	told := 0
	o := DraftOptions{Prompt: synth.Prompt(e.Shape().Vocab, 40), Gen: gen, Verify: 5, Probs: []float64{0, 0.5, 1}, Depths: []int{1, 4},
		Named: []string{"lookup", "mtp", "auto"}, Row: func(DraftRow) { told++ }, Progress: func(string) {}}
	rows, err := RunDraft(context.Background(), e, o)
	if err != nil {
		t.Fatal(err)
	}
	if want := 2 + 5 + 5 + 3*4 + 3*4; len(rows) != want || told != want {
		t.Fatalf("want %d rows told, got %d and %d", want, len(rows), told)
	}
	for _, r := range rows {
		if r.Kind != "verify" && r.Kind != "head" && (r.Tokens != gen || r.Steps > gen || r.Kept > r.Drafted || r.Tokens-r.Kept != r.Steps) {
			t.Errorf("want %d tokens, one a step besides guesses, got %+v", gen, r)
		}
		if !(r.StepMS > 0) || !(r.Over > 0) {
			t.Errorf("want times, got %+v", r)
		}
	}
	if r := find(t, rows, "replay", 0, 4, 0); r.Kept != 0 || r.Drafted < gen {
		t.Errorf("guesses that are all wrong: want none kept, got %+v", r)
	}
	if r := find(t, rows, "replay", 1, 4, 0); r.Kept != r.Drafted || r.Steps != (gen+4)/5 || !slices.Equal(r.Places, []float64{1, 1, 1, 1}) {
		t.Errorf("the truth: want all kept, five tokens a step, got %+v", r)
	}
	one, four := find(t, rows, "replay", 0.5, 1, 0), find(t, rows, "replay", 0.5, 4, 0)
	if one.Kept == 0 || one.Kept == one.Drafted || four.Kept < one.Kept {
		t.Errorf("every second guess: want more kept with four than with one, got %+v and %+v", four, one)
	}
	if n := e.FreePages(); n != pages {
		t.Errorf("want %d free pages again, got %d", pages, n)
	}
	var b bytes.Buffer
	if err := WriteDraftCSV(&b, rows); err != nil || strings.Count(b.String(), "\n") != len(rows)+1 {
		t.Errorf("want a line for each row and a header, got %q, %v", b.String(), err)
	}
	for line := range strings.Lines(b.String()) {
		if n := strings.Count(line, ",") + 1; n != len(draftColumns) {
			t.Errorf("want %d columns, got %d: %s", len(draftColumns), n, line)
		}
	}
}

// TestRunDraftAnswer: a text that is given is generated, whatever the model would say, and looked up in the prompt.
func TestRunDraftAnswer(t *testing.T) {
	e := guesser(t)
	prompt := synth.Prompt(e.Shape().Vocab, 60)
	rows, err := RunDraft(context.Background(), e, DraftOptions{Prompt: prompt, Gen: 30, Named: []string{"lookup"}, Depths: []int{8}, Answer: prompt[10:40]})
	if err != nil {
		t.Fatal(err)
	}
	if r := find(t, rows, "lookup", 0, 8, 0); r.Kept < 20 || r.Steps > 10 {
		t.Errorf("the prompt's own words: want 20 of 30 guessed or more, got %+v", r)
	}
}

// TestRunDraftEnds: options that make no sense, a context that has ended, and runs that are cut short.
func TestRunDraftEnds(t *testing.T) {
	e := guesser(t)
	prompt := synth.Prompt(e.Shape().Vocab, 40)
	for _, o := range []DraftOptions{{Prompt: prompt[:1], Gen: 8}, {Prompt: prompt, Gen: 1}, {Prompt: prompt, Gen: 128 - 40 - draft.Most}} {
		if _, err := RunDraft(context.Background(), e, o); !errors.Is(err, ErrOptions) {
			t.Errorf("%d tokens behind %d: want %v, got %v", o.Gen, len(o.Prompt), ErrOptions, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	rows, err := RunDraft(ctx, e, DraftOptions{Prompt: prompt, Gen: 8, Probs: []float64{0.5}, Row: func(DraftRow) { cancel() }})
	if !errors.Is(err, model.ErrCanceled) || len(rows) != 1 {
		t.Errorf("cancelled: want %v and one row, got %v and %d", model.ErrCanceled, err, len(rows))
	}
	rows, err = RunDraft(context.Background(), e, DraftOptions{Prompt: prompt, Gen: 24, Probs: []float64{1}, Depths: []int{2}, Long: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	if r := find(t, rows, "replay", 1, 2, 0); r.Tokens != 3 || r.Steps != 1 {
		t.Errorf("no time: want one step of a fixed depth, got %+v", r)
	}
	if r := find(t, rows, "replay", 1, Controlled, 2); r.Tokens != 24 || math.IsNaN(r.Over) {
		t.Errorf("no time: want the controller's run to its end, got %+v", r)
	}
}
