package main

import (
	"context"
	"fmt"
	"os"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/demo"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

const (
	ctxTokens    = 4608
	answerTokens = 512 // the longest answer
	rows         = 128 // tokens in a step
)

// runner answers prompts greedily. It keeps what the next prompt begins with.
type runner struct {
	e   *model.Engine
	t   *tokenizer.Tokenizer
	seq *model.Seq
}

// open makes an engine for a file; "" is the demo model of this build. It lives as long as the program.
func open(path string) (*runner, error) {
	f, err := demo.File()
	if path != "" {
		f, err = gguf.Open(path)
	}
	if err != nil {
		return nil, err
	}
	s, err := model.ReadShape(f)
	if err != nil {
		return nil, err
	}
	r := &runner{}
	if r.t, err = tokenizer.FromGGUF(f, tokenizer.Options{}); err != nil {
		return nil, err
	}
	lim := model.Limits{CtxTokens: ctxTokens, Seqs: 2, Slots: 2 + model.SpareSlots, Rows: rows, Outs: rows, Tops: rows}
	b, err := cpu.New(s, lim, cpu.Options{})
	if err != nil {
		return nil, err
	}
	w, err := model.Load(f, s, b, nil)
	if err != nil {
		return nil, err
	}
	r.e, err = model.New(b, w, s, lim, model.Options{})
	return r, err
}

// question is a prompt with the place of the true answer.
type question struct {
	c      *conversation
	at     int // index of the answer in the conversation
	prompt []int32
}

// questions are all answers of the conversations, each behind the true history, as a client would send it.
func (r *runner) questions(list []*conversation) (out []question, err error) {
	for i, c := range list {
		for at, m := range c.Messages {
			if m.Role != string(chat.RoleAssistant) {
				continue
			}
			segments, err := c.render(at, false)
			if err != nil {
				return nil, fmt.Errorf("conversation %d: %w", i+1, err)
			}
			ids, _ := chat.Tokens(r.t, segments)
			out = append(out, question{c, at, ids})
		}
	}
	return out, nil
}

func common(a, b []int32) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// answer generates behind a prompt. next is the prompt after it: what both begin with is evaluated once. ended: the model
// stopped by itself.
func (r *runner) answer(ctx context.Context, prompt, next []int32) (text string, ended bool, err error) {
	shared := min(common(prompt, next), len(prompt)-1)
	if r.seq == nil || r.seq.Len() > shared || common(r.seq.Tokens(), prompt) < r.seq.Len() {
		if r.seq != nil {
			r.seq.Free()
		}
		if r.seq, err = r.e.NewSeq(); err != nil {
			return "", false, err
		}
	}
	if n := r.seq.Len(); n < shared {
		if _, err = r.seq.Feed(ctx, prompt[n:shared], 0, nil, nil); err != nil {
			return "", false, err
		}
	}
	q, err := r.seq.Branch()
	if err != nil {
		return "", false, err
	}
	defer q.Free()
	eos := r.t.Special().EOS
	var ids []int32
	for feed := prompt[q.Len():]; len(ids) < answerTokens; feed = ids[len(ids)-1:] {
		job, err := q.Feed(ctx, feed, 0, []model.Want{{}}, nil)
		if err != nil {
			return "", false, err
		}
		id := job.Top(0).ID(0)
		if id == eos {
			ended = true
			break
		}
		ids = append(ids, id)
	}
	out, err := r.t.Decode(nil, ids)
	return string(out), ended, err
}

func (r *runner) run(ctx context.Context, list []*conversation, s *scores) error {
	qs, err := r.questions(list)
	if err != nil {
		return err
	}
	for i, q := range qs {
		var next []int32
		if i+1 < len(qs) {
			next = qs[i+1].prompt
		}
		text, ended, err := r.answer(ctx, q.prompt, next)
		if err != nil {
			return err
		}
		s.add(r.t, q, text, ended)
		if (i+1)%100 == 0 {
			_, _ = fmt.Fprintf(os.Stderr, "%d of %d\n", i+1, len(qs))
		}
	}
	return nil
}
