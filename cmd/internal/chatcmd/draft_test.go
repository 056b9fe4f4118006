package chatcmd

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/draft"
	"github.com/ds4-go/ds4/modules/model/sample"
)

// TestGuessedAnswers: a chat says the same whoever guesses, greedily and at a temperature, in its second turn too, and when it
// is interrupted.
func TestGuessedAnswers(t *testing.T) {
	head := filepath.Join(t.TempDir(), "mtp.gguf")
	if err := engine.WriteDemoDraft(head); err != nil {
		t.Fatal(err)
	}
	const first, second = "Repeat: route QX-71 river gate QX-72 stone route QX-71", "Repeat: route QX-71 river gate QX-72 stone"
	params := []sample.Params{{}, {Temperature: 1, MinP: 0.05, Seed: 3, RepetitionPenalty: 1.1}}
	var want [][]int32
	var drafted, kept int
	for _, way := range []string{"off", "auto", "lookup", "mtp", "lookup by eights", "mtp by fours"} {
		c := engine.Defaults()
		c.Ctx = 600
		c.Draft, _, _ = strings.Cut(way, " ")
		if c.Draft == "auto" || c.Draft == "mtp" {
			c.MTP = head
		}
		s := demoSession(t, c)
		if _, by, ok := strings.Cut(way, " by "); ok {
			s.guesses = draft.NewController(draft.Options{Fixed: map[string]int{"fours": 4, "eights": 8}[by]})
		}
		var got [][]int32
		for _, p := range params {
			got = append(got, dialogue(t, s, p, first, second)...)
		}
		if want == nil {
			want = got
		}
		for i := range want {
			if !slices.Equal(got[i], want[i]) {
				t.Errorf("%s, answer %d: want %v, got %v", way, i, want[i], got[i])
			}
		}
		if s.guesses != nil {
			d, k := s.guesses.Stats.Guesses()
			drafted, kept = drafted+d, kept+k
			t.Logf("%s: %s", way, s.guesses.Stats.String())
		}
	}
	if kept == 0 || kept == drafted {
		t.Errorf("want guesses, some right and some not, got %d of %d", kept, drafted)
	}
}

// dialogue asks one question after another and interrupts the first answer once before; it returns the answers.
func dialogue(t *testing.T, s *session, p sample.Params, questions ...string) (answers [][]int32) {
	t.Helper()
	ids, _, err := rendered(s.m.Tokenizer, s.m.Checkpoint, "", questions[0], chat.Off)
	if err != nil {
		t.Fatal(err)
	}
	for i := range questions {
		if i == 0 {
			ctx, cancel := context.WithCancel(t.Context())
			parts := 0
			cut, err := s.generate(ctx, request{prompt: ids, limit: 60, params: p}, func([]chat.Event) error {
				if parts++; parts == 4 {
					cancel()
				}
				return nil
			})
			if !errors.Is(err, model.ErrCanceled) || len(cut.tokens) < 4 {
				t.Errorf("interrupted: want %v and 4 tokens or more, got %v and %d", model.ErrCanceled, err, len(cut.tokens))
			}
			defer func() {
				if !slices.Equal(answers[0][:len(cut.tokens)], cut.tokens) {
					t.Errorf("interrupted: want the beginning of %v, got %v", answers[0], cut.tokens)
				}
			}()
		}
		a, err := s.generate(t.Context(), request{prompt: ids, limit: 60, params: p}, ignore)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a.tokens)
		if i+1 < len(questions) {
			ids = slices.Concat(ids, a.tokens, []int32{s.m.Tokenizer.Special().EOS}, turn(s.m.Tokenizer, questions[i+1], chat.Off))
		}
	}
	return answers
}
