package perplexcmd

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

func demo(t *testing.T, c engine.Config) *engine.Model {
	t.Helper()
	c.Model = filepath.Join(t.TempDir(), "demo.gguf")
	if err := engine.WriteDemo(c.Model); err != nil {
		t.Fatal(err)
	}
	m, err := engine.Open(t.Context(), c, engine.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// plainly scores every token but the first: one token at a time, over whole rows of logits.
func plainly(t *testing.T, m *engine.Model, ids []int32) []float64 {
	t.Helper()
	q, err := m.NewSeq()
	if err != nil {
		t.Fatal(err)
	}
	defer q.Free()
	nll := make([]float64, len(ids))
	for i, id := range ids[:len(ids)-1] {
		job, err := q.Feed(t.Context(), []int32{id}, 0, []model.Want{{}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		logits, sum := job.Logits(nil, 0), 0.0
		for _, l := range logits {
			sum += math.Exp(float64(l))
		}
		nll[i+1] = math.Log(sum) - float64(logits[ids[i+1]])
	}
	return nll
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*math.Abs(b) }

// TestScores compares both ways of scoring with the plain way.
func TestScores(t *testing.T) {
	c := engine.Defaults()
	c.Rows, c.Outs = Rows, Rows
	m := demo(t, c)
	one := demo(t, engine.Defaults())

	ids := m.Tokenizer.Encode(nil, strings.Repeat("the river opens and the garden keeps a letter. ", 12))
	want := 0.0
	for _, x := range plainly(t, one, ids)[Context:] {
		want += x
	}
	s, err := Plain(t.Context(), m, ids, 1000, nil)
	if err != nil || s.Tokens != len(ids) || s.Scored != len(ids)-Context || !near(s.NLL, want) || !near(s.Perplexity(), math.Exp(want/float64(s.Scored))) {
		t.Errorf("plain: want %d of %d tokens and %.9f, got %+v, %v", len(ids)-Context, len(ids), want, s, err)
	}
	if s, err := Plain(t.Context(), m, ids, 50, nil); err != nil || s.Scored != 50 {
		t.Errorf("plain: want 50 tokens scored, got %+v, %v", s, err)
	}
	if _, err := Plain(t.Context(), m, ids[:Context], 50, nil); err == nil {
		t.Errorf("plain: want an error for %d tokens, got none", Context)
	}

	const first, second = "</think>Hello! I am here." + tokenizer.EOS, "<think>I call it.</think>Yes." + tokenizer.EOS
	talks := [][]int32{
		m.Tokenizer.EncodeTemplate(nil, tokenizer.BOS+"Be brief."+tokenizer.User+"Hello"+tokenizer.Assistant+first+tokenizer.User+"Again"+tokenizer.Assistant+first),
		m.Tokenizer.EncodeTemplate(nil, tokenizer.BOS+tokenizer.User+"Can you think?"+tokenizer.Assistant+second),
	}
	want, scored := 0.0, 0
	for i, text := range []string{first, second} {
		nll := plainly(t, one, talks[i])
		answer := m.Tokenizer.EncodeTemplate(nil, text)[1:] // the template opens or closes the reasoning
		for at := range talks[i] {
			if end := at + len(answer); end <= len(talks[i]) && slices.Equal(talks[i][at:end], answer) {
				for _, x := range nll[at:end] {
					want, scored = want+x, scored+1
				}
			}
		}
	}
	all := slices.Concat(talks...)
	if s, err = Chat(t.Context(), m, all, 1000, nil); err != nil || s.Tokens != len(all) || s.Scored != scored || !near(s.NLL, want) {
		t.Errorf("chat: want %d of %d tokens and %.9f, got %+v, %v", scored, len(all), want, s, err)
	}
	if s, err = Chat(t.Context(), m, all, 3, nil); err != nil || s.Scored != 3 {
		t.Errorf("chat: want 3 tokens scored, got %+v, %v", s, err)
	}
	if _, err = Chat(t.Context(), m, ids, 1000, nil); err == nil {
		t.Error("chat: want an error for a text without an answer, got none")
	}
}
