package cuda

import (
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// HCPre: see backend.HCPreArgs.
func (b *Backend) HCPre(a backend.HCPreArgs) {
	do(b, opHCPre, a.Layer, func(c *calls) *[]backend.HCPreArgs { return &c.hcPre }, a, (*Backend).hcPre)
}

func (b *Backend) hcPre(a backend.HCPreArgs) {
	b.fold(a.Fn, b.base(a.HC), countRows, hcPreArgs{scale: b.vector(a.Scale), base: b.vector(a.Base), norm: b.vector(a.Norm),
		x: b.base(a.X), mix: b.base(a.Mix)})
	b.made.x = a.X.ID
}

// fold mixes the streams of rows or outs into one, and makes its forms.
func (b *Backend) fold(fn backend.Weight, hc addr, which int32, p hcPreArgs) {
	d, n := b.sh.Embd, b.tokens(which)
	w := b.weight(fn)
	launch(b, kHCMix, (4*d/256+3)/4, (n+7)/8, 1, 128, 0, hcMixArgs{step: b.scr.step, fn: w.base, hc: hc, part: b.scr.hcPart,
		n: int32(w.rows), k: int32(4 * d), which: which, f32: flag(w.typ == gguf.TypeF32)})
	p.step, p.part, p.hc, p.f = b.scr.step, b.scr.hcPart, hc, b.scr.x
	p.d, p.rounds, p.which, p.eps, p.hcEps = int32(d), int32(b.sh.SinkhornRounds), which, b.sh.RMSEps, b.sh.HCEps
	launch(b, kHCPre, n, 1, 1, 512, 0, p)
}
