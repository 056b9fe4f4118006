package cpu

import (
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Logits: see backend.LogitsArgs.
func (b *Backend) Logits(a backend.LogitsArgs) {
	if b.skip("logits", -1) || len(b.step.Outs) == 0 {
		return
	}
	n := len(b.step.Outs)
	b.matmul(b.all(a.Logits, n), b.sh.Vocab, b.weight(a.Output), 0, b.sh.Vocab, b.x.set(b.all(a.X, n), n, b.sh.Embd))
}
