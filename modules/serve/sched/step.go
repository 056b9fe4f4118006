package sched

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/draft"
	"github.com/ds4-go/ds4/modules/model/sample"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
)

// choice is one completion of a request: a sequence and what follows it.
type choice struct {
	run     *Run
	index   int
	seq     Seq
	guide   Guide
	sampler *sample.Sampler
	track   *draft.Track // nil: it does not guess

	todo      []int32 // tokens to evaluate
	prefill   bool    // todo is the rest of the prompt
	marks     []int   // lengths at which the prefill makes a snapshot
	con       Constraint
	ready     bool    // con is for the token after todo
	generated []int32 // without the end of the turn
	inCall    bool
	ended     bool // for its reader
	closing   bool // its last tokens are yet to be evaluated, for those who go on from there
}

// row is a choice's part in a step.
type row struct {
	c    *choice
	last bool // the step evaluates all of its todo
}

// step evaluates one token of every sequence that generates, and a chunk of prompts. It reports whether there was
// anything to do.
func (s *Scheduler) step() bool {
	s.jobs, s.rows = s.jobs[:0], s.rows[:0]
	decode := s.addDecodes()
	prefill := s.addPrefills(decode)
	if len(s.jobs) == 0 {
		return false
	}
	ctx := context.Background()
	if len(s.jobs) == 1 && !s.rows[0].c.closing { // a turn that closes outlives its request
		ctx = s.rows[0].c.run.ctx // nobody else is harmed when it stops at once
	}
	began := time.Now()
	err := s.c.Engine.Run(ctx, s.jobs)
	if err != nil {
		s.stepFailed(err)
		return true
	}
	took := time.Since(began)
	s.c.Metrics.Step(prefill, decode, took)
	for i := range s.jobs {
		s.contained(s.rows[i].c, func() { s.take(&s.jobs[i], s.rows[i]) })
	}
	s.stepped(decode, took)
	return true
}

// addDecodes adds the sequences that generate.
func (s *Scheduler) addDecodes() int {
	rows := 0
	var list []*choice
	for _, c := range slices.Clone(s.active) {
		if c.closing {
			s.jobs = append(s.jobs, Job{Seq: c.seq, Tokens: c.todo})
			s.rows = append(s.rows, row{c, true})
			rows += len(c.todo)
			continue
		}
		if c.seq == nil || c.prefill || c.ended || c.run.lagging() {
			continue
		}
		s.contained(c, func() { s.prepare(c) })
		if c.ended || rows+len(c.todo) > s.c.Engine.Limits().Rows {
			continue
		}
		list = append(list, c)
		rows += len(c.todo)
	}
	s.plan(list)
	for _, c := range list {
		rows += s.add(c, len(c.todo))
	}
	return rows
}

// longSpans is how many long stretches one step may have: each needs a spare slot of the engine.
const longSpans = 2

// addPrefills adds a chunk of prompts: of the one whose turn it is, then of the next while there is room.
func (s *Scheduler) addPrefills(decode int) int {
	lim := s.c.Engine.Limits()
	room := min(s.c.Chunk, lim.Rows-decode)
	rows, long := 0, 0
	var list []*choice
	for i := range s.active {
		c := s.active[(s.turn+i)%len(s.active)]
		if c.seq != nil && c.prefill && !c.ended {
			list = append(list, c)
		}
	}
	s.turn++
	for _, c := range list {
		n := min(len(c.todo), room-rows)
		if mark := c.nextMark(); mark > 0 {
			n = min(n, mark-c.seq.Len())
		}
		if c.run.req.PromptLogprobs {
			n = min(n, lim.Outs-s.wanted(), lim.Tops-s.wanted())
		}
		if n > backend.Slack+1 {
			if long++; long > longSpans {
				n = backend.Slack + 1
			}
		}
		if n <= 0 {
			break
		}
		if n == len(c.todo) {
			s.contained(c, func() { s.prepare(c) })
			if c.ended {
				continue
			}
			if n = len(c.todo); n > lim.Rows-decode-rows {
				n = lim.Rows - decode - rows // tokens were forced, and do not fit
			}
		}
		s.add(c, n)
		rows += n
		if c.run.req.PromptLogprobs {
			break // it takes all outputs
		}
	}
	return rows
}

// prepare asks the guide what may come after todo, and takes what is forced.
func (s *Scheduler) prepare(c *choice) {
	if c.ready {
		return
	}
	for {
		c.con = c.guide.Next()
		if len(c.con.Forced) == 0 {
			break
		}
		for _, id := range c.con.Forced {
			if len(c.generated) >= c.run.budget() {
				break
			}
			// todo may be a view of the prompt
			c.todo = append(slices.Clip(c.todo), id)
			if s.accept(c, id, nil) {
				return
			}
		}
	}
	c.ready = true
}

