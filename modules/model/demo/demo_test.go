package demo_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/demo"
)

// vector is a conversation that the model never saw in training, with what the float model in PyTorch made of it.
type vector struct {
	IDs      []int32   `json:"ids"`
	Spans    [][3]any  `json:"spans"` // start, end, skill of every answer
	Logprobs []float64 `json:"logprobs"`
}

// Bounds of the difference to the float model, in nats of one token's log-probability, over the tokens of answers.
const (
	meanBound = 0.02 // of the mean: the model as a whole is not worse
	oneBound  = 0.10 // of the mean of absolute differences
)

// TestVectors runs held-out conversations through the engine: the quantised model says what the float one says.
func TestVectors(t *testing.T) {
	vectors := readVectors(t)
	var sum, abs, float float64
	n, longest := 0, 0
	for _, v := range vectors {
		longest = max(longest, len(v.IDs))
	}
	e := engine(t, longest+8, false, model.Options{})
	for _, v := range vectors {
		got := logprobs(t, e, v.IDs)
		for _, s := range v.Spans {
			for i := int(s[0].(float64)) - 1; i < int(s[1].(float64))-1; i++ {
				d := got[i] - v.Logprobs[i]
				sum, abs, float, n = sum+d, abs+math.Abs(d), float+v.Logprobs[i], n+1
			}
		}
	}
	k := float64(n)
	t.Logf("%d tokens of answers: float %.4f nats, engine %.4f, mean absolute difference %.4f", n, -float/k, -(float+sum)/k, abs/k)
	if n == 0 || math.Abs(sum/k) > meanBound || abs/k > oneBound {
		t.Errorf("want differences of at most %g in the mean and %g in size, got %.4f and %.4f over %d tokens", meanBound, oneBound, sum/k, abs/k, n)
	}
}

func readVectors(t *testing.T) (vectors []vector) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	return vectors
}

func engine(t *testing.T, ctx int, head bool, opt model.Options) *model.Engine {
	t.Helper()
	f, err := demo.File()
	if err != nil {
		t.Fatal(err)
	}
	sh, err := model.ReadShape(f)
	if err != nil {
		t.Fatal(err)
	}
	lim := model.Limits{CtxTokens: ctx, Seqs: 1, Slots: 1 + model.SpareSlots, Rows: 128, Outs: 128, Tops: 128}
	b, err := cpu.New(sh, lim, cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	w, err := model.Load(f, sh, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if head {
		h, err := demo.DraftFile()
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range model.CheckDraftFile(h, f, sh) {
			t.Error(err)
		}
		if err := w.LoadDraft(h, f, sh, b); err != nil {
			t.Fatal(err)
		}
	}
	e, err := model.New(b, w, sh, lim, opt)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// logprobs are the log-probabilities of every next token.
func logprobs(t *testing.T, e *model.Engine, ids []int32) []float64 {
	t.Helper()
	q, err := e.NewSeq()
	if err != nil {
		t.Fatal(err)
	}
	defer q.Free()
	var out []float64
	var row []float32
	for at := 0; at < len(ids); at += 128 {
		part := ids[at:min(at+128, len(ids))]
		wants := make([]model.Want, len(part))
		for i := range wants {
			wants[i].Row = i
		}
		jobs := []model.Job{{Seq: q, Tokens: part, Wants: wants[:len(part):len(part)]}}
		if err := e.Run(context.Background(), jobs); err != nil {
			t.Fatal(err)
		}
		for i := range part {
			if at+i+1 == len(ids) {
				break
			}
			row = jobs[0].Logits(row[:0], i)
			out = append(out, logprob(row, ids[at+i+1]))
		}
		jobs[0].Keep(len(part))
	}
	return out
}

func logprob(logits []float32, id int32) float64 {
	top := math.Inf(-1)
	for _, x := range logits {
		top = max(top, float64(x))
	}
	sum := 0.0
	for _, x := range logits {
		sum += math.Exp(float64(x) - top)
	}
	return float64(logits[id]) - top - math.Log(sum)
}

// TestCurrent: the files say that they are of this build, in memory and written.
func TestCurrent(t *testing.T) {
	for _, of := range []struct {
		name  string
		file  func() (*gguf.File, error)
		write func(string) error
	}{{"model", demo.File, demo.Write}, {"draft head", demo.DraftFile, demo.WriteDraft}} {
		f, err := of.file()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "demo.gguf")
		if err := of.write(path); err != nil {
			t.Fatal(err)
		}
		g, err := gguf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if !demo.Current(f) || !demo.Current(g) {
			t.Errorf("%s: want the file of this build, got another", of.name)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
}
