package sample

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// record makes the Top record of a row, plainly.
func record(logits []float32, mask []uint32, bias []backend.Bias, invTemp float64) model.Candidates {
	type cand struct {
		id int32
		l  float32
	}
	adj := slices.Clone(logits)
	for _, b := range bias {
		if l := adj[b.ID]; l > 0 {
			adj[b.ID] = float32(l/b.Rep) + b.Add
		} else {
			adj[b.ID] = float32(l*b.Rep) + b.Add
		}
	}
	var all []cand
	for id, l := range adj {
		if mask == nil || mask[id/32]>>(id%32)&1 != 0 {
			all = append(all, cand{int32(id), l})
		}
	}
	slices.SortStableFunc(all, func(a, b cand) int {
		if a.l > b.l {
			return -1
		}
		if a.l < b.l {
			return 1
		}
		return 0
	})
	p := make([]byte, backend.TopBytes)
	le := binary.LittleEndian
	sum := 0.0
	for _, c := range all {
		sum += math.Exp((float64(c.l) - float64(all[0].l)) * invTemp)
	}
	le.PutUint64(p[backend.TopSumAdj:], math.Float64bits(sum))
	le.PutUint32(p[backend.TopMaxAdj:], math.Float32bits(all[0].l))
	n := min(len(all), backend.TopCount)
	le.PutUint32(p[backend.TopLen:], uint32(n))
	for i, c := range all[:n] {
		le.PutUint32(p[backend.TopIDs+8*i:], uint32(c.id))
		le.PutUint32(p[backend.TopIDs+8*i+4:], math.Float32bits(c.l))
	}
	return p
}

// TestRoads compares the choice from the candidates with the choice from the whole row, on random rows and parameters.
func TestRoads(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	lists := 0
	for range 3000 {
		v := 140 + rng.IntN(400)
		logits := make([]float32, v)
		spread := []float64{0.2, 1, 4}[rng.IntN(3)]
		for i := range logits {
			logits[i] = float32(math.Round(rng.NormFloat64()*spread*8) / 8)
		}
		p := Params{Temperature: 0.3 + rng.Float32()*2, Seed: rng.Uint64(), TopP: []float32{1, 0.9, 0.5}[rng.IntN(3)],
			MinP: []float32{0, 0.05, 0.3}[rng.IntN(3)], TopK: []int{0, 0, 5, 128, 200}[rng.IntN(5)],
			PresencePenalty: rng.Float32(), RepetitionPenalty: 1 + rng.Float32()}
		var mask []uint32
		if rng.IntN(2) == 0 {
			mask = make([]uint32, (v+31)/32)
			for i := range mask {
				mask[i] = rng.Uint32()
			}
		}
		a, b := New(p), New(p)
		for range 5 {
			id := int32(rng.IntN(v))
			a.Accept(id)
			b.Accept(id)
		}
		c := record(logits, mask, a.Bias(), float64(a.InvTemp()))
		b.Bias()
		used := false
		got := a.Pick(c, func() []float32 { used = true; return logits }, mask)
		if !used {
			lists++
		}
		b.fromRow(c, logits, mask)
		if want := b.draw(); got != want {
			t.Fatalf("%+v: from the candidates %d, from the row %d", p, got, want)
		}
	}
	if lists < 1000 || lists > 2900 {
		t.Errorf("%d of 3000 choices took the list: the test lost one of its roads", lists)
	}
}

// TestDistribution draws many times and compares frequencies with the softmax.
func TestDistribution(t *testing.T) {
	logits := []float32{1, 0, 2, -1}
	s := New(Params{Temperature: 0.8, Seed: 7})
	c := record(logits, nil, nil, 1/0.8)
	counts := make([]float64, len(logits))
	const n = 200000
	for range n {
		counts[s.Pick(c, nil, nil)]++
	}
	sum := 0.0
	for _, l := range logits {
		sum += math.Exp(float64(l) / 0.8)
	}
	for id, l := range logits {
		if want := math.Exp(float64(l)/0.8) / sum; math.Abs(counts[id]/n-want) > 0.005 {
			t.Errorf("token %d: want a share of %.4f, got %.4f", id, want, counts[id]/n)
		}
	}
}

func TestBias(t *testing.T) {
	s := New(Params{PresencePenalty: 1, FrequencyPenalty: 0.5, RepetitionPenalty: 1.2, LogitBias: map[int32]float32{9: 3, 2: -1}})
	s.Accept(9)
	s.Accept(4)
	s.Accept(4)
	want := []backend.Bias{{ID: 2, Add: -1, Rep: 1}, {ID: 4, Add: -2, Rep: 1.2}, {ID: 9, Add: 1.5, Rep: 1.2}}
	if got := s.Bias(); !slices.Equal(got, want) {
		t.Errorf("want %v, got %v", want, got)
	}
}

func TestCheck(t *testing.T) {
	for _, p := range []Params{{Temperature: -1}, {Temperature: float32(math.NaN())}, {TopP: 1.5}, {MinP: -1}, {TopK: -1}, {TopK: 2000}, {LogitBias: map[int32]float32{1: 1e6}}} {
		if p.Check() == nil {
			t.Errorf("%+v passed", p)
		}
	}
	p := Default()
	if err := p.Check(); err != nil {
		t.Error(err)
	}
}

func TestLooping(t *testing.T) {
	for _, c := range []struct {
		tokens []int32
		want   bool
	}{
		{[]int32{1, 2, 3, 4, 5, 6, 7, 8}, false},
		{[]int32{9, 1, 2, 1, 2, 1, 2, 1, 2}, true},
		{[]int32{1, 2, 1, 2, 1, 2, 1, 3}, false},
		{[]int32{5, 5, 5, 5}, true},
		{nil, false},
	} {
		if got := Looping(c.tokens, 4, 4); got != c.want {
			t.Errorf("%v: want %v, got %v", c.tokens, c.want, got)
		}
	}
}
