package chatcmd

import (
	"context"
	"fmt"
	"io"
	"math"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/modules/model"
)

// perplexityContext tokens come before the first that is scored.
const perplexityContext = 32

// perplexityRows are scored in one step: each wants its logits.
const perplexityRows = 64

// perplexity scores a text token by token, each after the true ones before it.
func (s *session) perplexity(ctx context.Context, w io.Writer, text string, limit int) error {
	ids := s.m.Tokenizer.Encode(nil, text)
	if len(ids) <= perplexityContext {
		return fmt.Errorf("--perplexity-file: want more than %d tokens, got %d", perplexityContext, len(ids))
	}
	total := len(ids)
	if n := s.m.Limits().CtxTokens; len(ids) > n {
		ids = ids[:n]
	}
	ids = ids[:min(len(ids), perplexityContext+limit)]
	line := cli.NewLine(s.stderr)
	nll, scored, told := 0.0, 0, 0
	for at := 0; at < len(ids)-1; {
		n := min(perplexityRows, len(ids)-1-at)
		jobs := []model.Job{{Seq: s.q, Tokens: ids[at : at+n]}}
		for i := max(at, perplexityContext-1); i < at+n; i++ {
			jobs[0].Wants = append(jobs[0].Wants, model.Want{Row: i - at, Mask: only(ids[i+1], s.m.Shape.Vocab)})
		}
		if err := s.m.Run(ctx, jobs); err != nil {
			return err
		}
		for i := range jobs[0].Wants {
			c := jobs[0].Top(i)
			nll -= float64(c.Logit(0)) - c.LogSumRaw()
			scored++
		}
		jobs[0].Keep(n)
		at += n
		if scored/256 > told {
			told = scored / 256
			line.Show("scored %d/%d tokens, ppl %.4f", scored, len(ids)-perplexityContext, math.Exp(nll/float64(scored)))
		}
	}
	line.Done("")
	avg := nll / float64(scored)
	_, err := fmt.Fprintf(w, "tokens=%d scored=%d nll=%.9f avg_nll=%.9f ppl=%.9f\n", total, scored, nll, avg, math.Exp(avg))
	return err
}

// only is the mask that allows one token, so that a query answers with its logit.
func only(id int32, vocab int) []uint32 {
	m := make([]uint32, (vocab+31)/32)
	m[id/32] = 1 << (id % 32)
	return m
}
