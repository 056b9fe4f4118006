package model_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// limits are what the tests of this package run with.
func limits(ctx, seqs, rows int) model.Limits {
	return model.Limits{CtxTokens: ctx, Seqs: seqs, Slots: seqs + model.SpareSlots, Rows: rows, Outs: min(rows, 32), Tops: min(2*rows, 64)}
}

// files caches the tiny models: making one takes longer than running it.
var files = map[string]*gguf.File{}

// engine runs a tiny model on the CPU.
func engine(t testing.TB, tiny synth.Tiny, lim model.Limits, opt cpu.Options) *model.Engine {
	t.Helper()
	f := files[tiny.Name]
	if f == nil {
		var err error
		if f, err = tiny.File(); err != nil {
			t.Fatal(err)
		}
		files[tiny.Name] = f
	}
	sh, err := model.ReadShape(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := cpu.New(sh, lim, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	w, err := model.Load(f, sh, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := model.New(b, w, sh, lim, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// golden is one run of model.md 7.4.
type golden struct {
	name   string
	tiny   synth.Tiny
	prompt int
	ids    []int32 // greedy, step 0 … n
	first  [4]float32
	last   [4]float32
	sum    string // SHA-256 of the logits of all steps
}

var goldens = []golden{
	{"G1", synth.T1(), 1, []int32{1}, [4]float32{0.269076705, 3.16432619, 0.590921819, 0.869776845}, [4]float32{0.269076705, 3.16432619, 0.590921819, 0.869776845},
		"92167801a48a74c27f7460642ebcbd074474b9d1d69167e686a5686c0692ab1b"},
	{"G2", synth.T1(), 150, []int32{479, 44, 76, 457, 447, 142, 406, 366, 322, 364, 376, 293, 191},
		[4]float32{0.0527974367, -0.283954084, 0.107938357, 0.299923718}, [4]float32{-0.352434993, 0.165969521, 0.497314513, -1.4075315},
		"e091476c8621363a62bccced6fd41d1de4c1a9d150cc0aa7f3554acbe4af30ba"},
	{"G3", synth.T1(), 700, []int32{66, 118, 268, 118, 22, 220, 453, 317, 177, 320, 310, 22, 331, 275, 171, 491, 274, 229, 132, 421, 421},
		[4]float32{0.425471187, 1.72116399, -0.344222426, 1.64572322}, [4]float32{-0.675860703, 1.15201652, 0.0799117088, 0.793796241},
		"6f888328d24ca1540c368fd0eaa2ae384510d5d467d10536f6a18b37da73f015"},
	{"G4", synth.T2(), 300, []int32{769, 183, 331, 798, 340, 556, 799, 853, 371},
		[4]float32{-0.618298888, -0.279725403, -0.378983915, 2.75484991}, [4]float32{-0.500374079, 0.960053325, 0.206098393, 0.000901520252},
		"68a48a70022bf735ccc7b78ef75047e5cd471fd478723ed7d75c19863d05e636"},
	{"G5", synth.T1Q4(), 150, []int32{336, 274, 384, 93, 361, 141, 150, 314, 124, 413, 273, 364, 342},
		[4]float32{0.142254725, -2.16262126, -0.408801138, -1.11910272}, [4]float32{-0.205736339, 0.0343669355, 0.888144255, -0.856177747},
		"273a4962bc7b8bcb264ea9be0e8bd83f9a467c7cb5e6ea42db54bb8daef39dc3"},
}

// TestGolden runs every golden prompt in one batch and decodes greedily: every bit of every logit must be the reference's.
func TestGolden(t *testing.T) {
	for _, g := range goldens {
		if testing.Short() && g.prompt > 150 {
			continue
		}
		t.Run(g.name, func(t *testing.T) {
			e := engine(t, g.tiny, limits(g.prompt+len(g.ids), 1, max(g.prompt, 1)), cpu.Options{Poison: true})
			g.check(t, e, func(q *model.Seq, prompt []int32) *model.Job {
				j, err := q.Feed(context.Background(), prompt, 0, []model.Want{{}}, nil)
				if err != nil {
					t.Fatal(err)
				}
				return j
			})
		})
	}
}

// check feeds the prompt and compares ids, sample logits and the hash of everything.
func (g *golden) check(t *testing.T, e *model.Engine, feed func(*model.Seq, []int32) *model.Job) {
	t.Helper()
	q, err := e.NewSeq()
	if err != nil {
		t.Fatal(err)
	}
	defer q.Free()
	h := sha256.New()
	j := feed(q, synth.Prompt(g.tiny.Shape.Vocab, g.prompt))
	var ids []int32
	for {
		logits := j.Logits(nil, 0)
		if err := binary.Write(h, binary.LittleEndian, logits); err != nil {
			t.Fatal(err)
		}
		switch len(ids) {
		case 0:
			sameFloats(t, "step 0", logits[:4], g.first[:])
		case len(g.ids) - 1:
			sameFloats(t, "last step", logits[:4], g.last[:])
		}
		id := j.Top(0).ID(0)
		if top := slices.Index(logits, slices.Max(logits)); int(id) != top {
			t.Fatalf("step %d: top candidate %d, greatest logit %d", len(ids), id, top)
		}
		if ids = append(ids, id); len(ids) == len(g.ids) {
			break
		}
		if j, err = q.Feed(context.Background(), []int32{id}, 0, []model.Want{{}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(ids, g.ids) {
		t.Errorf("greedy ids: want %v, got %v", g.ids, ids)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != g.sum {
		t.Errorf("logits: want %s, got %s", g.sum, got)
	}
}

func sameFloats(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if g, w := fmt.Sprintf("%.9g", got[i]), fmt.Sprintf("%.9g", want[i]); g != w || math.IsNaN(float64(got[i])) {
			t.Errorf("%s: logit %d: want %s, got %s", what, i, w, g)
		}
	}
}
