package cuda

import "github.com/ds4-go/ds4/modules/model/backend"

// Logits: see backend.LogitsArgs.
func (b *Backend) Logits(a backend.LogitsArgs) {
	do(b, opLogits, -1, func(c *calls) *[]backend.LogitsArgs { return &c.logits }, a, (*Backend).logits)
}

func (b *Backend) logits(a backend.LogitsArgs) {
	if b.bound.outs == 0 {
		return
	}
	b.matmul(product{w: [4]backend.Weight{a.Output}, out: [4]addr{b.base(a.Logits)}, f: b.formsX(a.X, countOuts), x: b.base(a.X), which: countOuts})
}
