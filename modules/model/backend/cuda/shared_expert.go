package cuda

import (
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// SharedExpert: see backend.SharedExpertArgs.
func (b *Backend) SharedExpert(a backend.SharedExpertArgs) {
	do(b, opSharedExpert, a.Layer, func(c *calls) *[]backend.SharedExpertArgs { return &c.shared }, a, (*Backend).sharedExpert)
}

func (b *Backend) sharedExpert(a backend.SharedExpertArgs) {
	if e := b.due.experts; e.Y.ID != 0 {
		b.due.experts = backend.ExpertsArgs{}
		if e.Y == a.Y && e.X == a.X && a.Gate.Type == gguf.TypeQ8_0 && a.Up.Type == gguf.TypeQ8_0 && a.Down.Type == gguf.TypeQ8_0 {
			b.ffnUp(e, a)
			return
		}
		b.expertsAlone(e)
	}
	s, f, few := &b.scr, b.sh.ExpertDim, b.bound.rows <= rowTokens
	up := product{w: [4]backend.Weight{a.Gate, a.Up}, out: [4]addr{s.shGate, s.shUp}, f: b.formsX(a.X, countRows), x: b.base(a.X)}
	if few {
		up.finish, up.result, up.width = finishGateQuantize, s.shForms, f
	}
	b.matmul(up)
	if !few {
		launch(b, kSwiglu, b.bound.rows, 1, 1, 256, 0, swigluArgs{step: s.step, gate: s.shGate, up: s.shUp, f: s.shForms, n: int32(f), clamp: b.sh.Clamp})
	}
	down := product{w: [4]backend.Weight{a.Down}, out: [4]addr{b.base(a.Y)}, f: s.shForms, add: true}
	if few && b.due.sum == a.Y {
		b.due.sum = backend.Buf{}
		down.finish, down.products = finishAddProducts, s.products
	}
	b.launchSum()
	b.matmul(down)
}