// budget is how many tokens a choice may have.
func (r *Run) budget() int {
	return min(r.req.MaxTokens, r.s.c.Engine.Limits().CtxTokens-len(r.prompt))
}

// add gives a choice the first n tokens of its todo, and its guesses behind them. It returns how many these are.
func (s *Scheduler) add(c *choice, n int) int {
	j := Job{Seq: c.seq, Tokens: c.todo[:n]}
	last := n == len(c.todo)
	if c.prefill && c.run.req.PromptLogprobs {
		for i := range n - 1 {
			j.Wants = append(j.Wants, model.Want{Row: i})
		}
		if !last {
			j.Wants = append(j.Wants, model.Want{Row: n - 1})
		}
	}
	if last {
		guesses := c.guesses()
		first := len(j.Wants)
		j.Wants = draft.Wants(j.Wants, c.sampler, n-1, guesses)
		j.Wants[first].Mask = c.con.Mask
		j.Tokens, j.Guesses = append(slices.Clip(j.Tokens), guesses...), len(guesses)
	}
	s.jobs = append(s.jobs, j)
	s.rows = append(s.rows, row{c, last})
	return j.Guesses
}

// wanted is how many output rows the step has so far.
func (s *Scheduler) wanted() (n int) {
	for i := range s.jobs {
		n += len(s.jobs[i].Wants)
	}
	return n
}

// contained runs f for a choice. A panic in it ends that request and no other.
func (s *Scheduler) contained(c *choice, f func()) {
	defer func() {
		if v := recover(); v != nil {
			s.c.Log.Error().Str("request", c.run.req.ID).Interface("panic", v).Msg("a request failed inside")
			s.fail(c.run, fmt.Errorf("sched: internal error: %v", v))
		}
	}()
	f()
}

// take uses the results of a job.
func (s *Scheduler) take(j *Job, r row) {
	c := r.c
	if c.closing {
		s.turnClosed(c)
		return
	}
	if c.ended {
		return
	}
	prompt := c.prefill
	if prompt {
		s.promptRead(c, j, r.last)
	}
	c.todo = c.todo[len(j.Tokens)-j.Guesses:]
	if !r.last {
		return
	}
	want := len(j.Wants) - 1 - j.Guesses
	if prompt {
		c.prefill = false
		for _, other := range c.run.choices[1:] {
			if !s.branch(c, other) {
				return
			}
		}
	}
	s.sampleAll(c, j.Result, want)
	if !prompt {
		s.walk(c, j, want)
	}
}

// promptRead is the bookkeeping of a stretch of a prompt.
func (s *Scheduler) promptRead(c *choice, j *Job, last bool) {
	n := c.seq.Len()
	r := c.run
	if slices.Contains(c.marks, n) {
		s.remember(c, false)
	}
	switch {
	case s.c.Store == nil:
	case slices.Contains(r.cold, n):
		s.checkpoint(c, kvstore.Cold)
	case s.c.Policy.Due(n, r.stored):
		s.checkpoint(c, kvstore.Continued)
	}
	if r.req.PromptLogprobs {
		s.promptLogprobs(c, j, last)
	}
	done := min(n, len(r.prompt))
	r.update(func() { r.batch.Done = done })
}

// branch makes another choice's sequence where the first one stands.
func (s *Scheduler) branch(c, other *choice) bool {
	seq, err := c.seq.Branch()
	if err != nil {
		s.fail(c.run, err)
		return false
	}
	other.seq = seq
	return true
}

// sampleAll picks the first token of all choices from one result, or the next one of a choice alone.
func (s *Scheduler) sampleAll(c *choice, res Result, want int) {
	if len(c.generated) == 0 && c.index == 0 && len(c.run.choices) > 1 && c.seq.Len() == len(c.run.prompt) {
		for _, other := range c.run.choices[1:] {
			other.con, other.ready = other.guide.Next(), true // nothing is forced for many choices
			s.pick(other, res, want)
		}
	}
	s.pick(c, res, want)
}

