package draft

// The draft head is not free: it follows the sequences with a layer of its own, and each guess is a step of it. So its
// depth is decided before it runs, and it rests where it does not pay. A head that has rested has missed tokens: it follows
// some before it is asked again.

// Heads decides what the draft head does after a step for the sequences of asks, which are those of the next one: wants
// receives how many guesses it makes for each, 0 to follow only. false: it need not run at all, and has not followed.
func (c *Controller) Heads(asks []Ask, wants []int) bool {
	var bets []bet
	var which []int
	run := false
	base, ctx := 0, 0
	for i, a := range asks {
		wants[i] = 0
		base, ctx = base+a.Rows, max(ctx, a.Ctx)
		t := a.Track
		if !t.head || !c.awake(t) {
			continue
		}
		run = true
		n := min(c.opt.Head, a.Most, Most)
		if c.opt.Fixed > 0 {
			n = min(c.opt.Fixed, a.Most, Most)
			wants[i] = max(n, 0)
			continue
		}
		if t.fresh < headWindow || n <= 0 || c.steps < firstPrices {
			continue
		}
		odds := t.survival(nil, FromHead, 0, n)
		if g := t.propose(Most); sum(t.survival(nil, g.source, g.class, len(g.tokens))) < sum(odds) {
			bets, which = append(bets, bet{t: t, odds: odds}), append(which, i)
		}
	}
	if !run || len(bets) == 0 {
		return run
	}
	c.headDepths(bets, base, ctx, len(asks))
	for k, b := range bets {
		if b.depth == 0 && b.t.trial < headTrial {
			b.depth = 1
		}
		if b.depth == 0 || c.ledger < 0 && c.opened {
			c.rest(b.t)
		}
		wants[which[k]] = b.depth
	}
	return true
}

const headTrial = 6 // drafts after which a head that does not pay rests

// awake says whether the head follows a sequence, or begins to again.
func (c *Controller) awake(t *Track) bool {
	if !t.resting {
		return true
	}
	if c.steps < t.retry || c.ledger < 0 {
		return false
	}
	t.resting, t.fresh, t.trial = false, 0, 0
	return true
}

func (c *Controller) rest(t *Track) {
	t.resting, t.retry = true, c.steps+t.wait
	t.wait = min(2*t.wait, longWait)
}

// headDepths is decide with the price of making the guesses.
func (c *Controller) headDepths(bets []bet, base, ctx, seqs int) {
	tokens := float64(seqs)
	price := c.prices.of(base, ctx)
	if price == 0 {
		return
	}
	best, most, level := 0, tokens/price, 0
	order := c.order(bets)
	depths := make([]int, len(bets))
	for i, b := range order {
		tokens += b.odds
		depths[b.bet]++
		level = max(level, depths[b.bet])
		if rate := tokens / (c.prices.of(base+i+1, ctx) + c.heads.of(level+1, 0)); rate > most {
			best, most = i+1, rate
		}
	}
	for _, b := range order[:best] {
		bets[b.bet].depth++
	}
}

// Headed tells what the draft head took, in seconds, for its longest draft of guesses. prompt says that it followed a
// prompt: that is no price.
func (c *Controller) Headed(guesses int, took float64, prompt bool) {
	if prompt {
		return
	}
	c.heads.add(guesses+1, 0, took)
	c.ledger -= took
}

// Followed tells that the head has followed the sequence by so many tokens, and what it guesses next.
func (t *Track) Followed(tokens int, guesses []int32, margins []float32) {
	t.fresh += tokens
	t.ahead.tokens, t.ahead.source, t.ahead.class = t.ahead.tokens[:0], FromHead, 0
	for i, g := range guesses {
		if margins[i] < t.c.opt.Margin {
			break
		}
		t.ahead.tokens = append(t.ahead.tokens, g)
	}
}

// HasHead says that the draft head is to follow the sequence.
func (t *Track) HasHead() bool { return t.head }
