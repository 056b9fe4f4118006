package serve

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
	"github.com/ds4-go/ds4/modules/serve/sched"
	"github.com/ds4-go/ds4/modules/serve/wire"
)

// job is a completion that was submitted.
type job struct {
	c   *call
	q   *completion
	run *sched.Run

	promptWanted bool // log-probabilities of the prompt
	submitted    time.Time
	first        bool  // something came
	firstAfter   int64 // ms from submission until it did

	msgs     []chat.Message // as rendered, tools included; nil for raw prompts
	options  chat.Options
	prompt   int // tokens
	start    *sched.Start
	ends     []*sched.End    // of each choice
	tokens   [][]sched.Token // of each choice, where log-probabilities are wanted
	promptLP []sched.Token
}

// submit renders the conversation and puts it into the queue. param names what the prompt came in, for errors.
func (c *call) submit(q *completion, param string) (*job, error) {
	s := c.s
	if err := c.checkModel(q.model); err != nil {
		return nil, err
	}
	found, of := s.replay.restore(q.messages)
	j := &job{c: c, q: q, options: chat.Options{Checkpoint: s.c.Checkpoint, Thinking: q.thinking, KeepReasoningWithCalls: s.c.KeepReasoning}}
	tools := q.tools
	if q.choice.none {
		tools = nil
	}
	grammar, vocab, err := s.grammars.of(q.format)
	if err != nil {
		return nil, err
	}
	calls, vocab, err := s.grammars.calls(q, vocab)
	if err != nil {
		return nil, err
	}
	j.msgs = withFormat(chat.WithTools(q.messages, tools), q.format.schema)
	segments, err := chat.Render(j.msgs, j.options)
	if err != nil {
		return nil, wire.BadRequest(param, "%s", err)
	}
	prompt := s.prompts.build(segments)
	force, err := s.forced(q, segments)
	if err != nil {
		return nil, err
	}
	c.trace("prompt", map[string]any{"model": q.model, "thinking": q.thinking.String(), "tokens": len(prompt.Tokens), "text": chat.Text(segments),
		"replayed": found, "messages_with_calls": of})
	if grammar != nil && force != nil {
		return nil, wire.BadRequest("tool_choice", "tool_choice: want auto or none where the answer's format is given")
	}
	thinking := q.thinking != chat.Off
	options := guideOptions{ThinkBudget: q.budget, OneCall: q.oneCall, LoopGuard: s.c.LoopGuard, Force: force, Grammar: grammar, Calls: calls, Vocab: vocab, Parser: chat.ParserOptions{
		Thinking: thinking && endsThinking(segments), Tools: tools, Strict: s.c.StrictCalls, Stops: q.stops, NoCalls: q.choice.none, Official: calls != nil}}
	if c.dialect == anthropic {
		options.Parser.NewID = func() string { return wire.ID("toolu_", 32) }
	}
	if thinking && s.c.FixedThinking {
		q.fixedThinking()
	}
	c.w.Header().Set("X-Ds4-Thinking", q.thinking.String())
	return j, j.enqueue(prompt, param, func(int) sched.Guide { return newGuide(s.c.Tokenizer, options) })
}

// endsThinking says whether the prompt ends with <think>: one that ends in an open assistant message does not.
func endsThinking(segments []chat.Segment) bool {
	n := len(segments)
	const think = "<think>"
	return n > 0 && segments[n-1].Kind == chat.Template && len(segments[n-1].Text) >= len(think) &&
		segments[n-1].Text[len(segments[n-1].Text)-len(think):] == think
}

