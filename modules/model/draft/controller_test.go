package draft_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/model/draft"
)

// machine is what steps take on one, in seconds by rows.
type machine struct {
	name  string
	price func(rows int) float64
}

// card is what steps of 1 to 17 rows take on an H200, over one of one row: the full shape in its q2 layout behind 2,048 tokens.
var card = []float64{1, 1.28, 1.52, 1.71, 1.97, 2.21, 2.41, 2.60, 3.96, 4.13, 4.27, 4.41, 4.54, 4.68, 4.79, 4.91, 5.51}

// cores is the same on two cores, with four layers of that file; beyond 12 rows as it grows before.
var cores = []float64{1, 1.31, 1.73, 2.14, 2.61, 3.13, 3.50, 3.64, 4.02, 4.28, 4.55, 5.29, 5.6, 5.9, 6.2, 6.5, 6.8}

// machines of several shapes: a measured card and measured cores, a GPU whose launches come in buckets, a CPU whose weights
// are read once for three rows, one that is bound by its arithmetic, so that guessing never pays, and one where rows are free.
var machines = []machine{
	{"buckets", func(rows int) float64 {
		bucket := math.Exp2(math.Ceil(math.Log2(float64(rows))))
		return 0.0036 * (1 + 0.06*(bucket-1))
	}},
	{"even", func(rows int) float64 { return 0.004 * (1 + 0.17*float64(rows-1)) }},
	{"threes", func(rows int) float64 {
		return 0.2 * []float64{1, 1.02, 1.06, 1.8, 2.23, 2.58, 2.8, 2.9, 3.06, 3.35, 3.9, 4.2, 4.4, 4.6, 4.9, 5.2, 5.9}[rows-1]
	}},
	{"arithmetic", func(rows int) float64 { return 0.1 * float64(rows) }},
	{"card", func(rows int) float64 { return 0.00655 * card[rows-1] }},
	{"cores", func(rows int) float64 { return 0.057 * cores[rows-1] }},
	{"free", func(rows int) float64 { return 0.01 * (1 + 0.002*float64(rows)) }},
}

// coin guesses right with a probability.
type coin struct {
	rng *rand.Rand
	p   float64
}

func (c *coin) Accept(...int32)      {}
func (c *coin) Source() draft.Source { return draft.FromReplay }
func (c *coin) Propose(dst []int32, most int) ([]int32, int) {
	for range most {
		t := int32(0)
		if c.rng.Float64() >= c.p {
			t = 1
		}
		dst = append(dst, t)
	}
	return dst, 0
}

// simulate is tokens a second of an answer of n tokens on a machine that jitters, from a cold start.
func simulate(c *draft.Controller, m machine, p float64, fixed, n int, jitter float64, seed uint64) float64 {
	rng := rand.New(rand.NewPCG(seed, 1))
	t := c.Track(&coin{rng, p}, false)
	took, tokens := 0.0, 0
	for tokens < n {
		most := min(draft.Most, n-tokens-1)
		if fixed == 0 {
			most = 0
		}
		c.Plan([]draft.Ask{{Track: t, Rows: 1, Most: most, Ctx: 2048 + tokens}}, draft.Room{Rows: 128, Outs: 34})
		guesses := t.Guesses()
		rows := len(guesses) + 1
		kept := draft.Walk(guesses, func(int) (int32, bool) { return 0, true }, nil)
		s := m.price(rows) * (1 + jitter*math.Abs(rng.NormFloat64()))
		t.Accept(make([]int32, kept+1)...)
		t.Verified(kept, false)
		c.Stepped(rows, s)
		took, tokens = took+s, tokens+kept+1
	}
	return float64(tokens) / took
}

// TestControllerLosesNothing: on machines of all kinds, at every quality of guesses, an answer of 256 tokens from a cold start
// is never slower than 0.98 of no guessing, and not much slower than with the number of guesses that is best there, which
// nobody could know before; a second answer, when prices are known, is about as fast as that. Time is the machine's price, not this one's.
func TestControllerLosesNothing(t *testing.T) {
	const answer, runs = 256, 24
	mean := func(m machine, p float64, fixed int) (first, second float64) {
		for i := range runs {
			c := draft.NewController(draft.Options{Fixed: max(fixed, 0)})
			first += simulate(c, m, p, fixed, answer, 0.02, uint64(i)) / runs
			second += simulate(c, m, p, fixed, answer, 0.02, uint64(i+runs)) / runs
		}
		return first, second
	}
	for _, m := range machines {
		off, _ := mean(m, 0, 0)
		for _, p := range []float64{0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1} {
			best, best2, at := off, off, 0
			for k := 1; k <= draft.Most; k++ {
				if v, v2 := mean(m, p, k); v > best {
					best, best2, at = v, v2, k
				}
			}
			cold, warm := mean(m, p, -1)
			line := fmt.Sprintf("%s, p %.2f: %.2f of no guessing; of the best depth (%d): %.3f, in a second answer %.3f", m.name, p, cold/off, at, cold/best, warm/best2)
			t.Log(line)
			if cold < 0.78*best || cold < 0.98*off || warm < 0.95*best2 {
				t.Error(line)
			}
		}
	}
}

