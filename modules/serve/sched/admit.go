package sched

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/sample"
)

// admit starts waiting requests while there is room.
func (s *Scheduler) admit() {
	s.stalled = false
	for s.closing == 0 && !s.stalled {
		s.mu.Lock()
		r := s.queue.pop()
		s.stats.Waiting = s.queue.n
		s.mu.Unlock()
		if r == nil {
			return
		}
		if s.reserved()+r.req.Choices > s.c.Sessions || !s.room(r) {
			s.mu.Lock()
			s.queue.putBack(r)
			s.stats.Waiting = s.queue.n
			s.mu.Unlock()
			return
		}
		r.choices = make([]*choice, r.req.Choices)
		for i := range r.choices {
			r.choices[i] = &choice{run: r, index: i}
		}
		r.live = len(r.choices)
		s.runs++
		if s.c.Store != nil && !r.looked {
			s.active = append(s.active, r.choices...) // they hold their places meanwhile
			go s.lookUp(r, s.known(r))
			continue
		}
		s.active = append(s.active, r.choices...)
		s.begin(r)
	}
}

func (s *Scheduler) reserved() int { return len(s.active) }

// known is how many of the prompt's tokens memory could start from.
func (s *Scheduler) known(r *Run) int {
	if e, _ := s.tree.match(r.prompt, len(r.prompt)-1); e != nil {
		return e.n
	}
	return 0
}

// room says whether there are cache pages for the request to begin with: its prompt, and some of its answer. Snapshots
// that it does not start from make place. Where nothing runs, it is tried anyhow.
func (s *Scheduler) room(r *Run) bool {
	e, _ := s.tree.match(r.prompt, len(r.prompt)-1)
	have := 0
	if e != nil {
		e.refs++ // it must not go now
		defer e.release()
		have = e.n / backend.PageTokens
		s.tree.touch(e)
	}
	tokens := len(r.prompt) + min(r.req.MaxTokens, backend.PageTokens)
	need := pages(tokens) - have + (r.req.Choices-1)*2
	for s.c.Engine.FreePages() < need {
		old := s.tree.oldest()
		if old == nil || old == e {
			return s.runs == 0
		}
		s.tree.remove(old)
	}
	return true
}

func pages(tokens int) int { return (tokens + backend.PageTokens - 1) / backend.PageTokens }

// begin makes the first choice's sequence, from the deepest snapshot that the prompt begins with.
func (s *Scheduler) begin(r *Run) {
	c := r.choices[0]
	if r.canceled.Load() {
		if r.found != nil {
			r.found.close(unused)
		}
		s.fail(r, context.Canceled)
		return
	}
	err := s.restore(r, c)
	if errors.Is(err, model.ErrNoSlots) && r.tries < maxTries {
		s.again(r)
		return
	}
	if err != nil {
		s.fail(r, err)
		return
	}
	c.todo = r.prompt[c.seq.Len():]
	c.prefill = true
	for i, c := range r.choices {
		c.guide = r.req.Guide(i)
		c.sampler = sample.New(r.req.Sample[i])
		for _, id := range c.generated { // it was preempted
			c.sampler.Accept(id)
		}
		s.track(c)
	}
	r.plan()
	if s.c.Store != nil && r.start.Cached == 0 {
		r.cold = s.c.Policy.Cold(len(r.prompt), r.req.Prompt.Anchor)
	}
	r.stored = r.start.Cached
	r.start.Prompt = r.prompt
	r.start.Waited = time.Since(r.queued)
	s.c.Metrics.Started(r.start.Source, len(r.prompt), r.start.Cached, r.start.Waited)
	s.c.Log.Info().Str("request", r.req.ID).Int("prompt", len(r.prompt)).Int("cached", r.start.Cached).Str("source", r.start.Source).
		Str("why", r.start.Why).Dur("waited", r.start.Waited).Msg("started")
	start := r.start
	r.update(func() { r.batch.Start = &start })
	if r.req.MaxTokens == 0 {
		for _, c := range r.choices {
			s.finish(c, false)
		}
	}
}

// maxTries bounds how often a request waits a millisecond for a slot.
const maxTries = 5000

// again puts a request back whose sequence found no slot: snapshots that are being read hold them, for a moment.
func (s *Scheduler) again(r *Run) {
	r.tries++
	s.stalled = true
	for _, c := range r.choices {
		s.release(c)
	}
	s.runs--
	s.mu.Lock()
	s.queue.putBack(r)
	s.mu.Unlock()
	time.AfterFunc(time.Millisecond, s.wake)
}