// enqueue submits the prompt.
func (j *job) enqueue(prompt sched.Prompt, param string, guide func(int) sched.Guide) error {
	c, q := j.c, j.q
	j.prompt, j.ends, j.tokens = len(prompt.Tokens), make([]*sched.End, q.n), make([][]sched.Token, q.n)
	limit := q.limit
	if limit < 0 {
		limit = c.s.c.DefaultTokens
	}
	if j.prompt >= c.s.c.Ctx {
		e := wire.BadRequest(param, "prompt has %d tokens, but the context is %d tokens", j.prompt, c.s.c.Ctx)
		e.Code, e.Prompt, e.Context = "context_length_exceeded", j.prompt, c.s.c.Ctx
		return e
	}
	if q.n > c.s.c.Scheduler.Sessions() {
		return wire.BadRequest("n", "n: want at most %d, the server's --sessions, got %d", c.s.c.Scheduler.Sessions(), q.n)
	}
	req := &sched.Request{ID: c.id, Client: c.client(q.session), Prompt: prompt, MaxTokens: min(limit, c.s.c.Ctx-j.prompt), Choices: q.n,
		Sample: q.choices(), TopLogprobs: q.logprobs, PromptLogprobs: j.promptWanted, Guide: guide}
	if j.msgs != nil {
		req.TurnEnd = c.s.c.Tokenizer.Special().EOS
	}
	j.submitted = time.Now()
	var err error
	j.run, err = c.s.c.Scheduler.Submit(c.r.Context(), req)
	return err
}

// wait takes batches until the end. idle is called when nothing came for the keep-alive interval. An error of either ends
// the request.
func (j *job) wait(take func(sched.Batch) error, idle func() error) error {
	ctx, every := j.c.r.Context(), j.c.s.c.KeepAlive
	silent := time.NewTimer(every)
	defer silent.Stop()
	for {
		silent.Reset(every)
		b, err := j.run.Next(ctx, silent.C)
		switch {
		case errors.Is(err, sched.ErrDone):
			j.finished()
			return nil
		case ctx.Err() != nil:
			return errGone
		case errors.Is(err, sched.ErrIdle):
			err = idle()
		case err == nil:
			j.note(b)
			err = take(b)
		}
		if err != nil {
			j.run.Cancel()
			return err
		}
	}
}

// note keeps what every endpoint needs at the end.
func (j *job) note(b sched.Batch) {
	if b.Start != nil {
		j.start = b.Start
		j.c.trace("cache", map[string]any{"source": b.Start.Source, "why": b.Start.Why, "prompt": len(b.Start.Prompt), "cached": b.Start.Cached,
			"waited_ms": b.Start.Waited.Milliseconds()})
	}
	j.promptLP = append(j.promptLP, b.Prompt...)
	if !j.first && len(b.Deltas) > 0 {
		took := time.Since(j.submitted)
		j.first, j.firstAfter = true, took.Milliseconds()
		j.c.s.c.Metrics.firstToken.Observe(took.Seconds())
		if !j.q.stream { // the head of a stream is sent at once
			j.c.w.Header().Set(firstTokenHeader, strconv.FormatInt(j.firstAfter, 10))
		}
	}
	for _, d := range b.Deltas {
		j.tokens[d.Choice] = append(j.tokens[d.Choice], d.Tokens...)
		if d.End != nil {
			j.ends[d.Choice] = d.End
			j.ended(d.Choice, d.End)
		}
	}
}

// ended remembers a finished turn: its tokens and its call block.
func (j *job) ended(i int, e *sched.End) {
	s := j.c.s
	s.c.Metrics.finished(e.Outcome.Finish, len(e.Tokens), e.Outcome.ReasoningTokens)
	if j.c.s.c.Trace != nil {
		text, _ := s.c.Tokenizer.Decode(nil, e.Tokens)
		m := &e.Outcome.Message
		j.c.trace("completion", map[string]any{"choice": i, "text": string(text), "finish": e.Outcome.Finish, "stop": e.Outcome.Stop,
			"tokens": len(e.Tokens), "reasoning_tokens": e.Outcome.ReasoningTokens, "tool_tokens": e.Outcome.CallTokens, "reasoning": m.Reasoning, "content": m.Content,
			"calls": m.ToolCalls, "malformed": e.Outcome.Malformed, "unclosed": e.Outcome.Unclosed, "guesses": e.Guesses.String(), "guess_depths": e.Guesses.Depths})
	}
	if j.msgs == nil || !e.Ended || j.start == nil {
		return
	}
	s.replay.add(&e.Outcome.Message)
	j.remember(e)
}

