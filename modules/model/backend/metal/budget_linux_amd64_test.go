package metal_test

import (
	"testing"

	"github.com/ds4-go/ds4/modules/metal/standin"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// TestDispatches keeps the budget of a decoded token: one command buffer, one encoder, at most 15 dispatches a layer. Outside the
// layers are embed, the first hc_mix, hc_mix and hc_pre of the head, logits, top_parts and top_merge.
func TestDispatches(t *testing.T) {
	needGPU(t)
	tiny := synth.T1()
	e := gpu(t, tiny, limits(256, 1, 40))
	q := sequence(t, e)
	prompt := synth.Prompt(tiny.Shape.Vocab, 48)
	logits(t, q, prompt[:40], 0) // the indexer selects from here on
	for _, id := range prompt[40:] {
		if err := standin.Reset(); err != nil {
			t.Fatal(err)
		}
		logits(t, q, []int32{id}, 0)
		total, counts, err := standin.Counts()
		if err != nil {
			t.Fatal(err)
		}
		want := uint64(7)
		for _, ratio := range tiny.Shape.Ratio {
			want += 13
			if ratio == 4 {
				want += 2 // index_scores, index_select
			}
		}
		if total.CommandBuffers != 1 || total.Encoders != 1 || total.Dispatches != want {
			t.Errorf("token %d: want 1 command buffer, 1 encoder and %d dispatches, got %+v: %v", q.Len()-1, want, total, counts)
		}
	}
}
