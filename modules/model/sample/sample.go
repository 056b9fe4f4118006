package sample

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Params are what a client may set. The zero value is greedy.
type Params struct {
	Temperature float32 // 0: greedy
	TopK        int     // 0: off; at most MaxTopK
	TopP        float32 // 0 or 1: off
	MinP        float32 // relative to the best candidate; 0: off
	Seed        uint64

	FrequencyPenalty  float32 // subtracted once for each time a token was generated
	PresencePenalty   float32 // subtracted if it was generated at all
	RepetitionPenalty float32 // divides positive and multiplies negative logits of generated tokens; 0 and 1: off
	LogitBias         map[int32]float32
}

// MaxTopK bounds Params.TopK.
const MaxTopK = 1024

// Default is what the programs use: temperature 1, min-p 0.05.
func Default() Params { return Params{Temperature: 1, TopP: 1, MinP: 0.05} }

// Check returns an error that names the field out of range.
func (p *Params) Check() error {
	for _, f := range []struct {
		name     string
		v        float32
		min, max float32
	}{
		{"temperature", p.Temperature, 0, 100}, {"top_p", p.TopP, 0, 1}, {"min_p", p.MinP, 0, 1},
		{"frequency_penalty", p.FrequencyPenalty, -100, 100}, {"presence_penalty", p.PresencePenalty, -100, 100},
		{"repetition_penalty", p.RepetitionPenalty, 0, 100},
	} {
		if !(f.v >= f.min && f.v <= f.max) {
			return fmt.Errorf("sample: %s: want %g to %g, got %g", f.name, f.min, f.max, f.v)
		}
	}
	if p.TopK < 0 || p.TopK > MaxTopK {
		return fmt.Errorf("sample: top_k: want 0 to %d, got %d", MaxTopK, p.TopK)
	}
	for id, v := range p.LogitBias {
		if !(v >= -1000 && v <= 1000) {
			return fmt.Errorf("sample: logit_bias of token %d: want -1000 to 1000, got %g", id, v)
		}
	}
	return nil
}

// Stream derives the seed of the i-th of several choices from one seed.
func Stream(seed uint64, i int) uint64 {
	z := seed + uint64(i)*0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	if i == 0 {
		return seed
	}
	return z ^ z>>31
}

// Sampler holds a generator's state and what was generated so far. Not safe for concurrent use.
type Sampler struct {
	p      Params
	x      uint64
	counts map[int32]int
	bias   []backend.Bias
	kept   []choice
}

type choice struct {
	id int32
	l  float32
	p  float64
}

// New makes a sampler. The parameters should have passed Check.
func New(p Params) *Sampler {
	s := &Sampler{p: p, x: p.Seed, counts: map[int32]int{}}
	if s.x == 0 {
		s.x = 0x9E3779B97F4A7C15
	}
	if s.p.TopP <= 0 || s.p.TopP > 1 {
		s.p.TopP = 1
	}
	return s
}

// Greedy says whether the sampler always takes the best candidate.
func (s *Sampler) Greedy() bool { return s.p.Temperature <= 0 }

// InvTemp is what Want.InvTemp should be.
func (s *Sampler) InvTemp() float32 {
	if s.Greedy() {
		return 1
	}
	return 1 / s.p.Temperature
}

// Accept tells the sampler that a token was generated.
func (s *Sampler) Accept(id int32) { s.counts[id]++ }

// BiasAfter is what Want.Bias should be if these tokens were generated next. The slice is the caller's.
func (s *Sampler) BiasAfter(ids []int32) []backend.Bias {
	for _, id := range ids {
		s.counts[id]++
	}
	b := slices.Clone(s.Bias())
	for _, id := range ids {
		if s.counts[id]--; s.counts[id] == 0 {
			delete(s.counts, id)
		}
	}
	return b
}

// Bias is what Want.Bias should be now: logit bias and penalties, by ascending id. Valid until the next call.
func (s *Sampler) Bias() []backend.Bias {
	s.bias = s.bias[:0]
	add := func(id int32) {
		b := backend.Bias{ID: id, Add: s.p.LogitBias[id], Rep: 1}
		if n := s.counts[id]; n > 0 {
			b.Add -= s.p.PresencePenalty + float32(n)*s.p.FrequencyPenalty
			if s.p.RepetitionPenalty > 0 {
				b.Rep = s.p.RepetitionPenalty
			}
		}
		if b.Add != 0 || b.Rep != 1 {
			s.bias = append(s.bias, b)
		}
	}
	for id := range s.p.LogitBias {
		add(id)
	}
	if s.p.PresencePenalty != 0 || s.p.FrequencyPenalty != 0 || s.p.RepetitionPenalty > 0 && s.p.RepetitionPenalty != 1 {
		for id := range maps.Keys(s.counts) {
			if _, done := s.p.LogitBias[id]; !done {
				add(id)
			}
		}
	}
	slices.SortFunc(s.bias, func(a, b backend.Bias) int { return cmp.Compare(a.ID, b.ID) })
	return s.bias
}