// remember keeps the tokens of a finished turn under the text that it will be sent back as: the answer with a message of the
// user behind it. Reasoning that the template drops then is not in that text, and such a turn is not kept: what is known
// never changes what a prompt means.
func (j *job) remember(e *sched.End) {
	s := j.c.s
	n := len(j.msgs)
	msgs := append(j.msgs[:n:n], e.Outcome.Message, chat.Message{Role: chat.RoleUser})
	segments, err := chat.Render(msgs, j.options)
	if err != nil {
		return
	}
	for len(segments) > 0 && segments[len(segments)-1].Message > n {
		segments = segments[:len(segments)-1]
	}
	pt, tokens, ok := s.prompts.turn(segments, j.start.Prompt, e.Outcome.Turn(e.Tokens))
	j.c.log.Debug().Bool("known", ok).Msg("turn remembered")
	if !ok {
		return
	}
	mark := kvstore.Mark{Reason: kvstore.Continued, Aliases: []kvstore.Alias{pt.Alias}}
	if b := e.Outcome.Message.Block; b != nil && s.replay != nil {
		for _, c := range b.Calls {
			mark.Tools = append(mark.Tools, kvstore.Tool{ID: c.ID, Block: b.Text})
		}
	}
	s.c.Scheduler.Save(tokens, mark)
}

// finished logs the request's figures.
func (j *job) finished() {
	generated := 0
	for _, e := range j.ends {
		if e != nil {
			generated += len(e.Tokens)
		}
	}
	j.c.log.Info().Int("prompt", j.prompt).Int("generated", generated).Int("cached", j.cached()).Msg("completed")
}

// firstTokenHeader says how long the first token took, of an answer that is no stream. A stream's usage says it.
const firstTokenHeader = "X-Ds4-First-Token-Ms"

// firstToken is the usage's part of that; nil where there is a header, or was no token.
func (j *job) firstToken() *int64 {
	if !j.first || !j.q.stream {
		return nil
	}
	return &j.firstAfter
}

func (j *job) cached() int {
	if j.start == nil {
		return 0
	}
	return j.start.Cached
}

// promptTokens is the prompt's length as it was evaluated.
func (j *job) promptTokens() int {
	if j.start == nil {
		return j.prompt
	}
	return len(j.start.Prompt)
}

// generated are the tokens of all choices, and those of them that were reasoning, and calls.
func (j *job) generated() (tokens, reasoning, calls int) {
	for _, e := range j.ends {
		if e != nil {
			tokens += len(e.Tokens)
			reasoning += e.Outcome.ReasoningTokens
			calls += e.Outcome.CallTokens
		}
	}
	return tokens, reasoning, calls
}

func (c *call) checkModel(name string) error {
	switch name {
	case modelName, modelChat, modelReasoner, c.s.c.Model:
		return nil
	}
	if c.s.c.StrictModel {
		return failure(http.StatusNotFound, "model_not_found", "model: this server has %s, got %q", modelName, clip(name, 100))
	}
	return nil
}

// forced are the heads of calls that a turn must make: one for each tool it may choose.
func (s *Server) forced(q *completion, segments []chat.Segment) ([][]int32, error) {
	if !q.choice.required && q.choice.name == "" {
		return nil, nil
	}
	var out [][]int32
	for _, t := range q.tools {
		if q.choice.name == "" || q.choice.name == t.Name() {
			b := s.c.Tokenizer.NewBuilder(nil)
			b.Template("\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"")
			b.Data(t.Name())
			b.Template("\">\n")
			out = append(out, b.Tokens())
		}
	}
	switch {
	case len(out) == 0 && q.choice.name != "":
		return nil, wire.BadRequest("tool_choice", "tool_choice: want one of the tools, got %q", clip(q.choice.name, 100))
	case len(out) == 0:
		return nil, wire.BadRequest("tool_choice", "tool_choice: want tools to choose from, got none")
	case q.n > 1:
		return nil, wire.BadRequest("n", "n: want 1 where a tool must be called, got %d", q.n)
	case !endsThinking(segments) && q.thinking != chat.Off:
		return nil, wire.BadRequest("tool_choice", "tool_choice: want a turn to begin where a tool must be called")
	}
	return out, nil
}
