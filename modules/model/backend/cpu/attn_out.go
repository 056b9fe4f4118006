package cpu

import (
	"github.com/ds4-go/ds4/modules/model/backend"
)

// AttnOut: see backend.AttnOutArgs. Each group of heads has its own rows of A; B joins the groups.
func (b *Backend) AttnOut(a backend.AttnOutArgs) {
	if b.skip("attn_out", a.Layer) {
		return
	}
	n, sh := len(b.step.Rows), &b.sh
	width, cols, lat := sh.Heads*sh.HeadDim, sh.Heads/sh.Groups*sh.HeadDim, sh.Groups*sh.OutRank
	o, low, u := b.all(a.O, n), grow(&b.tmp[0], n*lat), grow(&b.tmp[1], n*cols)
	for g := range sh.Groups {
		for i := range n {
			copy(u[i*cols:(i+1)*cols], o[i*width+g*cols:])
		}
		b.matmul(low[g*sh.OutRank:], lat, b.weight(a.A), g*sh.OutRank, sh.OutRank, b.x.set(u, n, cols))
	}
	b.matmul(b.all(a.Y, n), sh.Embd, b.weight(a.B), 0, sh.Embd, b.x.set(low, n, lat))
}
