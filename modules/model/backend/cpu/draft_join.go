package cpu

import (
	"github.com/ds4-go/ds4/modules/model/backend"
)

// DraftJoin: see backend.DraftJoinArgs. The norm of the previous streams is per stream.
func (b *Backend) DraftJoin(a backend.DraftJoinArgs) {
	if b.skip("draft_join", -1) {
		return
	}
	const s = backend.Streams
	n, d, eps := len(b.step.Rows), b.sh.Embd, b.sh.RMSEps
	e, h := grow(&b.tmp[0], n*d), grow(&b.tmp[1], n*s*d)
	enorm, hnorm := b.weight(a.ENorm).vec(), b.weight(a.HNorm).vec()
	b.pool.each(n, func(i int) {
		r := b.step.Rows[i]
		x := e[i*d : (i+1)*d]
		b.weight(a.Table).copyRow(x, int(r.Token))
		rmsNorm(x, x, enorm, eps)
		prev := b.f32(a.Prev, int(r.From))
		for j := range s {
			rmsNorm(h[(i*s+j)*d:(i*s+j+1)*d], prev[j*d:(j+1)*d], hnorm, eps)
		}
	})
	ep, hp := grow(&b.tmp[2], n*d), grow(&b.tmp[3], n*s*d)
	b.matmul(ep, d, b.weight(a.EProj), 0, d, b.x.set(e, n, d))
	b.matmul(hp, d, b.weight(a.HProj), 0, d, b.h.set(h, n*s, d))
	b.pool.each(n, func(i int) {
		hc := b.f32(a.HC, i)
		for j := range hc {
			hc[j] = ep[i*d+j%d] + hp[i*s*d+j]
		}
	})
}
