package synth

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// flashSpecials have the ids of the real vocabulary, where it is of the real size: some clients count on them.
var flashSpecials = []struct {
	id   int
	text string
	typ  int32
}{
	{128803, "<｜User｜>", 3}, {128804, "<｜Assistant｜>", 3},
	{128821, "<think>", 4}, {128822, "</think>", 4}, {128825, "｜DSML｜", 4},
	{128828, "<｜latest_reminder｜>", 3}, {128829, "<｜action｜>", 3}, {128830, "<｜query｜>", 3},
	{128831, "<｜authority｜>", 3}, {128832, "<｜domain｜>", 3}, {128836, "<｜title｜>", 3}, {128845, "<｜read_url｜>", 3},
}

// flashVocab is a byte-level vocabulary of n tokens: the demo's words, then tokens that no merge makes, so that a model
// may say them and no text becomes them. In a smaller vocabulary the special tokens are as far from the end.
func flashVocab(n int) (*vocab, error) {
	v := &vocab{ids: map[string]int{}}
	for _, s := range demoFirst {
		v.add(s, 3, false)
	}
	for b := range 256 {
		v.add(alphabet(b), 1, false)
	}
	for _, w := range demoWords {
		v.word(slices.Collect(letters(" "+w)), false)
	}
	for _, w := range demoOpeners {
		v.word(slices.Collect(letters(w)), false)
	}
	shift := n - backend.Flash().Vocab
	if first := flashSpecials[0].id + shift; len(v.tokens) > first {
		return nil, fmt.Errorf("vocabulary: want %d tokens or more, got %d", n+len(v.tokens)-first, n)
	}
	fill := func(end int) {
		for id := len(v.tokens); id < end; id++ {
			v.add(alphabet(' ')+"t"+strconv.Itoa(id), 1, false)
		}
	}
	for _, s := range flashSpecials {
		fill(s.id + shift)
		v.add(s.text, s.typ, false)
	}
	fill(n)
	return v, nil
}
