package cpu

import (
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Embed: see backend.EmbedArgs.
func (b *Backend) Embed(a backend.EmbedArgs) {
	if b.skip("embed", -1) {
		return
	}
	d := b.sh.Embd
	b.pool.each(len(b.step.Rows), func(i int) {
		r, hc := b.step.Rows[i], b.f32(a.HC, i)
		if r.From >= 0 {
			copy(hc[:d], b.f32(a.Given, int(r.From)))
		} else {
			b.weight(a.Table).copyRow(hc[:d], int(r.Token))
		}
		for s := 1; s < backend.Streams; s++ {
			copy(hc[s*d:(s+1)*d], hc[:d])
		}
	})
}
