package kvstore

import (
	"context"
	"fmt"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// headed runs the tiny model with a draft head.
func headed(t *testing.T) (*model.Engine, *gguf.File) {
	t.Helper()
	f, err := synth.T1().File()
	if err != nil {
		t.Fatal(err)
	}
	head, err := synth.DraftFile(f, 1)
	if err != nil {
		t.Fatal(err)
	}
	sh, err := model.ReadShape(f)
	if err != nil {
		t.Fatal(err)
	}
	lim := model.Limits{CtxTokens: 200, Seqs: 2, Slots: 2 + model.SpareSlots, Rows: 64, Outs: 2, Tops: 2}
	b, err := cpu.New(sh, lim, cpu.Options{Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	w, err := model.Load(f, sh, b, nil)
	if err == nil {
		err = w.LoadDraft(head, f, sh, b)
	}
	if err != nil {
		t.Fatal(err)
	}
	e, err := model.New(b, w, sh, lim, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return e, f
}

// show evaluates tokens, the head following, and tells what it guesses behind the last one, and how sure it is.
func show(t *testing.T, e *model.Engine, q *model.Seq, tokens []int32) string {
	t.Helper()
	n := len(tokens) - 1
	j, err := q.Feed(context.Background(), tokens[:n], 0, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	list := []model.Drafting{{Job: j, Next: tokens[n], Want: 4}}
	if err := e.Draft(context.Background(), list); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(list[0].Tokens, list[0].Margins)
}

// TestWindow: a draft head guesses after a restart what it would have guessed, to the last bit; ds4's files do not have its
// window, and are read all the same.
func TestWindow(t *testing.T) {
	e, f := headed(t)
	prompt := synth.Prompt(e.Shape().Vocab, 200)
	lengths := []int{5, 36, 128, 131}
	if testing.Short() {
		lengths = lengths[2:]
	}
	for _, format := range []Format{Blocks, V1} {
		for _, n := range lengths {
			st, err := tinyStore(t.TempDir(), e, f, format, func(ev Event) {
				if ev.Err != nil {
					t.Error(ev.Err)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			q, err := e.NewSeq()
			if err != nil {
				t.Fatal(err)
			}
			show(t, e, q, prompt[:n+1])
			snap, err := q.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			want := show(t, e, q, prompt[n:n+7])
			q.Free()
			here := func(f func()) error { f(); return nil }
			if err := st.Save(FromSnapshot(snap, here), Mark{Reason: Cold, Text: engineText(n)}); err != nil {
				t.Fatal(err)
			}
			st.Flush()
			h, err := st.Lookup(Query{Tokens: prompt[:n+1], Text: engineText(n + 1)})
			if err != nil {
				t.Fatal(err)
			}
			read, err := e.Import(h.Tokens, h.Page, h.State)
			if err != nil {
				t.Fatal(err)
			}
			h.Close(Used)
			if q, err = e.Restore(read); err != nil {
				t.Fatal(err)
			}
			if got := show(t, e, q, prompt[n:n+7]); format == Blocks && got != want {
				t.Errorf("%d tokens: want guesses %s, got %s", n, want, got)
			}
			q.Free()
			read.Free()
			if err := st.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}
}
