package draft

import "math/bits"

// prices is what steps of so many rows take on this machine, learned from the steps themselves.
//
// A price is a shape, by rows and length of context, times the machine's pace of the moment. What is learned of one number of
// rows moves the pace too, so that prices which nobody has paid for a while do not stay behind when a machine slows down.
type prices struct {
	pace  float64
	shape [contexts][mostRows + 1]cell
	known [contexts]int // most rows that were paid for
}

type cell struct {
	seconds float64
	paid    int
}

const (
	mostRows = 256
	contexts = 10   // by powers of two
	firstCtx = 4096 // tokens: shorter ones cost the same
	hope     = 0.6  // share of what unknown prices would add
)

func contextClass(ctx int) int { return min(bits.Len(uint(ctx/firstCtx)), contexts-1) }

// add learns what a step took, in seconds.
func (p *prices) add(rows, ctx int, took float64) {
	if rows < 1 || rows > mostRows || took <= 0 {
		return
	}
	if p.pace == 0 {
		p.pace = 1
	}
	k := p.at(ctx)
	c := &p.shape[k][rows]
	c.paid++
	p.known[k] = max(p.known[k], rows)
	switch now := took / p.pace; {
	case c.paid == 1:
		c.seconds = now
	case c.paid <= 3:
		c.seconds = min(c.seconds, now) // the first two steps of a kind may be prepared for: a device records them, then makes a graph
	default:
		const slow, quick = 0.08, 0.08
		r := min(max(now/c.seconds, 0.7), 1.4) - 1 // one slow step is no news
		c.seconds *= 1 + slow*r
		p.pace *= 1 + quick*r
	}
}

// at is the class of a context. One that was never seen begins with the prices of the one before it.
func (p *prices) at(ctx int) int {
	k := contextClass(ctx)
	if p.known[k] > 0 {
		return k
	}
	for from := k - 1; from >= 0; from-- {
		if p.known[from] > 0 {
			p.shape[k], p.known[k] = p.shape[from], p.known[from]
			for i := range p.shape[k] {
				p.shape[k][i].paid = min(p.shape[k][i].paid, 1)
			}
			break
		}
	}
	return k
}

// of is the price in seconds of a step of so many rows: as paid, or between the nearest that were, nearer to the lower, as what
// is hoped for is tried and then known. Beyond the most rows that were ever paid for it hopes for less than the usual growth.
// 0: nothing is known.
func (p *prices) of(rows, ctx int) float64 {
	k := p.at(ctx)
	t := &p.shape[k]
	rows = max(rows, 1)
	if rows <= mostRows && t[rows].paid > 0 {
		return p.pace * t[rows].seconds
	}
	lo, hi := min(rows, mostRows), min(rows, mostRows)
	for lo > 0 && t[lo].paid == 0 {
		lo--
	}
	for hi <= mostRows && t[hi].paid == 0 {
		hi++
	}
	switch {
	case lo == 0 && hi > mostRows:
		return 0
	case lo == 0:
		return p.pace * t[hi].seconds
	case hi > mostRows:
		first := 1
		for t[first].paid == 0 {
			first++
		}
		grow := t[lo].seconds / 8 // of a row, where one price is all there is
		if first < lo {
			grow = max(t[lo].seconds-t[first].seconds, 0) / float64(lo-first)
		}
		return p.pace * (t[lo].seconds + hope*grow*float64(rows-lo))
	}
	share := hope * float64(rows-lo) / float64(hi-lo)
	return p.pace * (t[lo].seconds + share*(t[hi].seconds-t[lo].seconds))
}

// within is how many rows a step may have: no more than twice what was paid for, so that the unknown is entered by degrees.
func (p *prices) within(ctx int) int { return max(2*p.known[p.at(ctx)], 2) }
