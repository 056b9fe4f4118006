package draft

import "cmp"

// Options are the choices of a controller. The zero value is what most want.
type Options struct {
	// Fixed is how many guesses are evaluated whatever it costs, as far as there are so many; 0: the controller decides.
	Fixed int
	// Head is the longest draft of the draft head; 0: 4.
	Head int
	// Margin ends a draft of the draft head at a guess whose logit leads the second by less.
	Margin float32
}

// Controller decides how many guesses are worth evaluating.
type Controller struct {
	opt    Options
	prices prices // of steps, by rows
	heads  prices // of the draft head, by guesses and one
	est    [Sources][Classes]estimate
	steps  int
	plain  int     // the last step without guesses
	gain   float64 // that was hoped for when guesses were last decided on, over none

	// ledger is time in seconds that guessing may yet lose. A small share of all time comes in, and what guesses brought;
	// what they cost goes out. Below zero nothing is guessed, and a draft may cost no more than there is, if all of it is wrong.
	ledger float64
	opened bool
	step   struct {
		base, rows, ctx, seqs, kept int
		mixed                       bool
	}

	Stats Stats // of all tracks
}

const (
	allowance = 0.007 // of all time, to be spent on finding out
	credit    = 1.2   // plain steps that the ledger begins with
	savings   = 6     // and that it may hold at most
	refresh   = 192   // steps after which the price of a plain one is paid again, at most
	refreshes = 0.005 // of the time lost by that: what gains little is compared more often
	rowPrice  = 0.005 // of a step, that a row costs at least: prices that swing can seem to say less
	busyOdds  = 0.6   // of a guess that may ride along with a prompt
	busyMost  = 4

	firstPrices = 2  // plain steps before anything is guessed
	headWindow  = 16 // tokens that the head must have followed before it is asked
	firstWait   = 64 // steps until a head that did not pay is tried again, then twice as many
	longWait    = 4096
)

// NewController makes one for an engine.
func NewController(o Options) *Controller {
	if o.Head <= 0 {
		o.Head = 4
	}
	o.Head, o.Fixed = min(o.Head, Most), min(o.Fixed, Most)
	return &Controller{opt: o, plain: -1}
}

// Ask is a sequence that will be in a step with Rows tokens of its own.
type Ask struct {
	Track *Track
	Rows  int
	Most  int // guesses that there is room for: in its context, and before its answer is long enough
	Ctx   int // tokens of context
}

// Room is what a step has room for.
type Room struct {
	Rows, Outs int  // of all sequences, their own rows included
	Busy       bool // prompts are read in the same step
}

// bet is a sequence with a draft and the chances of its guesses.
type bet struct {
	t     *Track
	g     *guess
	odds  []float64
	depth int
}

// Plan decides what each sequence guesses in the next step: see Track.Guesses.
func (c *Controller) Plan(asks []Ask, room Room) {
	c.step.base, c.step.ctx, c.step.seqs, c.step.kept, c.step.mixed = 0, 0, len(asks), 0, room.Busy
	bets := make([]bet, 0, len(asks))
	for _, a := range asks {
		c.step.base += a.Rows
		c.step.ctx = max(c.step.ctx, a.Ctx)
		a.Track.now.tokens = a.Track.now.tokens[:0]
		if b := c.bet(a); len(b.odds) > 0 {
			bets = append(bets, b)
		}
	}
	c.step.rows = c.step.base
	spare := min(room.Rows-c.step.base, room.Outs-len(asks))
	if len(bets) == 0 || spare <= 0 {
		return
	}
	switch {
	case c.opt.Fixed > 0:
		for i := range bets {
			bets[i].depth = min(c.opt.Fixed, len(bets[i].odds))
		}
	case room.Busy:
		c.rideAlong(bets)
	case c.known() && c.ledger >= 0 && !c.stale():
		c.decide(bets, spare)
	}
	for i := range bets {
		b := &bets[i]
		n := min(b.depth, spare)
		spare -= n
		c.step.rows += n
		b.t.now.tokens = append(b.t.now.tokens, b.g.tokens[:n]...)
		b.t.now.source, b.t.now.class = b.g.source, b.g.class
	}
}

// bet takes the better of what the text and the head guess.
func (c *Controller) bet(a Ask) bet {
	t := a.Track
	most := min(a.Most, Most)
	g := t.propose(most)
	b := bet{t: t, g: g, odds: t.survival(nil, g.source, g.class, len(g.tokens))}
	if n := min(len(t.ahead.tokens), max(most, 0)); n > 0 {
		if odds := t.survival(nil, t.ahead.source, t.ahead.class, n); sum(odds) > sum(b.odds) {
			b.g, b.odds = &t.ahead, odds
		}
	}
	return b
}