// restore finds what the prompt starts from and says why.
func (s *Scheduler) restore(r *Run, c *choice) error {
	if r.req.PromptLogprobs { // all of the prompt's rows are wanted
		return s.fresh(r, c, "log-probabilities of the prompt are wanted")
	}
	e, common := s.tree.match(r.prompt, len(r.prompt)-1)
	if f := r.found; f != nil {
		r.found = nil
		switch snap, err := f.importTo(s.c.Engine); {
		case e != nil && e.n >= len(f.tokens):
			f.close(unused)
			if err == nil {
				snap.Free()
			}
		case err == nil:
			f.close(used)
			r.prompt = f.prompt
			e = s.tree.get(snap.Tokens())
			if e == nil {
				e = s.tree.put(snap)
			} else {
				snap.Free()
			}
			e.saved = true
			return s.from(r, c, e, "disk", f.why)
		default:
			f.close(outcomeOf(err))
			s.c.Log.Warn().Str("request", r.req.ID).Err(err).Msg("a checkpoint could not be used")
			e, common = s.tree.match(r.prompt, len(r.prompt)-1)
		}
	}
	if e == nil {
		return s.fresh(r, c, s.missed(r, common))
	}
	return s.from(r, c, e, "memory", fmt.Sprintf("%d of %d tokens are known, a snapshot stands at %d", common, len(r.prompt), e.n))
}

func (s *Scheduler) missed(r *Run, common int) string {
	why := "nothing is known"
	if s.tree.recent.Len() > 0 {
		why = fmt.Sprintf("differs from what is known after %d tokens, without a snapshot before", common)
	}
	if r.start.Why != "" {
		why += "; disk: " + r.start.Why
	}
	return why
}

func (s *Scheduler) fresh(r *Run, c *choice, why string) (err error) {
	c.seq, err = s.c.Engine.NewSeq()
	r.start.Source, r.start.Cached, r.start.Why = "none", 0, why
	return err
}

func (s *Scheduler) from(r *Run, c *choice, e *entry, source, why string) (err error) {
	s.tree.touch(e)
	if c.seq, err = s.c.Engine.Restore(e.snap); err != nil {
		return err
	}
	r.start.Source, r.start.Cached, r.start.Why = source, e.n, why
	return nil
}

// spread is how far apart snapshots stand in a long stretch of so many tokens: at the end of every page, where they are
// smallest, or of two or four where so many would crowd out those of other conversations.
func spread(tokens int) int {
	const many = 64
	at := backend.PageTokens
	for at < 4*backend.PageTokens && tokens/at > many {
		at *= 2
	}
	return at
}

// plan chooses where snapshots are made on the way through the prompt: where what is stable at its beginning ends, at the ends
// of its last messages, and in long stretches.
func (r *Run) plan() {
	c := r.choices[0]
	from, n := c.seq.Len(), len(r.prompt)
	shift := n - len(r.req.Prompt.Tokens) // where a checkpoint stands for the beginning, cuts have moved
	add := func(at int) {
		last := from
		if k := len(c.marks); k > 0 {
			last = c.marks[k-1]
		}
		if at-last >= r.s.c.MinSnapshot && at < n {
			c.marks = append(c.marks, at)
		}
	}
	apart := spread(n - from)
	page := (from/apart + 1) * apart
	upTo := func(at int) {
		for ; page < at; page += apart {
			add(page)
		}
	}
	cuts := r.req.Prompt.Cuts
	for i, cut := range cuts {
		if upTo(cut + shift); cut == r.req.Prompt.Anchor || i >= len(cuts)-3 {
			add(cut + shift)
		}
	}
	upTo(n)
}

// nextMark is the next length at which the prefill has to stop for a snapshot or a checkpoint; 0: none.
func (c *choice) nextMark() int {
	at := 0
	n := c.seq.Len()
	take := func(m int) {
		if m > n && (at == 0 || m < at) {
			at = m
		}
	}
	for _, m := range c.marks {
		take(m)
	}
	for _, m := range c.run.cold {
		take(m)
	}
	if s := c.run.s; s.c.Store != nil {
		take(s.c.Policy.Next(max(n, c.run.stored)))
	}
	return at
}
