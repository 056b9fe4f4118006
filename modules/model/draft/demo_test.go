package draft_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/demo"
	"github.com/ds4-go/ds4/modules/model/draft"
	"github.com/ds4-go/ds4/modules/model/sample"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
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
	lim := model.Limits{CtxTokens: 2048, Seqs: 2, Slots: 2 + model.SpareSlots, Rows: 256, Outs: 32, Tops: 32}
	b, err := cpu.New(s, lim, cpu.Options{Threads: 1})
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

// speaker is a conversation on the demo, which is read along with the head following, and answered from any place of it.
type speaker struct {
	e *model.Engine
	q *model.Seq
}

func newSpeaker(t *testing.T, e *model.Engine) *speaker {
	t.Helper()
	q, err := e.NewSeq()
	if err != nil {
		t.Fatal(err)
	}
	return &speaker{e, q}
}

// read makes the conversation stand in front of the last of these tokens.
func (s *speaker) read(t *testing.T, text []int32) {
	t.Helper()
	n := len(text) - 1
	if n == s.q.Len() {
		return
	}
	j, err := s.q.Feed(context.Background(), text[s.q.Len():n], 0, nil, nil)
	if err == nil {
		err = s.e.Draft(context.Background(), []model.Drafting{{Job: j, Next: text[n]}})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// answer goes on greedily behind what was read and its last token, to the end of an answer. track may be nil.
func (s *speaker) answer(t *testing.T, c *draft.Controller, last int32, most int, track *draft.Track) (said []int32) {
	t.Helper()
	snap, err := s.q.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Free()
	q, err := s.e.Restore(snap)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Free()
	m := &draft.Member{Seq: q, Sampler: sample.New(sample.Params{}), Next: last, Room: most, Track: track, Token: func(id int32, _ *model.Job, _ int) bool {
		said = append(said, id)
		return id != demoEnd
	}}
	for !m.Ended {
		if err := c.Step(context.Background(), s.e, []*draft.Member{m}); err != nil {
			t.Fatal(err)
		}
	}
	return said
}

// TestDemoAcceptance lets the demo's draft head guess four tokens behind every token of answers to held-out conversations, in
// both alignments: the text is that without guesses, and so many guesses are right, by place, where all before them were.
func TestDemoAcceptance(t *testing.T) {
	most := 200 // tokens of answers, and the rest of a conversation
	if testing.Short() {
		most = 100
	}
	for _, c := range []struct {
		name  string
		align model.Align
		first [2]float64 // bounds of the share of first guesses that are right
	}{{"trained", model.AlignNext, [2]float64{0.9, 1}}, {"same", model.AlignSame, [2]float64{0, 0.5}}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			at := acceptance(t, talkative(t, c.align), most)
			if share := float64(at[0].Kept) / float64(max(at[0].Drafted, 1)); share < c.first[0] || share > c.first[1] {
				t.Errorf("first guesses: want %g to %g of them right, got %.3f", c.first[0], c.first[1], share)
			}
		})
	}
}

// acceptance answers held-out conversations with four guesses of the draft head and without, and compares.
func acceptance(t *testing.T, e *model.Engine, most int) [draft.Most]struct{ Drafted, Kept int } {
	t.Helper()
	const depth = 4
	guessing, plain := draft.NewController(draft.Options{Fixed: depth}), draft.NewController(draft.Options{})
	tokens := 0
	for _, v := range heldOut(t) {
		if tokens >= most || len(v.IDs) > 512 {
			continue
		}
		sp := newSpeaker(t, e)
		for _, s := range v.Spans {
			start, end := int(s[0].(float64)), int(s[1].(float64))
			sp.read(t, v.IDs[:start])
			got := sp.answer(t, guessing, v.IDs[start-1], 2*(end-start), guessing.Track(nil, true))
			if want := sp.answer(t, plain, v.IDs[start-1], 2*(end-start), nil); !slices.Equal(got, want) {
				t.Fatalf("behind %d tokens: want %v, got %v", start, want, got)
			}
			tokens += len(got)
		}
		sp.q.Free()
	}
	st := guessing.Stats
	var right []string
	before := st.At[0].Drafted
	for _, p := range st.At[:depth] {
		right = append(right, fmt.Sprintf("%.3f of %d", float64(p.Kept)/float64(max(before, 1)), before))
		before = p.Kept
	}
	t.Logf("%d tokens; right by place, where all before were: %s; %s", tokens, strings.Join(right, ", "), st.String())
	return st.At
}

// TestDemoEdits has a conversation with the demo about a file that it gives back line by line, as it stands and then with a name
// changed. Its text is the same with guesses that are looked up; and it tells what these are worth.
func TestDemoEdits(t *testing.T) {
	f, err := demo.File()
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromGGUF(f, tokenizer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	file := []string{"route QX-71 river gate QX-72 stone", "route QX-73 garden gate QX-74 window", "lamp RT-22 table lamp RT-23 bread", "close QX-71 close QX-73 close RT-22"}
	asks := slices.Clone(file)
	for _, line := range file {
		asks = append(asks, strings.ReplaceAll(line, "QX", "VK"))
	}
	if testing.Short() {
		asks = asks[:2]
	}
	e := talkative(t, model.AlignNext)
	sp := newSpeaker(t, e)
	guessing, plain := draft.NewController(draft.Options{Fixed: 8}), draft.NewController(draft.Options{})
	var msgs []chat.Message
	var turns [][]int32
	var so []int32 // said so far
	right := 0
	for _, ask := range asks {
		msgs = append(msgs, chat.Message{Role: chat.RoleUser, Content: "Repeat: " + ask})
		segments, err := chat.Render(msgs, chat.Options{Checkpoint: chat.Preview, Thinking: chat.Off})
		if err != nil {
			t.Fatal(err)
		}
		prompt, _ := chat.Tokens(tok, segments)
		if n := len(so); !slices.Equal(prompt[:n], so) {
			t.Fatalf("want what was said so far as a beginning: %v, got %v", so, prompt[:n])
		}
		turns = append(turns, prompt[len(so):])
		sp.read(t, prompt)
		last := prompt[len(prompt)-1]
		got := sp.answer(t, guessing, last, 100, guessing.Track(draft.NewLookup(prompt), false))
		if want := sp.answer(t, plain, last, 100, nil); !slices.Equal(got, want) {
			t.Fatalf("%s: want %v, got %v", ask, want, got)
		}
		turns, so = append(turns, got), append(prompt, got...)
		text, err := tok.Decode(nil, got[:len(got)-1])
		if err != nil {
			t.Fatal(err)
		}
		if string(text) == ask {
			right++
		}
		msgs = append(msgs, chat.Message{Role: chat.RoleAssistant, Content: string(text)})
	}
	t.Logf("%d of %d lines given back as they stand; eight guesses: %s", right, len(asks), guessing.Stats.String())
	if drafted, kept := guessing.Stats.Guesses(); kept < drafted/4 {
		t.Errorf("want a quarter of the guesses right or more, got %d of %d", kept, drafted)
	}
	for _, m := range machines {
		looked(t, m, turns)
	}
}
