package serve

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
	"github.com/ds4-go/ds4/modules/serve/sched"
	"github.com/ds4-go/ds4/modules/serve/wire"
)

// maxPrompts bounds the prompts of one request for raw completions.
const maxPrompts = 64

// rawRequest is a request for raw continuations: BOS and the prompt, no template. Special tokens in the prompt count.
type rawRequest struct {
	*completion
	prompts [][]int32
	echo    bool
	scores  bool // of the prompt are all that is wanted: one token is generated to get them, and dropped
}

// completions is POST /v1/completions.
func (s *Server) completions(c *call) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	q := s.readRaw(o)
	if err := o.Err(); err != nil {
		return err
	}
	if err := c.checkModel(q.model); err != nil {
		return err
	}
	jobs := make([]*job, len(q.prompts))
	for i, tokens := range q.prompts {
		if jobs[i], err = c.submitRaw(q, tokens); err != nil {
			for _, j := range jobs[:i] {
				j.run.Cancel()
			}
			return err
		}
	}
	if q.stream {
		return c.streamRaw(q, jobs[0])
	}
	for i, j := range jobs {
		if err := c.whole(j); err != nil {
			for _, j := range jobs[i:] {
				j.run.Cancel()
			}
			return err
		}
	}
	return c.json(http.StatusOK, s.rawResponse(q, jobs))
}

func (s *Server) readRaw(o wire.Obj) rawRequest {
	q := rawRequest{completion: s.newCompletion()}
	q.readModel(o)
	q.readSampling(o)
	q.readLimit(o, "max_tokens")
	q.readBias(o, s.c.Tokenizer.ID, s.c.Tokenizer.Len())
	o.Strings("stop", &q.stops, maxStops)
	o.Int("n", &q.n, 1, maxChoices)
	o.Bool("echo", &q.echo)
	if n := o.Get("logprobs"); n.Kind == wire.Bool { // as some clients have it
		if n.Text == "true" {
			q.logprobs = 0
		}
	} else {
		o.Int("logprobs", &q.logprobs, 0, maxTopLogprobs)
	}
	best := q.n
	if o.Int("best_of", &best, 1, math.MaxInt32); best != q.n {
		o.Fail("best_of", "is not supported where it differs from n")
	}
	o.Refuse(neutral, "suffix")
	if q.limit == 0 && q.echo && q.logprobs >= 0 && !q.stream {
		q.limit, q.scores = 1, true
	}
	q.prompts = s.readPrompts(o)
	if len(q.prompts) > 1 && q.stream {
		o.Fail("prompt", "want one prompt in a stream, got %d", len(q.prompts))
	}
	return q
}

// readPrompts reads a text, an array of texts, an array of tokens, or an array of those.
func (s *Server) readPrompts(o wire.Obj) [][]int32 {
	n := o.Get("prompt")
	switch {
	case n.Kind == wire.String:
		return [][]int32{s.rawTokens(n.Text)}
	case n.Kind != wire.Array || len(n.Items) == 0:
		o.Fail("prompt", "want a string or an array, got %s", n.Kind)
		return nil
	case n.Items[0].Kind == wire.Number:
		return [][]int32{tokensOf(o, "prompt", n.Items, s.c.Tokenizer.Len())}
	case len(n.Items) > maxPrompts:
		o.Fail("prompt", "want at most %d prompts, got %d", maxPrompts, len(n.Items))
		return nil
	}
	var out [][]int32
	for i := range n.Items {
		key := fmt.Sprintf("prompt[%d]", i)
		switch item := &n.Items[i]; item.Kind {
		case wire.String:
			out = append(out, s.rawTokens(item.Text))
		case wire.Array:
			out = append(out, tokensOf(o, key, item.Items, s.c.Tokenizer.Len()))
		default:
			o.Fail(key, "want a string or an array of tokens, got %s", item.Kind)
			return nil
		}
	}
	return out
}

// rawTokens is BOS, unless the text begins with it, and the text.
func (s *Server) rawTokens(text string) []int32 {
	if !strings.HasPrefix(text, tokenizer.BOS) {
		text = tokenizer.BOS + text
	}
	return s.c.Tokenizer.EncodeTemplate(nil, text)
}

func tokensOf(o wire.Obj, key string, items []wire.Node, vocab int) []int32 {
	out := make([]int32, 0, len(items))
	for i := range items {
		id, err := strconv.ParseInt(items[i].Text, 10, 32)
		if items[i].Kind != wire.Number || err != nil || id < 0 || id >= int64(vocab) {
			o.Fail(fmt.Sprintf("%s[%d]", key, i), "want a token from 0 to %d", vocab-1)
			return nil
		}
		out = append(out, int32(id))
	}
	if len(out) == 0 && key != "tokens" {
		o.Fail(key, "want at least one token, got none")
	}
	return out
}

func (c *call) submitRaw(q rawRequest, tokens []int32) (*job, error) {
	j := &job{c: c, q: q.completion, promptWanted: q.echo && q.logprobs >= 0}
	c.trace("prompt", map[string]any{"model": q.model, "tokens": len(tokens)})
	return j, j.enqueue(sched.Prompt{Tokens: tokens}, "prompt", func(int) sched.Guide {
		return newPlainGuide(c.s.c.Tokenizer, q.stops)
	})
}