// pick samples the next token of a choice.
func (s *Scheduler) pick(c *choice, res Result, want int) {
	top := res.Top(want)
	c.ready = false
	var id int32
	switch {
	case top.Len() == 0:
		s.fail(c.run, errors.New("sched: no token is allowed"))
		return
	case c.con.Greedy:
		id = top.ID(0)
	default:
		id = c.sampler.Pick(top, func() []float32 { return res.Logits(nil, want) }, c.con.Mask)
	}
	var lp *Token
	if c.run.req.TopLogprobs >= 0 {
		t := logprobOf(id, top, res, want, c.run.req.TopLogprobs, len(c.sampler.Bias()) > 0 || c.con.Mask != nil)
		lp = &t
	}
	c.sampler.Accept(id)
	if s.accept(c, id, lp) {
		return
	}
	c.todo = append(c.todo[:0:0], id)
	if s.c.Store != nil && !c.inCall && s.c.Policy.Due(c.seq.Len(), c.run.stored) {
		s.checkpoint(c, kvstore.Continued)
	}
}

// accept gives a token to the guide and what came of it to the reader. It reports whether the choice has ended.
func (s *Scheduler) accept(c *choice, id int32, lp *Token) bool {
	if c.track != nil {
		c.track.Accept(id)
	}
	step := c.guide.Accept(id)
	c.inCall = step.Part == PartCall
	if step.Part != PartEnd {
		c.generated = append(c.generated, id)
	}
	d := Delta{Choice: c.index, Events: step.Events}
	if lp != nil && step.Part != PartEnd {
		lp.Part = step.Part
		d.Tokens = []Token{*lp}
	}
	if len(d.Events) > 0 || d.Tokens != nil {
		c.run.push(d)
	}
	switch {
	case step.Done:
		s.finish(c, true)
	case len(c.generated) >= c.run.budget():
		s.finish(c, false)
	}
	return c.ended
}

// finish ends a choice as it should.
func (s *Scheduler) finish(c *choice, done bool) {
	end := chat.EndLength
	if done {
		end = chat.EndEOS
	}
	events, out := c.guide.Finish(end)
	c.run.push(Delta{Choice: c.index, Events: events, End: &End{Outcome: out, Tokens: c.generated, Ended: done, Guesses: c.guessed()}})
	c.ended = true
	if done && c.run.req.TurnEnd != 0 && s.remembers() {
		s.close(c, out.Turn(c.generated))
	} else {
		s.remember(c, true)
		s.release(c)
	}
	r := c.run
	if r.live--; r.live == 0 {
		s.finished(r, nil)
	}
}

// close has the tokens evaluated that end a turn, so that the snapshot stands where the message ends. Until then nobody
// else begins: it may be the next turn. What a stop string took of the turn is unread.
func (s *Scheduler) close(c *choice, turn []int32) {
	prompt, n := len(c.run.prompt), c.seq.Len()
	can := prompt+len(turn)+1 < s.c.Engine.Limits().CtxTokens && n >= prompt
	if kept := prompt + shared(turn, c.generated); can && n > kept {
		can = c.seq.Rewind(kept) == nil
		n = kept
	}
	if !can {
		s.remember(c, true)
		s.release(c)
		return
	}
	c.todo = append(slices.Clone(turn[n-prompt:]), c.run.req.TurnEnd)
	c.closing = true
	s.closing++
}

// turnClosed ends a turn whose last tokens have been evaluated.
func (s *Scheduler) turnClosed(c *choice) {
	c.closing = false
	s.closing--
	s.remember(c, true)
	s.release(c)
}

// release gives a choice's sequence and place back.
func (s *Scheduler) release(c *choice) {
	if c.seq != nil {
		c.seq.Free()
		c.seq = nil
	}
	s.active = slices.DeleteFunc(s.active, func(x *choice) bool { return x == c })
}

// remembers says whether snapshots are kept.
func (s *Scheduler) remembers() bool { return s.c.SnapshotBytes >= 0 }

// remember makes a snapshot of a sequence where it stands.
func (s *Scheduler) remember(c *choice, turn bool) {
	if !s.remembers() || c.seq == nil || c.seq.Len() < s.c.MinSnapshot {
		return
	}
	snap, err := c.seq.Snapshot()
	if err != nil {
		s.c.Log.Warn().Str("request", c.run.req.ID).Err(err).Msg("no snapshot was made")
		return
	}
	if e := s.tree.get(snap.Tokens()); e != nil {
		e.turn = e.turn || turn
		s.tree.touch(e)
		snap.Free()
		return
	}
	s.tree.put(snap).turn = turn
}

