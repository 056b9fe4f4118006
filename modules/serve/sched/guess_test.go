package sched_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/model/draft"
	"github.com/ds4-go/ds4/modules/model/sample"
	"github.com/ds4-go/ds4/modules/serve/sched"
	"github.com/ds4-go/ds4/modules/serve/servetest"
)

// TestGuesses: conversations in a crowd that guess ahead, with the draft head, from what was said, at fixed depths and as the
// controller decides, say what they say alone without.
func TestGuesses(t *testing.T) {
	want, err := alone()
	if err != nil {
		t.Fatal(err)
	}
	want = want[:5] // one more than the engine has sequences
	for _, c := range []struct {
		lookup        bool
		fixed, rounds int // in the second round there are texts that the prompts have left
	}{{true, 0, 2}, {true, 3, 2}, {true, 16, 2}, {false, 2, 1}, {false, 16, 1}} {
		t.Run(fmt.Sprintf("lookup=%t,depth=%d", c.lookup, c.fixed), func(t *testing.T) {
			guesses := draft.NewController(draft.Options{Fixed: c.fixed})
			s, err := newTiny(sched.Config{Guesses: guesses, Lookup: c.lookup}, "")
			if err != nil {
				t.Fatal(err)
			}
			for range c.rounds {
				got := make([][]int32, len(want))
				if err := s.talk(got, 0, turns, nothingKnown); err != nil {
					t.Error(err)
				}
				same(t, want, got)
			}
			if err := s.Close(context.Background()); err != nil {
				t.Error(err)
			}
			st := s.Stats().Guesses
			drafted, kept := st.Guesses()
			t.Log(st.String())
			if c.fixed > 0 && drafted == 0 || c.fixed > 0 && c.lookup && (kept == 0 || kept == drafted) {
				t.Errorf("want guesses, some right and some not, got %d of %d", kept, drafted)
			}
		})
	}
}

// TestGuessedStop: a turn that ends in the middle of right guesses ends there, by the model, by its guide or by its length,
// and the log-probabilities are those of a run without guesses.
func TestGuessedStop(t *testing.T) {
	text := strings.Repeat("one two three four five six seven. ", 8)
	ask := func(t *testing.T, guesses *draft.Controller, most int) (string, []sched.Token) {
		t.Helper()
		e := servetest.NewEngine(tok, servetest.Limits())
		e.Script = func(string) []string { return strings.SplitAfter(text, " ") }
		s := newScheduler(t, e, sched.Config{Guesses: guesses, Lookup: true})
		req := request("Say it: "+text, most)
		req.TopLogprobs, req.Sample = 2, []sample.Params{{Temperature: 1, Seed: 5, PresencePenalty: 0.1}}
		r, err := s.Submit(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		var tokens []sched.Token
		for {
			batch, err := r.Next(t.Context(), nil)
			if err != nil {
				break
			}
			for _, d := range batch.Deltas {
				tokens = append(tokens, d.Tokens...)
				for _, e := range d.Events {
					b.WriteString(e.Text)
				}
			}
		}
		if err := s.Close(context.Background()); err != nil { // the last step goes on behind a turn's end
			t.Error(err)
		}
		if st := s.Stats().Guesses; guesses != nil && st.Drafted[draft.FromText] == 0 {
			t.Error("want guesses, got none")
		}
		return b.String(), tokens
	}
	for _, most := range []int{1, 2, 5, 17, 18, 40, 400} {
		want, wantTokens := ask(t, nil, most)
		var c *draft.Controller
		if most > 5 {
			c = draft.NewController(draft.Options{Fixed: 7})
		}
		got, tokens := ask(t, c, most)
		if got != want || fmt.Sprint(tokens) != fmt.Sprint(wantTokens) {
			t.Errorf("%d tokens: want %q, got %q", most, want, got)
		}
	}
}
