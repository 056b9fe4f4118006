package stories

import (
	"sync"
	"testing"

	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/tests/internal/program"
)

// prompts, long enough for their beginnings to be kept, whose answers go word by word: where a token came out otherwise, all behind it would.
var prompts = []string{
	"Please repeat this text: quiet harbour 52 amber candle window stone",
	"Put in order, smallest first: 41, 7, 93, 28, 66, 15",
	"Write JSON with name Clara, age 31, city Oslo, colour blue.",
	"How many words are in this list: river lamp forest honey clock",
}

// answers asks all prompts, at once or one after the other, and returns the reasoning with the answers.
func answers(t *testing.T, s *program.Server, atOnce bool) []string {
	t.Helper()
	c, out := openAI(s), make([]string, len(prompts))
	var all sync.WaitGroup
	for i, text := range prompts {
		ask := func() {
			a, err := c.Chat.Completions.New(t.Context(), question(thinks, text))
			if err != nil {
				out[i] = err.Error()
				return
			}
			m := a.Choices[0].Message
			out[i] = m.JSON.ExtraFields["reasoning_content"].Raw() + m.Content
		}
		if atOnce {
			all.Go(ask)
		} else {
			ask()
		}
	}
	all.Wait()
	return out
}

// TestSameAnswers: what comes out depends on the model and the prompt alone. It is the same from every set of kernels that
// this machine can run, alone and in a crowd, with prompts read in pieces, and from restored state.
func TestSameAnswers(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the demo model for seconds")
	}
	var want []string
	for _, variant := range cpu.Variants() {
		for _, how := range []struct {
			args   []string
			atOnce bool
		}{
			{[]string{"--draft", "off", "--sessions", "1"}, false},
			{[]string{"--sessions", "4", "--prefill-chunk", "5"}, true},
		} {
			s := program.Serve(t, program.Options{Env: []string{"DS4_CPU=" + variant}, Args: append([]string{"--ctx", "16384"}, how.args...)})
			for _, state := range []string{"fresh", "restored"} {
				got := answers(t, s, how.atOnce)
				if want == nil {
					want = got
				}
				for i := range got {
					if got[i] != want[i] {
						t.Errorf("%s, %v, %s: %s: want %q, got %q", variant, how.args, state, prompts[i], want[i], got[i])
					}
				}
			}
			if n := s.Metric(`ds4_prompts_total{source="memory"}`); n < float64(len(prompts)) {
				t.Errorf("asked again: want %d prompts that begin in memory, got %g", len(prompts), n)
			}
			s.Stop()
		}
	}
}
