package draft

import (
	"context"
	"time"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/sample"
)

// Member is a sequence that generates. Next is chosen and not yet evaluated.
type Member struct {
	Seq     *model.Seq
	Track   *Track // nil: it does not guess
	Sampler *sample.Sampler
	Next    int32
	Room    int // tokens that it may yet choose, the one that this step brings included

	Force []int32 // tokens that come whatever the logits say: for measuring with a text that is known

	// Token hears of each token that is chosen, with the job and the want that it was chosen from, while the sequence stands
	// right behind the token before. false: nothing follows it.
	Token func(id int32, j *model.Job, want int) bool
	Ended bool
}

// Wants are the wants of a token and the guesses behind it: each as if the guesses before were true.
func Wants(dst []model.Want, s *sample.Sampler, first int, guesses []int32) []model.Want {
	for i := range len(guesses) + 1 {
		dst = append(dst, model.Want{Row: first + i, Bias: s.BiasAfter(guesses[:i]), InvTemp: s.InvTemp()})
	}
	return dst
}

// Step evaluates the next token of every member that has not ended, with what the controller has it guess, in one step of
// the engine. Members get one token or more.
func (c *Controller) Step(ctx context.Context, e *model.Engine, members []*Member) error {
	live, asks := c.line(e, members)
	if len(live) == 0 {
		return nil
	}
	lim := e.Limits()
	c.Plan(asks, Room{Rows: lim.Rows, Outs: min(lim.Outs, lim.Tops)})
	jobs := make([]model.Job, len(live))
	rows := 0
	for i, m := range live {
		var guesses []int32
		if m.Track != nil {
			guesses = m.Track.Guesses()
		}
		jobs[i] = model.Job{Seq: m.Seq, Tokens: append([]int32{m.Next}, guesses...), Wants: Wants(nil, m.Sampler, 0, guesses)}
		rows += len(jobs[i].Tokens)
	}
	began := time.Now()
	if err := e.Run(ctx, jobs); err != nil {
		return err
	}
	for i, m := range live {
		m.walk(&jobs[i])
	}
	c.Stepped(rows, time.Since(began).Seconds())
	ran := make([]*model.Job, len(jobs))
	for i := range jobs {
		ran[i] = &jobs[i]
	}
	return c.follow(ctx, e, live, ran, false)
}

// First samples a member's first token from the last want of a job that has read its prompt.
func (c *Controller) First(ctx context.Context, e *model.Engine, m *Member, j *model.Job) error {
	want := len(j.Wants) - 1
	m.sample(j, want)
	if m.Track != nil {
		m.Track.Accept(m.Next)
	}
	if m.Ended || m.Track == nil || !m.Track.HasHead() {
		return nil
	}
	return c.follow(ctx, e, []*Member{m}, []*model.Job{j}, true)
}

// line lists the members of a step.
func (c *Controller) line(e *model.Engine, members []*Member) (live []*Member, asks []Ask) {
	for _, m := range members {
		if m.Ended {
			continue
		}
		live = append(live, m)
		t := m.Track
		if t == nil {
			t = c.Track(nil, false)
		}
		asks = append(asks, Ask{Track: t, Rows: 1, Most: m.most(e.Limits()), Ctx: m.Seq.Len()})
	}
	return live, asks
}

func (m *Member) most(l model.Limits) int { return min(m.Room-1, l.CtxTokens-m.Seq.Len()-1, Most) }

// sample chooses the next token.
func (m *Member) sample(j *model.Job, want int) {
	m.Next = m.Sampler.Pick(j.Top(want), func() []float32 { return j.Logits(nil, want) }, nil)
	if len(m.Force) > 0 {
		m.Next, m.Force = m.Force[0], m.Force[1:]
	}
	m.Room--
	m.Ended = !m.Token(m.Next, j, want) || m.Room <= 0
	if !m.Ended {
		m.Sampler.Accept(m.Next)
	}
}

// walk samples from the rows of a job.
func (m *Member) walk(j *model.Job) {
	guesses := j.Tokens[1:]
	kept := Walk(guesses, func(row int) (int32, bool) {
		j.Keep(row + 1)
		m.sample(j, row)
		return m.Next, !m.Ended
	}, nil)
	if m.Track != nil {
		m.Track.Verified(kept, m.Ended)
		m.Track.Accept(append(guesses[:kept:kept], m.Next)...)
	}
}

// follow has the draft head follow, where there is one.
func (c *Controller) follow(ctx context.Context, e *model.Engine, live []*Member, jobs []*model.Job, prompt bool) error {
	if !e.HasDraftHead() {
		return nil
	}
	var asks []Ask
	var list []model.Drafting
	for i, m := range live {
		if !m.Ended && m.Track != nil && m.Track.HasHead() {
			asks = append(asks, Ask{Track: m.Track, Rows: 1, Most: m.most(e.Limits()), Ctx: m.Seq.Len()})
			list = append(list, model.Drafting{Job: jobs[i], Next: m.Next})
		}
	}
	return c.Follow(ctx, e.Draft, asks, list, prompt)
}

// Follow runs the draft head, by run, after a step whose sequences are those of asks, with a drafting for each. prompt says
// that the step read prompts too.
func (c *Controller) Follow(ctx context.Context, run func(context.Context, []model.Drafting) error, asks []Ask, list []model.Drafting, prompt bool) error {
	wants := make([]int, len(asks))
	if len(asks) == 0 || !c.Heads(asks, wants) {
		return nil
	}
	longest := 0
	for i := range list {
		list[i].Want = wants[i]
		longest = max(longest, wants[i])
	}
	began := time.Now()
	if err := run(ctx, list); err != nil {
		return err
	}
	c.Headed(longest, time.Since(began).Seconds(), prompt)
	for i, a := range asks {
		a.Track.Followed(list[i].Job.Kept(), list[i].Tokens, list[i].Margins)
	}
	return nil
}