type rawResponse struct {
	ID          string      `json:"id"`
	Object      string      `json:"object"`
	Created     int64       `json:"created"`
	Model       string      `json:"model"`
	Fingerprint string      `json:"system_fingerprint"`
	Choices     []rawChoice `json:"choices"`
	Usage       *usage      `json:"usage,omitempty"`
}

type rawChoice struct {
	Text     string       `json:"text"`
	Index    int          `json:"index"`
	Logprobs *rawLogprobs `json:"logprobs"`
	Finish   *string      `json:"finish_reason"`
}

// rawLogprobs is the older shape of log-probabilities. The first token of a prompt has none, unless it
// stands behind BOS.
type rawLogprobs struct {
	Tokens   []string             `json:"tokens"`
	Logprobs []*float64           `json:"token_logprobs"`
	Top      []map[string]float64 `json:"top_logprobs"`
	Offsets  []int                `json:"text_offset"`
	at       int
}

func (l *rawLogprobs) add(s *Server, t sched.Token, known bool) {
	text := whole(s.c.Tokenizer.Text(t.ID))
	l.Tokens, l.Offsets = append(l.Tokens, text), append(l.Offsets, l.at)
	l.at += len(text)
	if !known {
		l.Logprobs, l.Top = append(l.Logprobs, nil), append(l.Top, nil)
		return
	}
	p, top := finite(t.Logprob), map[string]float64{}
	for _, a := range t.Top {
		top[whole(s.c.Tokenizer.Text(a.ID))] = finite(a.Logprob)
	}
	l.Logprobs, l.Top = append(l.Logprobs, &p), append(l.Top, top)
}

func (s *Server) rawResponse(q rawRequest, jobs []*job) rawResponse {
	r := rawResponse{ID: wire.ID("cmpl-", 28), Object: "text_completion", Created: time.Now().Unix(), Model: q.model, Fingerprint: s.fingerprint()}
	total := &usage{PromptOf: map[string]int{}, Of: map[string]int{}}
	for p, j := range jobs {
		if q.scores {
			for i := range j.ends {
				j.ends[i], j.tokens[i] = &sched.End{Outcome: sched.Outcome{Result: chat.Result{Finish: chat.FinishLength}}}, nil
			}
		}
		total.add(usageOf(j))
		for i, e := range j.ends {
			c := rawChoice{Index: p*q.n + i, Text: whole(e.Outcome.Message.Content), Finish: &e.Outcome.Finish}
			if q.echo {
				text, _ := s.c.Tokenizer.Decode(nil, q.prompts[p])
				c.Text = strings.TrimPrefix(whole(string(text)), tokenizer.BOS) + c.Text
			}
			if q.logprobs >= 0 {
				c.Logprobs = &rawLogprobs{}
				if first := q.prompts[p][0]; q.echo && first != s.c.Tokenizer.Special().BOS { // which is not shown
					c.Logprobs.add(s, sched.Token{ID: first}, false)
				}
				for _, t := range append(j.promptLP[:len(j.promptLP):len(j.promptLP)], j.tokens[i]...) {
					c.Logprobs.add(s, t, true)
				}
			}
			r.Choices = append(r.Choices, c)
		}
	}
	r.Usage = total
	return r
}

func (u *usage) add(o *usage) {
	u.Prompt, u.Completion, u.Total, u.Hit, u.Miss = u.Prompt+o.Prompt, u.Completion+o.Completion, u.Total+o.Total, u.Hit+o.Hit, u.Miss+o.Miss
	for k, v := range o.PromptOf {
		u.PromptOf[k] += v
	}
	for k, v := range o.Of {
		u.Of[k] += v
	}
}

// streamRaw writes the chunks of a raw completion.
func (c *call) streamRaw(q rawRequest, j *job) error {
	out := c.start()
	chunk := rawResponse{ID: wire.ID("cmpl-", 28), Object: "text_completion", Created: time.Now().Unix(), Model: q.model, Fingerprint: c.s.fingerprint()}
	send := func(choice rawChoice) {
		chunk.Choices = []rawChoice{choice}
		out.Event("", chunk)
	}
	if q.echo {
		text, _ := c.s.c.Tokenizer.Decode(nil, q.prompts[0])
		for i := range q.n {
			send(rawChoice{Index: i, Text: strings.TrimPrefix(whole(string(text)), tokenizer.BOS)})
		}
	}
	err := j.wait(func(b sched.Batch) error {
		for _, d := range b.Deltas {
			choice := rawChoice{Index: d.Choice}
			for _, e := range d.Events {
				if e.Kind == chat.Content {
					choice.Text += whole(e.Text)
				}
			}
			if q.logprobs >= 0 && len(d.Tokens) > 0 {
				choice.Logprobs = &rawLogprobs{}
				for _, t := range d.Tokens {
					choice.Logprobs.add(c.s, t, true)
				}
			}
			if d.End != nil {
				choice.Finish = &d.End.Outcome.Finish
			}
			if choice.Text != "" || choice.Logprobs != nil || choice.Finish != nil {
				send(choice)
			}
		}
		return gone(out.Flush())
	}, comment(out))
	if err != nil {
		return err
	}
	if q.usage {
		chunk.Choices, chunk.Usage = []rawChoice{}, usageOf(j)
		out.Event("", chunk)
	}
	out.Data("[DONE]")
	return gone(out.Flush())
}
