package metal

import (
	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// SharedExpert: see backend.SharedExpertArgs.
func (b *Backend) SharedExpert(a backend.SharedExpertArgs) {
	if !b.begin("shared_expert", a.Layer) {
		return
	}
	if e := &b.late.experts; b.late.has == lateRoute|lateExperts && e.X.ID == a.X.ID && e.Y.ID == a.Y.ID && b.allQ8(a.Gate, a.Up, a.Down) {
		b.launchFFN(a)
		return
	}
	b.settle("")
	b.sharedExpert(a)
}

func (b *Backend) sharedExpert(a backend.SharedExpertArgs) {
	s, sh, n := &b.scr, &b.sh, len(b.step.Rows)
	x := b.formsX(a.X)
	p := kernels.Experts{Rows: int32(sh.ExpertDim), Cols: int32(sh.Embd), Limit: sh.Clamp}
	if n <= fewRows && b.pipe[kSharedGateUp].MaxThreads >= 32*kernels.LanesOf(sh.Embd) {
		launch(b, kSharedGateUp, size(sh.ExpertDim/32, n, 1), line(32*kernels.LanesOf(sh.Embd)), &p, b.stepRef(), x.q8, x.q8d, b.vector(a.Gate), b.vector(a.Up), s.shForms.q8, s.shForms.q8d)
	} else {
		b.product(product{m: []output{{w: a.Gate, to: s.shGate}, {w: a.Up, to: s.shUp}}, f: x, x: b.whole(a.X)})
		b.barrier()
		launch(b, kSharedSwiGLU, size(ceil(sh.ExpertDim, 8*256), n, 1), line(256), &p, b.stepRef(), s.shGate, s.shUp, s.shForms.q8, s.shForms.q8d)
	}
	b.barrier()
	b.product(product{m: []output{{w: a.Down, to: b.whole(a.Y), add: true}}, f: s.shForms})
}
