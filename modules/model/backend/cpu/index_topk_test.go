package cpu

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// TestBest compares the selection with a sort: ties, both zeros, infinities and NaN included.
func TestBest(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	odd := []float32{0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 1, -1}
	for range 300 {
		n := 1 + r.IntN(700)
		scores := make([]float32, n)
		for i := range scores {
			switch r.IntN(4) {
			case 0:
				scores[i] = odd[r.IntN(len(odd))]
			case 1:
				scores[i] = float32(r.IntN(5))
			default:
				scores[i] = float32(r.NormFloat64())
			}
		}
		order := make([]int32, n)
		for i := range order {
			order[i] = int32(i)
		}
		slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(scores[b], scores[a]) })
		got := make([]int32, 1+r.IntN(n))
		best(got, scores)
		want := slices.Sorted(slices.Values(order[:len(got)]))
		if !slices.Equal(got, want) {
			t.Fatalf("best %d of %v: want %v, got %v", len(got), scores, want, got)
		}
	}
}

// TestWeigh holds it to the loop with branches where a weight is not finite.
func TestWeigh(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, w := range [][]float32{{1, 2, 3}, {inf, 2, 3}, {1, nan, 3}, {1, 2, -inf}} {
		for _, s := range [][]float32{{1, -1, 2}, {-1, 2, -3}, {nan, 1, -1}, {0, -1, inf}} {
			want := float32(0.5)
			for h, v := range s {
				if v > 0 {
					want += float32(v * w[h])
				}
			}
			if got := weigh(0.5, s, w); got != want && (got == got || want == want) {
				t.Errorf("scores %v, weights %v: want %g, got %g", s, w, want, got)
			}
		}
	}
}

// BenchmarkIndexScores rates 8192 rows, as of 32k tokens, with 64 heads, and takes the best 512: bytes are those of the
// unpacked rows.
func BenchmarkIndexScores(b *testing.B) {
	const rows, heads, d = 8192, 64, backend.IndexDim
	f := make([]float32, (rows+heads)*d+heads)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range f {
		f[i] = float32(r.NormFloat64())
	}
	kv, q, w := f[:rows*d], f[rows*d:(rows+heads)*d], f[(rows+heads)*d:]
	for _, v := range Variants() {
		b.Run(v, func(b *testing.B) {
			be, out, sel := benchBackend(b, v), make([]float32, rows), make([]int32, 512)
			b.SetBytes(4 * rows * d)
			for b.Loop() {
				be.scores(out, q, w, kv)
				best(sel, out)
			}
		})
	}
}
