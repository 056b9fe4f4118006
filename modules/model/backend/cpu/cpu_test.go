package cpu_test

import (
	"testing"

	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/backendtest"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// TestConformance runs the suite on every variant that the machine has, with another thread count than the oracle's: every
// output must be the oracle's to the bit.
func TestConformance(t *testing.T) {
	for _, v := range cpu.Variants() {
		t.Run(v, func(t *testing.T) { conform(t, v) })
	}
}

func conform(t *testing.T, variant string) {
	all := []backendtest.Config{
		{Models: []synth.Tiny{synth.T1(), synth.T1Q4(), synth.T1MXFP4()}, Rows: []int{1, 2, 17, 33, 130}},
		{Models: []synth.Tiny{synth.T2()}, Rows: []int{1, 33}},
	}
	if testing.Short() { // under the race detector the plain loops take minutes
		all = []backendtest.Config{{Models: []synth.Tiny{synth.T0()}, Rows: []int{1, 17}}}
	}
	for _, c := range all {
		c.New = func(sh backend.Shape, lim backend.Limits) (backend.Backend, error) {
			return cpu.New(sh, lim, cpu.Options{Threads: 3, Variant: variant})
		}
		c.Report = func(model, op, output string, rows int, worst float64) {
			if worst != 0 {
				t.Errorf("%s %s %s, %d rows: want the oracle's bits, got an error of %g", model, op, output, rows, worst)
			}
		}
		backendtest.Run(t, c)
	}
}
