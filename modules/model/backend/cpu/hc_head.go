package cpu

import (
	"github.com/ds4-go/ds4/modules/model/backend"
)

// HCHead: see backend.HCHeadArgs. Only the wanted rows are folded.
func (b *Backend) HCHead(a backend.HCHeadArgs) {
	if b.skip("hc_head", -1) || len(b.step.Outs) == 0 {
		return
	}
	outs := b.step.Outs
	m := b.control(a.HC, a.Fn, len(outs), func(i int) int { return int(outs[i]) })
	scale, base, norm := b.weight(a.Scale).vec(), b.weight(a.Base).vec(), b.weight(a.Norm).vec()
	b.pool.each(len(outs), func(i int) {
		w, x := m[i*backend.Streams:(i+1)*backend.Streams], b.f32(a.X, i)
		for s := range w {
			w[s] = sigmoid(float32(w[s]*scale[0])+base[s]) + b.sh.HCEps
		}
		b.collapse(x, b.f32(a.HC, int(outs[i])), w, b.sh.Embd)
		rmsNorm(x, x, norm, b.sh.RMSEps)
	})
}
