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
	launch(b, kTop, b.bound.tops, 1, 1, 1024, 0, topArgs{step: b.scr.step, logits: b.base(a.Logits), masks: b.base(a.Masks), adj: b.scr.adjusted,
		top: b.base(a.Top), vocab: int32(b.sh.Vocab), maskWords: int32(words)})
}
