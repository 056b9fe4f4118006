package cuda_test

import (
	"os"
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/cuda"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// TestWide: widths of the real model, where the warps of a block share a row of weights: the last row alone, and three
// together, have the bits of all.
func TestWide(t *testing.T) {
	needCard(t)
	for _, m := range []synth.Tiny{synth.T1(), synth.T1Q4(), synth.T1MXFP4()} {
		if simulated() && m.Name != "T1" && os.Getenv("DS4_CUDA_ALL") == "" {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			m.Name += "-wide"
			m.Shape.Embd, m.Shape.ExpertDim, m.Shape.Layers, m.Shape.Ratio, m.Shape.Hash = 4096, 2048, 2, []int{4, 128}, 0
			s := newStory(t, m, cuda.Options{}, false)
			n := 10
			if simulated() {
				n = 4
			}
			prompt := synth.Prompt(m.Shape.Vocab, n)
			want := s.tell(s.seq(), prompt, n, 0)
			for _, last := range []int{1, 3} {
				q := s.seq()
				s.run([]*model.Seq{q}, [][]int32{prompt[:n-last]})
				if got := s.run([]*model.Seq{q}, [][]int32{prompt[n-last:]}); !slices.Equal(got[0], want[0]) {
					t.Fatalf("%d rows: logits differ", last)
				}
			}
		})
	}
}
