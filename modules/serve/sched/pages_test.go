package sched_test

import (
	"context"
	"testing"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
	"github.com/ds4-go/ds4/modules/serve/sched"
)

// TestOnePage: where a context is a single page and one session has it, a conversation is still known from turn to turn, and
// beside a second one.
func TestOnePage(t *testing.T) {
	s, err := newTinyWith(sched.Config{}, nil, kvstore.Blocks, func(lim *model.Limits, _ int64) {
		lim.Seqs, lim.Slots, lim.CtxTokens = 1, 1+model.SpareSlots, 1024
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	var talks [2][]int32
	for turn := range turns {
		for i := range talks {
			all, start, err := s.say(talks[i], i, turn)
			if err != nil {
				t.Fatalf("talk %d turn %d: %v", i, turn, err)
			}
			if start.Cached < len(talks[i]) {
				t.Errorf("talk %d turn %d: want %d tokens known, got %d (%s)", i, turn, len(talks[i]), start.Cached, start.Why)
			}
			talks[i] = all
		}
	}
}