// stepFailed deals with a step that came to nothing.
func (s *Scheduler) stepFailed(err error) {
	switch {
	case len(s.jobs) == 1 && !s.rows[0].c.closing && (s.rows[0].c.run.canceled.Load() || s.rows[0].c.run.ctx.Err() != nil):
		return // reaped before one of the next steps
	case errors.Is(err, model.ErrNoSlots):
		time.Sleep(time.Millisecond) // a snapshot is being read; it gives its slot back
		if s.steps.IsZero() {
			s.steps = time.Now()
		}
		if time.Since(s.steps) < 10*time.Second {
			return
		}
	case errors.Is(err, model.ErrNoPages):
		if s.Reclaim() || s.preempt() {
			return
		}
		err = ErrMemory
	}
	s.steps = time.Time{}
	s.c.Log.Error().Err(err).Int("sequences", len(s.jobs)).Msg("a step failed")
	failed := map[*Run]bool{}
	for _, r := range s.rows {
		if r.c.closing {
			s.turnClosed(r.c) // at least what was evaluated before is known
			continue
		}
		if run := r.c.run; !failed[run] {
			failed[run] = true
			s.fail(run, err)
		}
	}
}

// preempt takes the sequence that came last out, to be evaluated again when there are pages. It reports false where no
// other sequence would be helped.
func (s *Scheduler) preempt() bool {
	var last *Run
	runs := map[*Run]bool{}
	for _, c := range s.active {
		runs[c.run] = true
		if len(c.run.choices) == 1 && c.seq != nil && !c.closing {
			last = c.run
		}
	}
	if len(runs) < 2 || last == nil {
		return false
	}
	c := last.choices[0]
	c.seq.Free()
	c.seq, c.marks, last.cold = nil, nil, nil
	c.todo = append(slices.Clone(last.prompt), c.generated...)
	c.prefill = true // what may come after todo is as it was
	if c.track != nil {
		c.track.Drop()
	}
	s.c.Metrics.Preempted()
	s.c.Log.Warn().Str("request", last.req.ID).Int("tokens", len(c.todo)).Msg("out of cache pages: evaluated again later")
	return true
}

// resume gives a sequence to those that were taken out, when there are pages or nobody else wants them.
func (s *Scheduler) resume() {
	alive := 0
	for _, c := range s.active {
		if c.seq != nil {
			alive++
		}
	}
	for _, c := range s.active {
		if c.seq != nil || c.guide == nil || c.ended || c.index > 0 {
			continue
		}
		if alive > 0 && s.c.Engine.FreePages() < pages(len(c.todo))+1 {
			return
		}
		r := c.run
		e, _ := s.tree.match(c.todo, len(c.todo)-1)
		var err error
		if e != nil {
			c.seq, err = s.c.Engine.Restore(e.snap)
		} else {
			c.seq, err = s.c.Engine.NewSeq()
		}
		if err != nil {
			s.fail(r, err)
			return
		}
		c.todo = c.todo[c.seq.Len():]
		alive++
	}
}

// logprobOf is the log-probability of a token, with those of the best.
func logprobOf(id int32, top model.Candidates, res Result, want, best int, adjusted bool) Token {
	t := Token{ID: id}
	sum := top.LogSumRaw()
	if !adjusted {
		found := false
		for i := range top.Len() {
			if i < best {
				t.Top = append(t.Top, TokenProb{top.ID(i), float64(top.Logit(i)) - sum})
			}
			if top.ID(i) == id {
				t.Logprob, found = float64(top.Logit(i))-sum, true
			}
			if found && i >= best {
				return t
			}
		}
		if found {
			return t
		}
		t.Top = nil
	}
	row := res.Logits(nil, want)
	t.Logprob = float64(row[id]) - sum
	t.Top = bestOf(row, best, sum)
	return t
}

// bestOf are the n greatest logits of a row, ties to the lower id.
func bestOf(row []float32, n int, sum float64) []TokenProb {
	var out []TokenProb
	for id, l := range row {
		if math.IsNaN(float64(l)) {
			continue
		}
		p := float64(l) - sum
		if len(out) == n && (n == 0 || p <= out[n-1].Logprob) {
			continue
		}
		at := len(out)
		for at > 0 && out[at-1].Logprob < p {
			at--
		}
		out = slices.Insert(out, at, TokenProb{int32(id), p})
		if len(out) > n {
			out = out[:n]
		}
	}
	return out
}

// promptLogprobs reports the log-probabilities of the prompt's own tokens.
func (s *Scheduler) promptLogprobs(c *choice, j *Job, last bool) {
	r := c.run
	from := c.seq.Len() - len(j.Tokens)
	var out []Token
	for i := range j.Wants {
		at := from + i + 1 // the token that this row speaks of
		if at >= len(r.prompt) {
			break
		}
		out = append(out, logprobOf(r.prompt[at], j.Result.Top(i), j.Result, i, max(r.req.TopLogprobs, 0), false))
	}
	r.update(func() { r.batch.Prompt = append(r.batch.Prompt, out...) })
}
