package chatcmd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

// dumpTokens prints the tokens of a text, special ones recognised. Only the vocabulary is read, so the weights may be
// missing.
func dumpTokens(w io.Writer, c engine.Config, text string) error {
	f, path, err := engine.OpenFile(c, gguf.HeaderOnly())
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	t, err := tokenizer.FromGGUF(f, tokenizer.Options{})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	b := bufio.NewWriter(w)
	ids := t.EncodeTemplate(nil, text)
	list := strings.ReplaceAll(fmt.Sprint(ids), " ", ", ")
	_, _ = fmt.Fprintln(b, list) // a bufio.Writer keeps its error for Flush
	for _, id := range ids {
		_, _ = fmt.Fprintf(b, "%6d  %s\n", id, t.Spelling(id))
	}
	return b.Flush()
}

// dumpLogprobs writes the steps of a greedy answer, each with its likeliest tokens, as JSON.
func (s *session) dumpLogprobs(ctx context.Context, path string, r request, topK int) error {
	limit, err := room(s.m.Limits().CtxTokens, len(r.prompt), r.limit)
	if err != nil {
		return err
	}
	return replaceFile("--dump-logprobs", path, func(b *bufio.Writer) error {
		_, _ = fmt.Fprintf(b, "{\n  \"source\":\"ds4\",\n  \"prompt_tokens\":%d,\n  \"ctx\":%d,\n  \"top_k\":%d,\n  \"steps\":[",
			len(r.prompt), s.m.Limits().CtxTokens, topK)
		err := s.greedy(ctx, r.prompt, limit, func(step int, c model.Candidates) bool {
			if step > 0 {
				_ = b.WriteByte(',')
			}
			_, _ = b.WriteString("\n    " + stepJSON(s.m.Tokenizer, step, c, topK))
			return true
		})
		_, _ = b.WriteString("\n  ]\n}\n")
		return err
	})
}

// greedy feeds the likeliest token on, up to and including the one that ends an answer, or as long as more says so.
func (s *session) greedy(ctx context.Context, prompt []int32, limit int, more func(step int, c model.Candidates) bool) error {
	job, _, err := s.reach(ctx, prompt, model.Want{})
	if err != nil {
		return err
	}
	jobs := make([]model.Job, 1)
	for step := 0; ; step++ {
		c := job.Top(0)
		id := c.ID(0)
		if !more(step, c) || id == s.m.Tokenizer.Special().EOS || step+1 >= limit {
			return nil
		}
		jobs[0] = model.Job{Seq: s.q, Tokens: []int32{id}, Wants: []model.Want{{}}}
		if err := s.m.Run(ctx, jobs); err != nil {
			return err
		}
		jobs[0].Keep(1)
		job = &jobs[0]
	}
}

func stepJSON(t *tokenizer.Tokenizer, step int, c model.Candidates, topK int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"step":%d,"selected":%s,"top_logprobs":[`, step, tokenJSON(t, c.ID(0)))
	for i := range min(topK, c.Len()) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"token":%s,"logit":%.9g,"logprob":%.9g}`, tokenJSON(t, c.ID(i)), c.Logit(i), float64(c.Logit(i))-c.LogSumRaw())
	}
	b.WriteString("]}")
	return b.String()
}

func tokenJSON(t *tokenizer.Tokenizer, id int32) string {
	text := t.Text(id)
	list := strings.ReplaceAll(fmt.Sprint([]byte(text)), " ", ",")
	return fmt.Sprintf(`{"id":%d,"text":%s,"bytes":%s}`, id, jsonText(text), list)
}

// jsonText is a JSON string. A byte that is not part of a UTF-8 character becomes \u00XX.
func jsonText(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1, r < ' ', r == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, s[0])
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteByte(s[0])
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	b.WriteByte('"')
	return b.String()
}
