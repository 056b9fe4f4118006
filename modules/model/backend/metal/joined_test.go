package metal_test

import (
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/metal"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// TestJoined: operations that wait for each other and are launched together give the bits of operations one by one, which
// TestConformance compares with the oracle.
func TestJoined(t *testing.T) {
	needGPU(t)
	for _, tiny := range []synth.Tiny{synth.T1(), synth.T1Q4(), synth.T1MXFP4()} {
		t.Run(tiny.Name, func(t *testing.T) {
			lim := limits(256, 1, 40)
			open := func(serial bool) *model.Engine {
				return engine(t, tiny, lim, func(s model.Shape, l model.Limits) (backend.Backend, error) {
					return metal.New(s, l, metal.Options{Library: library(t), Serial: serial})
				})
			}
			a, b := sequence(t, open(false)), sequence(t, open(true))
			prompt := synth.Prompt(tiny.Shape.Vocab, 52)
			at := 0
			steps := []int{2, 1, 33, 1, 1, 4, 3} // before and after the indexer selects; windows that close
			if tiny.Name != "T1" {
				steps = []int{3, 1}
			}
			for _, n := range steps {
				next := prompt[at : at+n]
				if got, want := logits(t, a, next, 0), logits(t, b, next, 0); !slices.Equal(got, want) {
					t.Errorf("tokens %d to %d: other logits than from operations one by one, error %.2g", at, at+n-1, rms(got, want))
				}
				at += n
			}
		})
	}
}
