package cpu

import (
	"github.com/ds4-go/ds4/modules/model/backend"
)

// HCPre: see backend.HCPreArgs. The streams are normed together, projected to 24 control values, and these split into
// pre weights, post weights and a combination matrix made doubly stochastic by Sinkhorn rounds.
func (b *Backend) HCPre(a backend.HCPreArgs) {
	if b.skip("hc_pre", a.Layer) {
		return
	}
	n, d := len(b.step.Rows), b.sh.Embd
	m := b.control(a.HC, a.Fn, n, func(i int) int { return i })
	scale, base, norm := b.weight(a.Scale).vec(), b.weight(a.Base).vec(), b.weight(a.Norm).vec()
	b.pool.each(n, func(i int) {
		mix, x := b.f32(a.Mix, i), b.f32(a.X, i)
		b.splitControl(mix, m[i*backend.MixWidth:(i+1)*backend.MixWidth], scale, base)
		b.collapse(x, b.f32(a.HC, i), mix[:backend.Streams], d)
		rmsNorm(x, x, norm, b.sh.RMSEps)
	})
}

// control projects the normed streams of n rows: (n, rows of fn). at says which row of hc the i-th is.
func (b *Backend) control(hc backend.Buf, fn backend.Weight, n int, at func(int) int) []float32 {
	w := b.weight(fn)
	f := grow(&b.tmp[0], n*w.cols)
	b.pool.each(n, func(i int) {
		rmsNorm(f[i*w.cols:(i+1)*w.cols], b.f32(hc, at(i)), nil, b.sh.RMSEps)
	})
	m := grow(&b.tmp[1], n*w.rows)
	b.matmul(m, w.rows, w, 0, w.rows, b.x.set(f, n, w.cols))
	return m
}

// splitControl makes pre (4), post (4) and comb (4×4: source, target) from 24 control values.
func (b *Backend) splitControl(mix, m, scale, base []float32) {
	const s = backend.Streams
	eps := b.sh.HCEps
	for i := range s {
		mix[i] = 1/(1+exp(-(float32(m[i]*scale[0])+base[i]))) + eps
		mix[s+i] = 2 / (1 + exp(-(float32(m[s+i]*scale[1]) + base[s+i])))
	}
	c := mix[2*s : 2*s+s*s]
	for i := range c {
		c[i] = float32(m[2*s+i]*scale[2]) + base[2*s+i]
	}
	for r := range s {
		softmaxRow(c[s*r:s*r+s], eps)
	}
	normalize(c, 1, s, eps) // columns
	for range b.sh.SinkhornRounds - 1 {
		normalize(c, s, 1, eps)
		normalize(c, 1, s, eps)
	}
}

func softmaxRow(v []float32, eps float32) {
	top, sum := v[0], float32(0)
	for _, x := range v {
		top = max(top, x)
	}
	for i, x := range v {
		v[i] = exp(x - top)
		sum += v[i]
	}
	inv := 1 / sum
	for i := range v {
		v[i] = float32(v[i]*inv) + eps
	}
}

// normalize divides each line of the 4×4 matrix by its sum: lines start outer apart, their elements lie inner apart.
func normalize(c []float32, outer, inner int, eps float32) {
	for l := range backend.Streams {
		sum := float32(0)
		for i := range backend.Streams {
			sum += c[l*outer+i*inner]
		}
		inv := 1 / (sum + eps)
		for i := range backend.Streams {
			c[l*outer+i*inner] *= inv
		}
	}
}

// collapse is the weighted sum of the streams.
func (b *Backend) collapse(x, hc, pre []float32, d int) {
	if b.variant.hcPre != nil && d%16 == 0 {
		m := b.worker()
		defer b.release(m)
		m.hc = hcArgs{hc: &hc[0], x: &x[0], mix: &pre[0], width: d, n: d}
		b.variant.hcPre(&m.hc)
		return
	}
	for j := range d {
		acc := float32(0)
		for s, p := range pre {
			acc += float32(hc[s*d+j] * p)
		}
		x[j] = acc
	}
}
