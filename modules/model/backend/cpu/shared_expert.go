package cpu

import (
	"github.com/ds4-go/ds4/modules/model/backend"
)

// SharedExpert: see backend.SharedExpertArgs.
func (b *Backend) SharedExpert(a backend.SharedExpertArgs) {
	if b.skip("shared_expert", a.Layer) {
		return
	}
	n, f, d := len(b.step.Rows), b.sh.ExpertDim, b.sh.Embd
	x := b.x.set(b.all(a.X, n), n, d)
	g, u := grow(&b.tmp[0], n*f), grow(&b.tmp[1], n*f)
	b.matmul(g, f, b.weight(a.Gate), 0, f, x)
	b.matmul(u, f, b.weight(a.Up), 0, f, x)
	b.pool.span(n*f, 256, func(lo, hi int) {
		m := b.worker()
		defer b.release(m)
		b.gated(m, g[lo:hi], g[lo:hi], u[lo:hi], 1)
	})
	s, y := grow(&b.tmp[2], n*d), b.all(a.Y, n)
	b.matmul(s, d, b.weight(a.Down), 0, d, b.h.set(g, n, f))
	for j, v := range s {
		y[j] += v
	}
}