// TestSingleAnswers tells how much luck one answer of 144 tokens has on the card: a second answer against the best of a few
// fixed depths whose guesses are wrong in the same places. Every 128 tokens a step takes 3.3 ms longer, as it completes compressed rows.
func TestSingleAnswers(t *testing.T) {
	const answer, runs = 144, 60
	m := machines[slices.IndexFunc(machines, func(m machine) bool { return m.name == "card" })]
	speed := func(c *draft.Controller, p float64, most int, seed uint64) float64 {
		track := c.Track(draft.NewReplay(make([]int32, answer+1), p, 1000, seed), false)
		took, tokens := 0.0, 0
		for tokens < answer {
			c.Plan([]draft.Ask{{Track: track, Rows: 1, Most: min(most, answer-tokens-1), Ctx: 2048 + tokens}}, draft.Room{Rows: 128, Outs: 34})
			guesses := track.Guesses()
			rows := len(guesses) + 1
			kept := draft.Walk(guesses, func(int) (int32, bool) { return 0, true }, nil)
			s := m.price(rows)
			if tokens/128 != (tokens+rows)/128 {
				s += 0.0033
			}
			track.Accept(make([]int32, kept+1)...)
			track.Verified(kept, false)
			c.Stepped(rows, s)
			took, tokens = took+s, tokens+kept+1
		}
		return float64(tokens) / took
	}
	for _, p := range []float64{0, 0.3, 0.5, 0.7, 0.8, 0.9, 1} {
		var share []float64
		mean := 0.0
		for seed := range uint64(runs) {
			best := speed(draft.NewController(draft.Options{}), p, 0, seed)
			for _, depth := range []int{1, 2, 4, 8, 16} {
				best = max(best, speed(draft.NewController(draft.Options{Fixed: depth}), p, draft.Most, seed))
			}
			c := draft.NewController(draft.Options{})
			speed(c, p, draft.Most, seed+runs)
			share = append(share, speed(c, p, draft.Most, seed)/best)
			mean += share[seed] / runs
		}
		slices.Sort(share)
		line := fmt.Sprintf("p %.1f: of the best depth %.3f in the mean, %.3f in the middle, %.3f in one of twenty or less", p, mean, share[runs/2], share[runs/20])
		t.Log(line)
		if mean < 0.95 {
			t.Error(line)
		}
	}
}

// busy is a machine that others use: for stretches of some twenty steps everything takes up to twice as long.
type busy struct {
	rng  *rand.Rand
	slow float64
	left int
}

func (b *busy) price(m machine, rows int) float64 {
	if b.left--; b.left < 0 {
		b.left, b.slow = 5+b.rng.IntN(30), 1
		if b.rng.IntN(2) == 0 {
			b.slow += b.rng.Float64()
		}
	}
	return m.price(rows) * b.slow * (1 + 0.1*math.Abs(b.rng.NormFloat64()))
}

// TestControllerOnBusyMachine: where prices swing, wrong guesses still cost next to nothing, and right ones pay.
func TestControllerOnBusyMachine(t *testing.T) {
	const answer, runs = 1024, 24
	for _, m := range machines {
		for _, p := range []float64{0, 0.5, 0.9} {
			took, off := 0.0, 0.0
			for i := range runs {
				c := draft.NewController(draft.Options{})
				b := &busy{rng: rand.New(rand.NewPCG(uint64(i), 7))}
				track := c.Track(&coin{rand.New(rand.NewPCG(uint64(i), 8)), p}, false)
				for tokens := 0; tokens < answer; {
					c.Plan([]draft.Ask{{Track: track, Rows: 1, Most: min(draft.Most, answer-tokens-1), Ctx: 2048}}, draft.Room{Rows: 128, Outs: 34})
					guesses := track.Guesses()
					rows := len(guesses) + 1
					kept := draft.Walk(guesses, func(int) (int32, bool) { return 0, true }, nil)
					s := b.price(m, rows)
					track.Accept(make([]int32, kept+1)...)
					track.Verified(kept, false)
					c.Stepped(rows, s)
					took += s
					off += float64(kept+1) * s * m.price(1) / m.price(rows) // the same tokens, one by one, on the machine as it was
					tokens += kept + 1
				}
			}
			line := fmt.Sprintf("%s, p %.2f: %.3f of no guessing", m.name, p, off/took)
			t.Log(line)
			if least := map[float64]float64{0: 0.98, 0.5: 0.96, 0.9: 0.96}[p]; off < least*took || p == 0.9 && m.price(2) < 1.3*m.price(1) && off < 2*took {
				t.Error(line)
			}
		}
	}
}
