package sched_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ds4-go/ds4/modules/model/draft"
	"github.com/ds4-go/ds4/modules/model/sample"
	"github.com/ds4-go/ds4/modules/serve/sched"
	"github.com/ds4-go/ds4/modules/serve/servetest"
)

// strict is a guide that has a say all the time, as those of tool calls, structured output and stop strings have: every
// other word is taken greedily, one word is forced, behind another there is a mask, and the turn ends in the middle of a word.
type strict struct {
	plain
	stop  string
	mask  []uint32
	asked [3]int // how often it was greedy, forced, masked
}

func (g *strict) Next() sched.Constraint {
	c := sched.Constraint{Greedy: strings.Count(g.b.String(), " ")%2 == 1}
	if c.Greedy {
		g.asked[0]++
	}
	switch {
	case strings.HasSuffix(g.b.String(), "three "):
		c.Forced = tok.Encode(nil, "four ")
		g.asked[1]++
	case strings.HasSuffix(g.b.String(), "six "):
		c.Mask = g.mask
		g.asked[2]++
	}
	return c
}

func (g *strict) Accept(id int32) sched.Step {
	s := g.plain.Accept(id)
	s.Done = s.Done || strings.HasSuffix(g.b.String(), g.stop)
	return s
}

// listen reads a run to its end.
func listen(t *testing.T, r *sched.Run) (text string, tokens []sched.Token, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for {
		b, err := r.Next(ctx, nil)
		if err != nil {
			return text, tokens, err
		}
		for _, d := range b.Deltas {
			tokens = append(tokens, d.Tokens...)
			for _, e := range d.Events {
				text += e.Text
			}
		}
	}
}

const counting = "one two three four five six seven. "

// counter is a scheduler whose engine counts over and over, as a prompt has said before.
func counter(t *testing.T, guesses *draft.Controller, pace time.Duration) *sched.Scheduler {
	t.Helper()
	e := servetest.NewEngine(tok, servetest.Limits())
	e.Script = func(string) []string { return strings.SplitAfter(strings.Repeat(counting, 40), " ") }
	e.Pace = pace
	return newScheduler(t, e, sched.Config{Guesses: guesses, Lookup: true})
}

// TestGuessedGuides: what a guide asks for comes true behind guesses as it does without, to the last log-probability, and a turn
// that it ends in the middle of right guesses ends there.
func TestGuessedGuides(t *testing.T) {
	mask := make([]uint32, (tok.Len()+31)/32)
	for i := range mask {
		mask[i] = ^uint32(0)
	}
	ask := func(fixed int, stop string) (string, []sched.Token, *strict, draft.Stats) {
		var c *draft.Controller
		if fixed > 0 {
			c = draft.NewController(draft.Options{Fixed: fixed})
		}
		s := counter(t, c, 0)
		guide := &strict{stop: stop, mask: mask}
		req := request("Say it: "+strings.Repeat(counting, 3), 400)
		req.TopLogprobs, req.Sample = 2, []sample.Params{{Temperature: 1, Seed: 5, FrequencyPenalty: 0.01}}
		req.Guide = func(int) sched.Guide { return guide }
		r, err := s.Submit(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		text, tokens, err := listen(t, r)
		if !errors.Is(err, sched.ErrDone) {
			t.Fatal(err)
		}
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
		return text, tokens, guide, s.Stats().Guesses
	}
	for _, stop := range []string{"seven. one two", "two three four five six se", strings.Repeat(counting, 5), "nothing of the kind"} {
		want, wantTokens, by, _ := ask(0, stop)
		if by.asked[0] == 0 || by.asked[1] == 0 || by.asked[2] == 0 {
			t.Fatalf("want greedy, forced and masked tokens, got %v", by.asked)
		}
		for _, fixed := range []int{1, 4, 16} {
			got, tokens, _, st := ask(fixed, stop)
			if got != want || fmt.Sprint(tokens) != fmt.Sprint(wantTokens) {
				t.Errorf("%q, depth %d: want %q, got %q", stop, fixed, want, got)
			}
			if drafted, kept := st.Guesses(); drafted == 0 || kept == 0 {
				t.Errorf("%q, depth %d: want guesses, some right, got %d of %d", stop, fixed, kept, drafted)
			}
		}
	}
}

// TestGuessedCancel: a turn that is cancelled while it guesses is the beginning of the whole one, and leaves nothing behind.
func TestGuessedCancel(t *testing.T) {
	s := counter(t, draft.NewController(draft.Options{Fixed: 7}), time.Millisecond)
	ask := func(ctx context.Context, cut int, cancel func()) (text string, err error) {
		r, err := s.Submit(ctx, request("Say it: "+counting+counting, 300))
		if err != nil {
			t.Fatal(err)
		}
		for {
			b, err := r.Next(t.Context(), nil)
			if err != nil {
				return text, err
			}
			for _, d := range b.Deltas {
				for _, e := range d.Events {
					text += e.Text
				}
			}
			if len(text) >= cut {
				cancel()
			}
		}
	}
	whole, err := ask(t.Context(), 1<<20, nil)
	if !errors.Is(err, sched.ErrDone) {
		t.Fatal(err)
	}
	for _, cut := range []int{1, 30, 100} {
		ctx, cancel := context.WithCancel(t.Context())
		text, err := ask(ctx, cut, cancel)
		if !errors.Is(err, context.Canceled) || len(text) < cut || !strings.HasPrefix(whole, text) {
			t.Errorf("cancelled behind %d bytes: want a beginning of %q, got %q, %v", cut, whole, text, err)
		}
		cancel()
		if again, err := ask(t.Context(), 1<<20, nil); again != whole || !errors.Is(err, sched.ErrDone) {
			t.Errorf("afterwards: want %q, got %q, %v", whole, again, err)
		}
	}
}

// TestGuessedRestart: conversations that guess go on from disk in another scheduler, whether that guesses or not, and say what
// they say alone.
func TestGuessedRestart(t *testing.T) {
	want, err := alone()
	if err != nil {
		t.Fatal(err)
	}
	after := []int{0, 5} // guesses after the restart
	if testing.Short() {
		after = after[1:]
	}
	for _, then := range after {
		dir := t.TempDir()
		got := make([][]int32, talks)
		for part, fixed := range []int{3, then} {
			c := sched.Config{Lookup: true}
			if fixed > 0 {
				c.Guesses = draft.NewController(draft.Options{Fixed: fixed})
			}
			s, err := newTiny(c, dir)
			if err != nil {
				t.Fatal(err)
			}
			from, to := part*turns/2, (part+1)*turns/2
			err = s.talk(got, from, to, func(turn int) string {
				if part == 1 && turn == from {
					return "disk"
				}
				return ""
			})
			if err = errors.Join(err, s.Close(context.Background())); err != nil {
				t.Error(err)
			}
			if st := s.Stats().Guesses; fixed > 0 {
				if drafted, _ := st.Guesses(); drafted == 0 {
					t.Error("want guesses, got none")
				}
			}
		}
		same(t, want, got)
	}
}
