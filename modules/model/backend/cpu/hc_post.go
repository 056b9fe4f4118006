package cpu

import (
	"github.com/ds4-go/ds4/modules/model/backend"
)

// HCPost: see backend.HCPostArgs. comb is used transposed to its softmax: comb[s][t] weighs source s into target t.
func (b *Backend) HCPost(a backend.HCPostArgs) {
	if b.skip("hc_post", a.Layer) {
		return
	}
	const s = backend.Streams
	d := b.sh.Embd
	b.pool.each(len(b.step.Rows), func(i int) {
		hc, y, mix := b.f32(a.HC, i), b.f32(a.Y, i), b.f32(a.Mix, i)
		if a.Steer.ID != 0 {
			v := b.weight(a.Steer).vec()
			f := a.SteerScale * dot(y, v)
			for j := range y {
				y[j] -= float32(f * v[j])
			}
		}
		if b.variant.hcPost != nil && d%16 == 0 {
			b.fastHCPost(hc, y, mix)
			if a.Tap.ID != 0 {
				copy(b.f32(a.Tap, i), hc)
			}
			return
		}
		post, comb := mix[s:2*s], mix[2*s:]
		for j := range d {
			var in, out [s]float32
			for t := range s {
				in[t] = hc[t*d+j]
			}
			for t := range s {
				out[t] = float32(y[j] * post[t])
				for k := range s {
					out[t] += float32(comb[s*k+t] * in[k])
				}
			}
			for t := range s {
				hc[t*d+j] = out[t]
			}
		}
		if a.Tap.ID != 0 {
			copy(b.f32(a.Tap, i), hc)
		}
	})
}

func (b *Backend) fastHCPost(hc, y, mix []float32) {
	m := b.worker()
	defer b.release(m)
	m.hc = hcArgs{hc: &hc[0], y: &y[0], mix: &mix[0], width: len(y), n: len(y)}
	b.variant.hcPost(&m.hc)
}
