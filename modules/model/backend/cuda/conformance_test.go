package cuda_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/backendtest"
	"github.com/ds4-go/ds4/modules/model/backend/cuda"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// Where the tests run:
//
//	DS4_CUDA=require       a machine that claims a card: its absence fails
//	DS4_CUDA_LIBRARY=path  this libcuda: the stand-in of sim/ runs the kernels on the host
func open(sh backend.Shape, lim backend.Limits) (backend.Backend, error) {
	return cuda.New(sh, lim, options())
}

// options are the backend's, of the environment: DS4_CUDA_JOIN lists the joined launches, none if it is empty; not set, it leaves
// the default.
func options() cuda.Options {
	opt := cuda.Options{Library: os.Getenv("DS4_CUDA_LIBRARY")}
	if join, set := os.LookupEnv("DS4_CUDA_JOIN"); set {
		opt.Join = strings.FieldsFunc(join, func(r rune) bool { return r == ',' })
		if opt.Join == nil {
			opt.Join = []string{}
		}
	}
	return opt
}

// needCard skips where there is no card.
func needCard(t *testing.T) {
	t.Helper()
	sh := synth.T1().Shape
	b, err := open(sh, backend.Limits{CtxTokens: 64, Seqs: 1, Slots: 1, Rows: 8, Outs: 1, Tops: 1})
	switch {
	case err == nil:
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	case errors.Is(err, backend.ErrUnsupported) && os.Getenv("DS4_CUDA") != "require":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}

func simulated() bool { return os.Getenv("DS4_CUDA_LIBRARY") != "" }

// TestConformance: attention rounds queries and weights to f16, everything else is the oracle's arithmetic.
func TestConformance(t *testing.T) {
	needCard(t)
	c := conformance()
	if simulated() {
		c.Rows = []int{1, 2, 17, 33, 70}
		if os.Getenv("DS4_CUDA_ALL") != "" {
			c.Rows = nil
		}
	}
	c.Report = func(model, op, output string, rows int, worst float64) {
		t.Logf("%-8s %-14s %-8s rows %3d: %.2g", model, op, output, rows, worst)
	}
	if v := os.Getenv("DS4_CUDA_MODELS"); v != "" {
		for _, m := range []synth.Tiny{synth.T1(), synth.T1Q4(), synth.T1MXFP4(), synth.T2()} {
			if strings.Contains(v, m.Name) {
				c.Models = append(c.Models, m)
			}
		}
	}
	backendtest.Run(t, c)
}

// TestConformanceJoined: operations that may leave work to the next one and nobody following, at the edge of eight rows.
func TestConformanceJoined(t *testing.T) {
	needCard(t)
	c := conformance()
	c.Models, c.Rows = []synth.Tiny{synth.T1()}, []int{1, 2, 8, 9}
	c.Ops = []string{"hc_pre", "attn_qkv", "compress", "index_topk", "attend", "attn_out", "hc_post", "experts", "shared_expert", "hc_head"}
	backendtest.Run(t, c)
}

func conformance() backendtest.Config {
	return backendtest.Config{
		New: open,
		Bound: func(op string, _ int) float64 {
			switch op {
			case "attend":
				return 1e-3
			case "attn_qkv":
				return 4e-3 // one step of one of the 64 latent values that T1 has
			}
			return 0
		},
	}
}