// known says that something is known of prices.
func (c *Controller) known() bool {
	return c.steps >= firstPrices && c.prices.of(c.step.base, c.step.ctx) > 0
}

// stale says that it is time for a step without guesses, or nobody would notice that these no longer pay.
func (c *Controller) stale() bool {
	return c.steps-c.plain >= int(min(max((c.gain-1)/refreshes, 8), refresh))
}

// rideAlong takes guesses that are likely to be right: beside a prompt's rows a few more cost little, and the step is long.
func (c *Controller) rideAlong(bets []bet) {
	for i := range bets {
		b := &bets[i]
		for b.depth < min(len(b.odds), busyMost) && b.odds[b.depth] >= busyOdds {
			b.depth++
		}
	}
}

// decide takes the guesses of the most tokens per second. The likeliest guess of all sequences comes first, then the next:
// after each, tokens and price are what they would be if the step ended there.
func (c *Controller) decide(bets []bet, spare int) {
	ctx, rows := c.step.ctx, c.step.base
	spare = min(spare, c.prices.within(ctx)-rows)
	plain := c.prices.of(rows, ctx)
	tokens := float64(c.step.seqs)
	best, most, least := 0, tokens/plain, plain
	order := c.order(bets)
	for i, b := range order[:max(min(len(order), spare), 0)] {
		tokens += b.odds
		least *= 1 + rowPrice
		price := max(c.prices.of(rows+i+1, ctx), least)
		if price-plain > c.ledger {
			break // all of it can be wrong: then shorter drafts go on, where a debt would stop them for long
		}
		if rate := tokens / price; rate > most*(1+1e-9) {
			best, most = i+1, rate
		}
	}
	c.gain = most * plain / float64(c.step.seqs)
	for _, b := range order[:best] {
		bets[b.bet].depth++
	}
	for i := range bets {
		if b := &bets[i]; b.depth == 0 && b.g.source == FromHead && b.t.trial < headTrial && spare > best {
			b.depth, best = 1, best+1 // it was made to be tried
		}
	}
	if best == 0 {
		c.probe(bets, spare, plain)
	}
}

type rung struct {
	bet  int
	odds float64
}

// order lists all guesses, the likeliest first. Within a draft the odds fall, so its guesses stay in order.
func (c *Controller) order(bets []bet) []rung {
	at := make([]int, len(bets))
	var out []rung
	for {
		next := rung{bet: -1}
		for i, b := range bets {
			if at[i] < len(b.odds) && (next.bet < 0 || b.odds[at[i]] > next.odds) {
				next = rung{i, b.odds[at[i]]}
			}
		}
		if next.bet < 0 {
			return out
		}
		at[next.bet]++
		out = append(out, next)
	}
}

// probe lets one sequence guess against the odds, if the ledger can pay for it whatever comes: acceptance changes with what
// is written, and prices with the machine.
func (c *Controller) probe(bets []bet, spare int, plain float64) {
	const length = 2
	n := min(length, spare)
	if n <= 0 || c.ledger < c.prices.of(c.step.base+n, c.step.ctx)-plain {
		return
	}
	i := c.steps % len(bets)
	bets[i].depth = min(n, len(bets[i].odds))
	bets[i].t.Stats.Probes++
	c.Stats.Probes++
}

// Stepped tells what the step took, in seconds, after Verified of all its sequences. rows are all of its rows.
func (c *Controller) Stepped(rows int, took float64) {
	s := &c.step
	c.steps++
	c.Stats.Steps += s.seqs
	c.Stats.Tokens += s.seqs + s.kept
	if s.seqs == 0 {
		return
	}
	if s.mixed {
		return
	}
	c.prices.add(rows, s.ctx, took)
	plain := c.prices.of(s.base, s.ctx)
	if rows == s.base {
		c.plain = c.steps
	}
	if !c.opened {
		c.ledger, c.opened = credit*plain, true
	}
	lost := 0.0
	if rows > s.base {
		lost = c.prices.of(rows, s.ctx) - plain - float64(s.kept)*plain/float64(s.seqs)
	}
	c.ledger = min(c.ledger+allowance*took-lost, savings*plain)
}

// Depth is the mean number of guesses in a step of one sequence so far.
func (s *Stats) Depth() float64 {
	drafted, _ := s.Guesses()
	return float64(drafted) / float64(cmp.Or(s.Steps, 1))
}