// Uniform draws from [0, 1): xorshift*, top 24 bits. Each non-greedy token takes one draw.
func (s *Sampler) Uniform() float64 {
	s.x ^= s.x >> 12
	s.x ^= s.x << 25
	s.x ^= s.x >> 27
	return float64(s.x*0x2545F4914F6CDD1D>>40) / (1 << 24)
}

// Pick chooses a token. c is the row's record, made with this sampler's InvTemp and the Bias of now, be it asked for before; full returns the row's raw logits
// and is called only where the candidates do not decide; mask is the Want's, or nil.
func (s *Sampler) Pick(c model.Candidates, full func() []float32, mask []uint32) int32 {
	if s.Greedy() || c.Len() <= 1 {
		return c.ID(0)
	}
	if !s.fromList(c) {
		s.Bias() // others may have been asked for since
		s.fromRow(c, full(), mask)
	}
	return s.draw()
}

func (s *Sampler) weight(l, top float32) float64 {
	return math.Exp((float64(l) - float64(top)) * float64(s.InvTemp()))
}

// fromList fills kept from the candidates, and says whether these were enough.
func (s *Sampler) fromList(c model.Candidates) bool {
	s.kept = s.kept[:0]
	for i := range c.Len() {
		s.kept = append(s.kept, choice{c.ID(i), c.Logit(i), s.weight(c.Logit(i), c.MaxAdj())})
	}
	whole := c.Len() < backend.TopCount // nothing else is allowed
	return s.filter(c.SumAdj(), whole)
}

// fromRow fills kept from all logits.
func (s *Sampler) fromRow(c model.Candidates, logits []float32, mask []uint32) {
	adj := slices.Clone(logits)
	for _, b := range s.bias {
		if l := adj[b.ID]; l > 0 {
			adj[b.ID] = float32(l/b.Rep) + b.Add
		} else {
			adj[b.ID] = float32(l*b.Rep) + b.Add
		}
	}
	s.kept = s.kept[:0]
	for id, l := range adj {
		if mask != nil && mask[id/32]>>(id%32)&1 == 0 || math.IsNaN(float64(l)) || math.IsInf(float64(l), 0) {
			continue
		}
		s.kept = append(s.kept, choice{int32(id), l, s.weight(l, c.MaxAdj())})
	}
	slices.SortFunc(s.kept, func(a, b choice) int {
		if n := cmp.Compare(b.l, a.l); n != 0 {
			return n
		}
		return cmp.Compare(a.id, b.id)
	})
	s.filter(c.SumAdj(), true)
}

// filter cuts kept, which descends, to what may be drawn. sum is over all allowed tokens. It reports false where tokens
// beyond the list might have to be kept.
func (s *Sampler) filter(sum float64, whole bool) bool {
	if k := s.p.TopK; k > 0 {
		if k > len(s.kept) && !whole {
			return false
		}
		s.kept = s.kept[:min(k, len(s.kept))]
		sum, whole = 0, true
		for _, c := range s.kept {
			sum += c.p
		}
	}
	mass := 0.0
	for i, c := range s.kept {
		if i > 0 && c.p < float64(s.p.MinP) {
			s.kept = s.kept[:i]
			whole = true
			break
		}
		if mass += c.p / sum; s.p.TopP < 1 && mass >= float64(s.p.TopP) {
			s.kept = s.kept[:i+1]
			whole = true
			break
		}
	}
	if whole && s.p.TopK <= 0 && s.p.TopP == 1 { // the reference walks the vocabulary here
		slices.SortFunc(s.kept, func(a, b choice) int { return cmp.Compare(a.id, b.id) })
	}
	return whole
}

// draw takes one of kept by weight, in their order.
func (s *Sampler) draw() int32 {
	total := 0.0
	for _, c := range s.kept {
		total += c.p
	}
	r := s.Uniform() * total
	best := s.kept[0]
	for _, c := range s.kept {
		if r -= c.p; r < 0 {
			return c.id
		}
		if c.p > best.p {
			best = c
		}
	}
	return best.id
}

// Looping reports whether the tokens end in a run of at least times copies of one period of at most longest tokens: what
// a model that is stuck writes.
func Looping(tokens []int32, longest, times int) bool {
	for period := 1; period <= longest && period*times <= len(tokens); period++ {
		tail := tokens[len(tokens)-period*times:]
		same := true
		for i := period; same && i < len(tail); i++ {
			same = tail[i] == tail[i-period]
		}
		if same {
			return true
		}
	}
	return false
}
