package perplexcmd

import (
	"context"
	"fmt"
	"io"
	"math"

	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

// Context is how many tokens of a plain text come before the first that is scored.
const Context = 32

// Rows are scored in one step: each wants its logits. The engine must be opened for as many rows and outs.
const Rows = 64

// Score is what a model makes of a text.
type Score struct {
	Tokens int     // of the text, scored or not
	Scored int     // of these
	NLL    float64 // sum of the negative log-probabilities, in nats
}

// Mean is the mean over the scored tokens, in nats.
func (s Score) Mean() float64 { return s.NLL / float64(s.Scored) }

// Perplexity is e to the mean.
func (s Score) Perplexity() float64 { return math.Exp(s.Mean()) }

// Print writes the score as one line, as the flag --perplexity-file always has.
func (s Score) Print(w io.Writer) error {
	_, err := fmt.Fprintf(w, "tokens=%d scored=%d nll=%.9f avg_nll=%.9f ppl=%.9f\n", s.Tokens, s.Scored, s.NLL, s.Mean(), s.Perplexity())
	return err
}

// Plain scores a text whose beginning is not scored. Of a text that is longer than the context its beginning counts, and at
// most limit tokens are scored.
func Plain(ctx context.Context, m *engine.Model, ids []int32, limit int, progress func(Score)) (Score, error) {
	if len(ids) <= Context {
		return Score{}, fmt.Errorf("perplexity: want more than %d tokens, got %d", Context, len(ids))
	}
	s := Score{Tokens: len(ids)}
	ids = ids[:min(len(ids), Context+limit)]
	return s, s.add(ctx, m, ids, func(i int) bool { return i >= Context }, progress)
}

// Chat scores what the assistant wrote in conversations. Each is cut at the end of the context, and the last where limit
// tokens are scored.
func Chat(ctx context.Context, m *engine.Model, ids []int32, limit int, progress func(Score)) (Score, error) {
	s := Score{Tokens: len(ids)}
	special := m.Tokenizer.Special()
	for len(ids) > 0 && s.Scored < limit {
		n := 1
		for n < len(ids) && ids[n] != special.BOS {
			n++
		}
		own, left := answers(ids[:n], special), limit-s.Scored
		wanted := func(i int) bool {
			if !own[i] || left == 0 {
				return false
			}
			left--
			return true
		}
		if err := s.add(ctx, m, ids[:n], wanted, progress); err != nil {
			return s, err
		}
		ids = ids[n:]
	}
	if s.Scored == 0 {
		return s, fmt.Errorf("perplexity: want something between %s and %s, got nothing", tokenizer.Assistant, tokenizer.EOS)
	}
	return s, nil
}

// answers says which tokens of a conversation the assistant wrote. The one that opens or closes its reasoning at the very
// beginning is the template's.
func answers(ids []int32, special tokenizer.IDs) []bool {
	own := make([]bool, len(ids))
	writes, begins := false, false
	for i, id := range ids {
		own[i] = writes && !(begins && (id == special.Think || id == special.EndThink))
		begins = false
		switch id {
		case special.Assistant:
			writes, begins = true, true
		case special.EOS, special.User:
			writes = false
		}
	}
	return own
}

// add scores those tokens of a text that are wanted; wanted is asked once for each after the first, in order.
func (s *Score) add(ctx context.Context, m *engine.Model, ids []int32, wanted func(i int) bool, progress func(Score)) error {
	q, err := m.NewSeq()
	if err != nil {
		return err
	}
	defer q.Free()
	ids = ids[:min(len(ids), m.Limits().CtxTokens)]
	for at := 0; at < len(ids)-1; {
		n := min(Rows, len(ids)-1-at)
		jobs := []model.Job{{Seq: q, Tokens: ids[at : at+n]}}
		for i := at; i < at+n; i++ {
			if wanted(i + 1) {
				jobs[0].Wants = append(jobs[0].Wants, model.Want{Row: i - at, Mask: only(ids[i+1], m.Shape.Vocab)})
			}
		}
		if err := m.Run(ctx, jobs); err != nil {
			return err
		}
		for i := range jobs[0].Wants {
			c := jobs[0].Top(i)
			s.NLL -= float64(c.Logit(0)) - c.LogSumRaw()
			s.Scored++
		}
		jobs[0].Keep(n)
		at += n
		if s.Scored > 0 && progress != nil {
			progress(*s)
		}
	}
	return nil
}

// only is the mask that allows one token, so that a query answers with its logit.
func only(id int32, vocab int) []uint32 {
	m := make([]uint32, (vocab+31)/32)
	m[id/32] = 1 << (id % 32)
	return m
}
