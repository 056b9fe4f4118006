package metal_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/backendtest"
	"github.com/ds4-go/ds4/modules/model/backend/metal"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// Where the tests run: on a Mac, the GPU; on Linux, the stand-in (clang-19). DS4_METAL=require says that the machine claims a
// GPU, or a compiler: their absence fails. DS4_METAL_ALL=1 runs every model and row count on the stand-in too.
func open(t testing.TB, sh backend.Shape, lim backend.Limits) (backend.Backend, error) {
	t.Helper()
	return metal.New(sh, lim, metal.Options{Library: library(t)})
}

// needGPU skips where there is none.
func needGPU(t *testing.T) {
	t.Helper()
	b, err := open(t, synth.T1().Shape, backend.Limits{CtxTokens: 64, Seqs: 1, Slots: 1, Rows: 8, Outs: 1, Tops: 1})
	switch {
	case err == nil:
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	case errors.Is(err, backend.ErrUnsupported) && os.Getenv("DS4_METAL") != "require":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}

// TestConformance: everything is the oracle's arithmetic but for the order of sums and the platform's transcendental functions.
func TestConformance(t *testing.T) {
	needGPU(t)
	c := backendtest.Config{
		New: func(sh backend.Shape, lim backend.Limits) (backend.Backend, error) { return open(t, sh, lim) },
		Bound: func(op string, _ int) float64 {
			if op == "attn_qkv" {
				return 4e-3 // one step of one of the 64 latent values that T1 has
			}
			return 0
		},
		Report: func(model, op, output string, rows int, worst float64) {
			t.Logf("%-8s %-14s %-8s rows %3d: %.2g", model, op, output, rows, worst)
		},
	}
	all := []synth.Tiny{synth.T1(), synth.T1Q4(), synth.T1MXFP4(), synth.T2()}
	switch {
	case !simulated || os.Getenv("DS4_METAL_ALL") != "":
		backendtest.Run(t, c)
	default: // the other models differ in the types of experts
		if v := os.Getenv("DS4_METAL_OPS"); v != "" {
			c.Ops = strings.Split(v, ",")
		}
		c.Models, c.Rows = all[:1], []int{1, 2, 17, 33}
		backendtest.Run(t, c)
		if c.Ops == nil {
			c.Models, c.Rows, c.Ops = all[1:3], []int{1, 2, 17}, []string{"experts"}
			backendtest.Run(t, c)
		}
	}
}
