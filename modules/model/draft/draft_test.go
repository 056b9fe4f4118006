package draft_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/model/draft"
)

// longest is the longest match by trying every place.
func longest(text []int32) (length int) {
	for p := 1; p < len(text); p++ {
		n := 0
		for n < p && text[p-1-n] == text[len(text)-1-n] {
			n++
		}
		length = max(length, n)
	}
	return length
}

// TestLookup compares proposals with what a search of every place finds: they must follow a match as long.
func TestLookup(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		vocab, n := int32(2+rng.IntN(12)), 5+rng.IntN(120)
		var text []int32
		for len(text) < n {
			if at := rng.IntN(len(text) + 1); len(text) > 10 && rng.IntN(3) == 0 {
				text = append(text, text[at:min(at+rng.IntN(20), len(text))]...)
			}
			text = append(text, rng.Int32N(vocab))
		}
		l := draft.NewLookup(text[:n/2])
		l.Accept(text[n/2:]...)
		got, class := l.Propose(nil, 5)
		best := longest(text)
		if (len(got) > 0) != (best >= 3) {
			t.Fatalf("%v: longest match %d, proposed %v", text, best, got)
		}
		if len(got) == 0 {
			continue
		}
		if want := map[bool]int{true: 3}[best >= 16]; best >= 16 && class != want || best < 4 && class != 0 {
			t.Errorf("match of %d: class %d", best, class)
		}
		ok := false
		for p := best; p < len(text); p++ {
			if slices.Equal(text[p-best:p], text[len(text)-best:]) {
				ext := append(slices.Clone(text), got...)
				ok = ok || slices.Equal(ext[p:p+5], got)
			}
		}
		if !ok {
			t.Errorf("%v: %v follows no match of %d", text, got, best)
		}
	}
}

// TestLookupApart: matches do not cross from one text into another, and an earlier text lends what it says.
func TestLookupApart(t *testing.T) {
	l := draft.NewLookup([]int32{9, 1, 2, 3}, []int32{1, 2, 3, 4, 5, 6}, []int32{1, 2})
	if got, _ := l.Propose(nil, 16); !slices.Equal(got, []int32{4, 5, 6}) {
		t.Errorf("want 4 5 6, got %v", got)
	}
	l = draft.NewLookup([]int32{3, 7}, []int32{1, 2, 3, 7, 8}, []int32{1, 2})
	if got, _ := l.Propose(nil, 16); len(got) != 0 {
		t.Errorf("a match of two tokens and a border: got %v", got)
	}
}

func BenchmarkLookup(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	text := make([]int32, 1<<17)
	for i := range text {
		text[i] = int32(rng.ExpFloat64() * 300)
	}
	b.Run("accept", func(b *testing.B) {
		for range b.N {
			draft.NewLookup(text)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(text)), "ns/token")
	})
	l := draft.NewLookup(text)
	b.Run("propose", func(b *testing.B) {
		var out []int32
		for range b.N {
			l.Accept(text[rng.IntN(len(text))])
			out, _ = l.Propose(out[:0], 16)
		}
	})
}
