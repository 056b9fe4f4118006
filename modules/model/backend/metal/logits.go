package metal

import (
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Logits: see backend.LogitsArgs.
func (b *Backend) Logits(a backend.LogitsArgs) {
	if !b.begin("logits", -1) || len(b.step.Outs) == 0 {
		return
	}
	n, f := len(b.step.Outs), b.scr.head
	b.barrier()
	if b.made.head != a.X.ID {
		b.quantize(b.whole(a.X), b.sh.Embd, f, kernels.FormQ8, kernels.CountOuts, 1)
		b.made.head = a.X.ID
		b.barrier()
	}
	if n > fewRows || a.Output.Type != gguf.TypeQ8_0 {
		b.product(product{m: []output{{w: a.Output, to: b.whole(a.Logits)}}, f: f, x: b.whole(a.X), which: kernels.CountOuts})
		return
	}
	p := kernels.Product{Which: kernels.CountOuts, PerRow: 1, Cols: int32(b.sh.Embd), ActCols: int32(b.sh.Embd), Matrices: 1}
	p.M[0] = kernels.Matrix{Type: int32(a.Output.Type), Rows: int32(b.sh.Vocab), Stride: int32(b.sh.Vocab)}
	launch(b, kLogitsRows, size(ceil(b.sh.Vocab, 32), n, 1), line(256), &p, b.stepRef(), f.q8, f.q8d, b.vector(a.Output), b.whole(a.Logits))
}
