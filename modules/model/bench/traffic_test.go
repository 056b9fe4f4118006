package bench

import (
	"math"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// published is the real model with its experts in the types of a published file.
func published(gateUp, down gguf.Type) *Traffic {
	return newTraffic(backend.Flash(), false, func(s model.Spec) (gguf.Type, bool) {
		switch {
		case strings.Contains(s.Name, "ffn_down_exps"):
			return down, true
		case strings.Contains(s.Name, "_exps."):
			return gateUp, true
		}
		return s.Types[0], true
	})
}

// TestTrafficWeights compares with the table of model.md 6.1.
func TestTrafficWeights(t *testing.T) {
	q2, q4 := published(gguf.TypeIQ2_XXS, gguf.TypeQ2_K), published(gguf.TypeQ4_K, gguf.TypeQ4_K)
	for _, c := range []struct {
		name    string
		traffic *Traffic
		n       int
		want    int64
	}{
		{"q2, indexer bypassed", q2, 2051, 9_193_024_420}, {"q2, indexer active", q2, 2052, 9_556_356_004},
		{"q4, indexer bypassed", q4, 2051, 11_019_119_524}, {"q4, indexer active", q4, 2052, 11_382_451_108},
	} {
		if got := int64(c.traffic.Step(c.n, 1)) - c.traffic.Cache(c.n); got != c.want {
			t.Errorf("%s: want %d bytes of weights, got %d", c.name, c.want, got)
		}
	}
}

// TestTrafficCache compares with the column "packed" of model.md 6.2.
func TestTrafficCache(t *testing.T) {
	q2 := published(gguf.TypeIQ2_XXS, gguf.TypeQ2_K)
	for n, want := range map[int]int64{1024: 6_436_320, 8192: 13_148_032, 32768: 24_160_384, 131072: 68_209_792, 1 << 20: 479_337_600} {
		if got := q2.Cache(n); got != want {
			t.Errorf("%d tokens: want %d bytes, got %d", n, want, got)
		}
	}
}

// TestTrafficBatch compares with the example of model.md 6.3: two rows read 11.34 GB.
func TestTrafficBatch(t *testing.T) {
	q2 := published(gguf.TypeIQ2_XXS, gguf.TypeQ2_K)
	got := (q2.Step(2052, 2) - 2*float64(q2.Cache(2052))) / 1e9
	if math.Abs(got-11.34) > 0.005 {
		t.Errorf("two rows: want 11.34 GB, got %.3f", got)
	}
	q2.fixed = true
	routed := 0.0
	for _, b := range q2.expert[3:] {
		routed += 5.859375 * float64(b) // 256(1 − (250/256)²) − 6
	}
	if fixed := q2.Step(2052, 2) - 2*float64(q2.Cache(2052)); math.Abs(fixed+routed-got*1e9) > 1e3 {
		t.Errorf("fixed route: want %.0f bytes, got %.0f", got*1e9-routed, fixed)
	}
}
