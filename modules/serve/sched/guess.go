package sched

import (
	"context"
	"time"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/draft"
)

// Sequences may guess ahead: see package draft. Guesses ride behind a sequence's own tokens, each with a want; what they bring
// is sampled row by row, exactly as if each row had been a step of its own.

const (
	related     = 4  // texts that a conversation has left, and that lend what they say
	relatedFrom = 64 // tokens that these have in common with the prompt, at least
	overlap     = 16 // of these, how many are looked up too
)

// track begins to guess for a choice.
func (s *Scheduler) track(c *choice) {
	if s.c.Guesses == nil {
		return
	}
	head := s.c.Engine.HasDraftHead()
	if !s.c.Lookup {
		c.track = s.c.Guesses.Track(nil, head)
		return
	}
	var earlier [][]int32
	if common, list := s.tree.beside(c.run.prompt, related); common >= max(relatedFrom, c.run.req.Prompt.Anchor+1) {
		for _, e := range list {
			earlier = append(earlier, e.snap.Tokens()[common-overlap:])
		}
	}
	text := draft.NewLookup(c.run.prompt, earlier...)
	text.Accept(c.generated...) // it was preempted
	c.track = s.c.Guesses.Track(text, head)
}

// plan has the controller decide what the sequences that generate guess in this step.
func (s *Scheduler) plan(list []*choice) {
	if s.c.Guesses == nil {
		return
	}
	lim := s.c.Engine.Limits()
	room := draft.Room{Rows: lim.Rows, Outs: min(lim.Outs, lim.Tops)}
	for _, c := range s.active {
		room.Busy = room.Busy || c.closing || c.prefill && c.seq != nil && !c.ended
	}
	s.asks = s.asks[:0]
	for _, c := range list {
		s.asks = append(s.asks, draft.Ask{Track: c.track, Rows: len(c.todo), Most: c.most(), Ctx: c.seq.Len()})
	}
	if room.Busy { // a prompt's last row wants an output too
		room.Outs -= s.c.Sessions - len(list)
		room.Rows /= 2
	}
	s.c.Guesses.Plan(s.asks, room)
}

// most is how many guesses there is room for.
func (c *choice) most() int {
	if c.con.Mask != nil {
		return 0 // what is allowed behind a guess is not known yet
	}
	room := c.run.s.c.Engine.Limits().CtxTokens - c.seq.Len() - len(c.todo) - 1
	return max(min(c.run.budget()-len(c.generated)-1, room, backend.Slack+1-len(c.todo)), 0)
}

func (c *choice) guesses() []int32 {
	if c.track == nil || c.prefill {
		return nil
	}
	return c.track.Guesses()
}

// guessed is what came of it.
func (c *choice) guessed() (s draft.Stats) {
	if c.track != nil {
		s = c.track.Stats
	}
	return s
}

// walk goes on from the first token that a step brought, along the guesses that turn out right.
func (s *Scheduler) walk(c *choice, j *Job, want int) {
	if c.track == nil {
		return
	}
	own := len(j.Tokens) - j.Guesses
	guesses := j.Tokens[own:] // none behind a prompt
	last := int32(-1)
	kept := draft.Walk(guesses, func(row int) (int32, bool) {
		if row > 0 {
			s.pick(c, j.Result, want+row)
		}
		if c.ended || len(c.todo) != 1 {
			return 0, false
		}
		last = c.todo[0]
		return last, true
	}, func(row int) bool {
		s.prepare(c)
		if c.ended || c.con.Mask != nil || len(c.todo) != 1 {
			return false // the row was evaluated for something else than what may come
		}
		j.Result.Keep(own + row)
		c.todo = c.todo[:0]
		return true
	})
	c.track.Verified(kept, c.ended || kept < len(guesses) && last == guesses[kept])
}

// stepped tells the controller what the step took, and has the draft head follow.
func (s *Scheduler) stepped(decode int, took time.Duration) {
	if s.c.Guesses == nil {
		return
	}
	s.c.Guesses.Stepped(decode, took.Seconds())
	if !s.c.Engine.HasDraftHead() {
		return
	}
	prompt := false
	var asks []draft.Ask
	var list []model.Drafting
	for i := range s.jobs {
		c := s.rows[i].c
		job, ok := s.jobs[i].Result.(*model.Job)
		if !ok || c.ended || c.seq == nil || len(c.todo) == 0 {
			continue
		}
		most := 0
		if !c.prefill && len(c.todo) == 1 {
			most = c.most()
		}
		prompt = prompt || len(s.jobs[i].Tokens) > backend.Slack+1
		asks = append(asks, draft.Ask{Track: c.track, Rows: 1, Most: most, Ctx: c.seq.Len()})
		list = append(list, model.Drafting{Job: job, Next: c.todo[0]})
	}
	if err := s.c.Guesses.Follow(context.Background(), s.c.Engine.Draft, asks, list, prompt); err != nil {
		s.c.Log.Warn().Err(err).Msg("the draft head failed; nothing is guessed in the next step")
	}
}
