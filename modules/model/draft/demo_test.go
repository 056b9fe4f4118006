package draft_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/demo"
	"github.com/ds4-go/ds4/modules/model/draft"
	"github.com/ds4-go/ds4/modules/model/sample"
)

const demoEnd = 1 // the demo's end of an answer

// talkative is the demo with its draft head.
func talkative(t *testing.T, align model.Align) *model.Engine {
	t.Helper()
	f, err := demo.File()
	if err != nil {
		t.Fatal(err)
	}
	head, err := demo.DraftFile()
	if err != nil {
		t.Fatal(err)
	}
	s, err := model.ReadShape(f)
	if err != nil {
		t.Fatal(err)
	}
	lim := model.Limits{CtxTokens: 2048, Seqs: 1, Slots: 1 + model.SpareSlots, Rows: 256, Outs: 32, Tops: 32}
	b, err := cpu.New(s, lim, cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	w, err := model.Load(f, s, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.LoadDraft(head, f, s, b); err != nil {
		t.Fatal(err)
	}
	e, err := model.New(b, w, s, lim, model.Options{Align: align})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// answer reads a prompt and answers it greedily. track, if not nil, makes what guesses behind the prompt.
func answer(t *testing.T, e *model.Engine, c *draft.Controller, prompt []int32, most int, track func(prompt []int32) *draft.Track) (said []int32) {
	t.Helper()
	q, err := e.NewSeq()
	if err != nil {
		t.Fatal(err)
	}
	defer q.Free()
	j, err := q.Feed(context.Background(), prompt, 0, []model.Want{{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := &draft.Member{Seq: q, Sampler: sample.New(sample.Params{}), Room: most, Token: func(id int32, _ *model.Job, _ int) bool {
		said = append(said, id)
		return id != demoEnd
	}}
	if track != nil {
		m.Track = track(prompt)
	}
	if err := c.First(context.Background(), e, m, j); err != nil {
		t.Fatal(err)
	}
	for !m.Ended {
		if err := c.Step(context.Background(), e, []*draft.Member{m}); err != nil {
			t.Fatal(err)
		}
	}
	return said
}

// TestDemoAcceptance lets the demo's draft head guess four tokens behind every token of answers to held-out conversations, in
// both alignments: the text is that without guesses, and so many guesses are right, by place, where all before them were.
func TestDemoAcceptance(t *testing.T) {
	const depth = 4
	most := 1200 // tokens of answers
	if testing.Short() {
		most = 150
	}
	for _, c := range []struct {
		name  string
		align model.Align
		first [2]float64 // bounds of the share of first guesses that are right
	}{{"trained", model.AlignNext, [2]float64{0.9, 1}}, {"same", model.AlignSame, [2]float64{0, 0.5}}} {
		e := talkative(t, c.align)
		ctl, plain := draft.NewController(draft.Options{Fixed: depth}), draft.NewController(draft.Options{})
		tokens := 0
		for _, v := range heldOut(t) {
			for _, s := range v.Spans {
				start, end := int(s[0].(float64)), int(s[1].(float64))
				if tokens >= most || len(v.IDs) > 1024 {
					continue
				}
				got := answer(t, e, ctl, v.IDs[:start], 2*(end-start), func([]int32) *draft.Track { return ctl.Track(nil, true) })
				if tokens%4 == 0 { // a quarter of them, for the time it takes
					if want := answer(t, e, plain, v.IDs[:start], 2*(end-start), nil); !slices.Equal(got, want) {
						t.Fatalf("%s: want %v, got %v", c.name, want, got)
					}
				}
				tokens += len(got)
			}
		}
		st := ctl.Stats
		var right []string
		before := st.At[0].Drafted
		for _, p := range st.At[:depth] {
			right = append(right, fmt.Sprintf("%.3f of %d", float64(p.Kept)/float64(max(before, 1)), before))
			before = p.Kept
		}
		t.Logf("%s, %d tokens: right by place, where all before were: %s; %s", c.name, tokens, strings.Join(right, ", "), st.String())
		if share := float64(st.At[0].Kept) / float64(max(st.At[0].Drafted, 1)); share < c.first[0] || share > c.first[1] {
			t.Errorf("%s: first guesses: want %g to %g of them right, got %.3f", c.name, c.first[0], c.first[1], share)
		}
	}
}
