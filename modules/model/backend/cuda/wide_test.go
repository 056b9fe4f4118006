package cuda_test

import (
	"os"
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/cuda"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// TestWide: widths of the real model, where the warps of a block share a row of weights: rows one by one, and a few together,
// have the bits of many.
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
			prompt := synth.Prompt(m.Shape.Vocab, 10)
			want := s.tell(s.seq(), prompt, 10, 0)
			if got := s.tell(s.seq(), prompt, 9, 0); !slices.Equal(got[0], want[0]) {
				t.Fatal("one row: logits differ")
			}
			q := s.seq()
			s.run([]*model.Seq{q}, [][]int32{prompt[:7]})
			if got := s.run([]*model.Seq{q}, [][]int32{prompt[7:]}); !slices.Equal(got[0], want[0]) {
				t.Fatal("three rows: logits differ")
			}
		})
	}
}
