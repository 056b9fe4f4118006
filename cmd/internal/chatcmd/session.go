package chatcmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/draft"
	"github.com/ds4-go/ds4/modules/model/sample"
)

// session is one sequence of an open model.
type session struct {
	m      *engine.Model
	q      *model.Seq
	stderr *os.File

	guesses *draft.Controller // nil: none
	looks   bool              // they come from what was said before too
}

func newSession(m *engine.Model, c *engine.Config, stderr *os.File) (*session, error) {
	q, err := m.NewSeq()
	return &session{m: m, q: q, stderr: stderr, guesses: c.Controller(), looks: c.Looks()}, err
}

// request is what one answer is made from.
type request struct {
	prompt   []int32
	thinking bool // the prompt ends with <think>
	limit    int  // tokens
	params   sample.Params
}

// answer is what came of it.
type answer struct {
	tokens    []int32 // without the one that ends it
	result    chat.Result
	ended     bool // by the model itself, not by the limit
	fed       int  // tokens of the prompt that were not there yet
	prefill   time.Duration
	generated time.Duration
	guesses   draft.Stats
}

// room is the longest answer that fits behind a prompt. The context must hold one more token, the end.
func room(ctx, prompt, limit int) (int, error) {
	left := ctx - prompt - 1
	if left < 1 {
		return 0, fmt.Errorf("prompt: want at most %d tokens in a context of %d, got %d; raise --ctx", ctx-2, ctx, prompt)
	}
	return min(limit, left), nil
}

// reach makes the sequence hold the tokens, evaluating what it does not have yet, and returns the job whose first result
// belongs to the last one. After an error the sequence holds a part of them.
func (s *session) reach(ctx context.Context, tokens []int32, want model.Want) (job *model.Job, fed int, err error) {
	have := s.q.Tokens()
	n := 0
	for n < len(have) && n < len(tokens)-1 && have[n] == tokens[n] { // at least one is evaluated, for its result
		n++
	}
	if err := s.q.Rewind(n); err != nil {
		if !errors.Is(err, model.ErrRewind) {
			return nil, 0, err
		}
		s.q.Free()
		if s.q, err = s.m.NewSeq(); err != nil {
			return nil, 0, err
		}
		n = 0
	}
	rest := tokens[n:]
	line := cli.NewLine(s.stderr)
	show := func(done int) string {
		return fmt.Sprintf("processing %d input tokens: %d/%d (%.0f%%)", len(rest), done, len(rest), 100*float64(done)/float64(len(rest)))
	}
	line.Show("%s", show(0))
	job, err = s.q.Feed(ctx, rest, 0, []model.Want{want}, func(done int) { line.Show("%s", show(done)) })
	if err != nil {
		line.Done("")
		return nil, 0, err
	}
	line.Done(show(len(rest)))
	return job, len(rest), nil
}

// generate answers a request; out hears of the text as it comes. After ErrCanceled the answer so far is returned too.
func (s *session) generate(ctx context.Context, r request, out func([]chat.Event) error) (a answer, err error) {
	limit, err := room(s.m.Limits().CtxTokens, len(r.prompt), r.limit)
	if err != nil {
		return a, err
	}
	sampler := sample.New(r.params)
	start := time.Now()
	job, fed, err := s.reach(ctx, r.prompt, model.Want{Bias: sampler.Bias(), InvTemp: sampler.InvTemp()})
	if err != nil {
		return a, err
	}
	a.fed, a.prefill = fed, time.Since(start)
	start = time.Now()
	decoder := s.m.Tokenizer.NewDecoder()
	parser := chat.NewParser(chat.ParserOptions{Thinking: r.thinking, NoCalls: true})
	m := &draft.Member{Seq: s.q, Sampler: sampler, Room: limit, Track: s.track(r.prompt)}
	defer func() {
		a.generated = time.Since(start)
		if m.Track != nil {
			a.guesses = m.Track.Stats
		}
		end := chat.EndLength
		if a.ended {
			end = chat.EndEOS
		}
		last := append([]chat.Event(nil), parser.Write(decoder.Flush())...)
		more, result := parser.Finish(end)
		a.result = result
		if e := out(append(last, more...)); err == nil {
			err = e
		}
	}()
	eos := s.m.Tokenizer.Special().EOS
	var failed error
	m.Token = func(id int32, _ *model.Job, _ int) bool {
		if id == eos {
			a.ended = true
			return false
		}
		a.tokens = append(a.tokens, id)
		failed = out(parser.Write(decoder.Add(id)))
		return failed == nil
	}
	if err := s.decode(ctx, m, job); err != nil {
		return a, err
	}
	return a, failed
}

// track begins to guess for an answer; nil where there are no guesses.
func (s *session) track(prompt []int32) *draft.Track {
	switch {
	case s.guesses == nil:
		return nil
	case s.looks:
		return s.guesses.Track(draft.NewLookup(prompt), s.m.HasDraftHead())
	}
	return s.guesses.Track(nil, s.m.HasDraftHead())
}

// decode generates until the member has ended. job has the result of the prompt.
func (s *session) decode(ctx context.Context, m *draft.Member, job *model.Job) error {
	c := s.guesses
	if c == nil {
		c = draft.NewController(draft.Options{})
	}
	if err := c.First(ctx, s.m.Engine, m, job); err != nil {
		return err
	}
	for !m.Ended {
		if err := c.Step(ctx, s.m.Engine, []*draft.Member{m}); err != nil {
			return err
		}
	}
	return nil
}

// rates is the line of statistics.
func (a answer) rates() string {
	line := fmt.Sprintf("ds4: prefill: %.2f t/s, generation: %.2f t/s", rate(a.fed, a.prefill), rate(len(a.tokens), a.generated))
	if drafted, _ := a.guesses.Guesses(); drafted > 0 {
		line += ", " + a.guesses.String()
	}
	return line
}

func rate(n int, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}
