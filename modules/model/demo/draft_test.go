package demo_test

import (
	"context"
	"testing"

	"github.com/ds4-go/ds4/modules/model"
)

const (
	guesses = 2    // made behind every token
	least   = 0.95 // of the first ones that are the next token, with the alignment of training
	enough  = 200  // tokens of answers
	longest = 512  // conversations, in tokens
)

// TestDraftHead counts how many of the draft head's guesses are what held-out answers go on with, in both alignments. A
// guess counts as made where all before it were right, as none other is looked at in use.
func TestDraftHead(t *testing.T) {
	vectors := readVectors(t)
	for _, align := range []struct {
		name string
		is   model.Align
	}{{"trained", model.AlignNext}, {"same", model.AlignSame}} {
		e := engine(t, longest+8, true, model.Options{Align: align.is})
		var made, right [guesses]int
		for _, v := range vectors {
			if made[0] < enough && len(v.IDs) <= longest {
				follow(t, e, v, &made, &right)
			}
		}
		share := [guesses]float64{}
		for i := range share {
			share[i] = float64(right[i]) / float64(max(made[i], 1))
		}
		t.Logf("%s: right where made, by depth: %.3f of %v", align.name, share, made)
		if align.is == model.AlignNext && share[0] < least {
			t.Errorf("%s: first guesses: want %g of them right, got %.3f of %d", align.name, least, share[0], made[0])
		}
	}
}

// follow runs a conversation and lets the head guess behind every token of its answers.
func follow(t *testing.T, e *model.Engine, v vector, made, right *[guesses]int) {
	t.Helper()
	q, err := e.NewSeq()
	if err != nil {
		t.Fatal(err)
	}
	defer q.Free()
	at := 0
	run := func(n, want int) []int32 {
		jobs := []model.Job{{Seq: q, Tokens: v.IDs[at : at+n]}}
		if err := e.Run(context.Background(), jobs); err != nil {
			t.Fatal(err)
		}
		jobs[0].Keep(n)
		at += n
		list := []model.Drafting{{Job: &jobs[0], Next: v.IDs[at], Want: want}}
		if err := e.Draft(context.Background(), list); err != nil {
			t.Fatal(err)
		}
		return list[0].Tokens
	}
	for _, s := range v.Spans {
		start, end := int(s[0].(float64)), int(s[1].(float64))
		for at < start {
			run(min(128, start-at), 0)
		}
		for at < end-1 {
			got := run(1, min(guesses, end-1-at))
			for i := range min(guesses, end-1-at) {
				made[i]++
				if i >= len(got) || got[i] != v.IDs[at+1+i] {
					break
				}
				right[i]++
			}
		}
	}
}
