package metal

import (
	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// AttnOut: see backend.AttnOutArgs. Each group of heads has its own rows of A; B joins the groups.
func (b *Backend) AttnOut(a backend.AttnOutArgs) {
	if !b.begin("attn_out", a.Layer) {
		return
	}
	s, sh, n := &b.scr, &b.sh, len(b.step.Rows)
	width, cols, low := sh.Heads*sh.HeadDim, sh.Heads/sh.Groups*sh.HeadDim, sh.Groups*sh.OutRank
	b.barrier()
	if b.made.o != a.O.ID {
		b.quantize(b.whole(a.O), width, s.o, kernels.FormQ8, kernels.CountRows, 1)
		b.made.o = a.O.ID
		b.barrier()
	}
	if n <= fewRows && low%32 == 0 && b.pipe[kAttnOutLow].MaxThreads >= 32*kernels.LanesOf(cols) {
		p := kernels.Product{Which: kernels.CountRows, PerRow: 1, Cols: int32(cols), ActCols: int32(width), Group: int32(sh.OutRank), Matrices: 1}
		p.M[0] = kernels.Matrix{Type: int32(a.A.Type), Rows: int32(low)}
		launch(b, kAttnOutLow, size(low/32, n, 1), line(32*kernels.LanesOf(cols)), &p, b.stepRef(), s.o.q8, s.o.q8d, b.vector(a.A), s.lowForms.q8, s.lowForms.q8d)
	} else {
		b.product(product{m: []output{{w: a.A, to: s.low}}, f: s.o, x: b.whole(a.O), cols: width, group: sh.OutRank})
		b.barrier()
		b.quantize(s.low, low, s.lowForms, kernels.FormQ8, kernels.CountRows, 1)
	}
	if b.joinsPost() && b.allQ8(a.B) {
		b.late.out, b.late.has = a, lateOut
		return
	}
	b.outB(a)
}

// outB joins the groups.
func (b *Backend) outB(a backend.AttnOutArgs) {
	b.barrier()
	b.product(product{m: []output{{w: a.B, to: b.whole(a.Y)}}, f: b.scr.lowForms, x: b.scr.low})
}
