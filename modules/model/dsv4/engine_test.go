package dsv4_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/dsv4"
	"github.com/ds4-go/ds4/modules/model/synth"
)

type file []byte

func (f file) WriteAt(p []byte, off int64) (int, error) { return copy(f[off:], p), nil }

func newEngine(t *testing.T) *model.Engine {
	t.Helper()
	f, err := synth.T1().File()
	if err != nil {
		t.Fatal(err)
	}
	sh, err := model.ReadShape(f)
	if err != nil {
		t.Fatal(err)
	}
	lim := model.Limits{CtxTokens: 400, Seqs: 24, Slots: 28, Rows: 64, Outs: 1, Tops: 1}
	b, err := cpu.New(sh, lim, cpu.Options{Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
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

func feed(t *testing.T, q *model.Seq, tokens []int32) []float32 {
	t.Helper()
	j, err := q.Feed(context.Background(), tokens, 0, []model.Want{{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return j.Logits(nil, 0)
}

// A session that was exported and imported goes on with the same bits, whatever its length leaves unfinished.
func TestEngine(t *testing.T) {
	e := newEngine(t)
	prompt := synth.Prompt(e.Shape().Vocab, 300)
	const more = 5 // completes a window of ratio 4
	q, err := e.NewSeq()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 2, 3, 4, 6, 7, 36, 125, 126, 127, 128, 129, 130, 255, 256, 257} {
		logits := feed(t, q, prompt[q.Len():n])
		s, err := q.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		f := make(file, dsv4.Bytes(e.Shape(), n))
		err = dsv4.Write(f, e.Shape(), dsv4.Session{CtxTokens: 400, Tokens: s.Tokens(), State: s.State(), Logits: logits,
			Page: func(i int, dst []byte) error {
				done := make(chan error, 1)
				s.ReadPage(i, dst, func(err error) { done <- err })
				return <-done
			}})
		if err != nil {
			t.Fatal(err)
		}
		s.Free()
		branch, err := q.Branch()
		if err != nil {
			t.Fatal(err)
		}
		want := feed(t, branch, prompt[n:n+more])
		branch.Free()
		for i, v := range feed(t, imported(t, e, f), prompt[n:n+more]) {
			if v != want[i] {
				t.Fatalf("%d tokens: logit %d: want %g, got %g", n, i, want[i], v)
			}
		}
	}
}

// imported is a sequence made from a payload.
func imported(t *testing.T, e *model.Engine, f file) *model.Seq {
	t.Helper()
	p, err := dsv4.Open(bytes.NewReader(f), int64(len(f)), e.Shape())
	if err != nil {
		t.Fatal(err)
	}
	image, err := p.State()
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Import(p.Tokens(), p.Page, image)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Free()
	q, err := e.Restore(s)
	if err != nil {
		t.Fatal(err)
	}
	return q
}
