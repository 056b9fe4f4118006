package cuda

import "github.com/ds4-go/ds4/modules/model/backend"

// Top: see backend.TopArgs.
func (b *Backend) Top(a backend.TopArgs) {
	do(b, opTop, -1, func(c *calls) *[]backend.TopArgs { return &c.top }, a, (*Backend).top)
}

func (b *Backend) top(a backend.TopArgs) {
	words := 0
	if a.Masks.ID != 0 {
		words = int(a.Masks.RowBytes / 4)
	}
	p := topArgs{step: b.scr.step, logits: b.base(a.Logits), masks: b.base(a.Masks), parts: b.scr.parts, top: b.base(a.Top),
		vocab: int32(b.sh.Vocab), maskWords: int32(words)}
	launch(b, kTopParts, topParts, b.bound.tops, 1, 512, topRoom(b.sh.Vocab), p)
	launch(b, kTopMerge, b.bound.tops, 1, 1, 1024, 0, p)
}

// Pieces of the vocabulary, and the record of one: kernels/top.cu.
const (
	topParts     = 32
	topPartBytes = 1056
)

// topRoom is a block's shared memory: a key and a logit for every token of a piece.
func topRoom(vocab int) int { return (vocab + topParts - 1) / topParts * 12 }
