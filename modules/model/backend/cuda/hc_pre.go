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
	b.fold(a.Fn, a.HC, countRows, hcPreArgs{scale: b.vector(a.Scale), base: b.vector(a.Base), norm: b.vector(a.Norm),
		x: b.base(a.X), mix: b.base(a.Mix)})
	b.made.x = a.X.ID
}

// fold mixes the streams of rows or outs into one, and makes its forms. An HCPost that waits for it goes with it.
func (b *Backend) fold(fn backend.Weight, hc backend.Buf, which int32, p hcPreArgs) {
	d, n := b.sh.Embd, b.tokens(which)
	w := b.weight(fn)
	p.mark, p.at = b.mark(), fn.ID
	m := hcMixArgs{step: b.scr.step, fn: w.base, hc: b.base(hc), part: b.scr.hcPart, n: int32(w.rows), d: int32(d), which: which,
		f32: flag(w.typ == gguf.TypeF32)}
	k := kHCMix
	if post := b.due.post; post.HC == hc && post.HC.ID != 0 && post.Tap.ID == 0 && which == countRows {
		b.due.post = backend.HCPostArgs{}
		if b.tailWaits() && post.Steer.ID == 0 && m.f32 == 0 && b.joins("post") {
			b.launchTailWith(hcTail{fn: m.fn, hc: m.hc, part: m.part, mix: b.base(post.Mix), n: m.n, d: m.d})
			b.preRow(p, hc, which)
			return
		}
		b.launchTail()
		b.steer(post)
		k, m.y, m.mix = kHCPostMix, b.base(post.Y), b.base(post.Mix)
	}
	b.launchTail()
	b.launchPost()
	launch(b, k, (d/32+3)/4, (n+7)/8, 1, 128, 0, m)
	b.preRow(p, hc, which)
}

// preRow makes the row from the sums of its slices.
func (b *Backend) preRow(p hcPreArgs, hc backend.Buf, which int32) {
	d, n := b.sh.Embd, b.tokens(which)
	p.step, p.part, p.hc, p.f = b.scr.step, b.scr.hcPart, b.base(hc), b.scr.x
	p.d, p.rounds, p.which, p.eps, p.hcEps = int32(d), int32(b.sh.SinkhornRounds), which, b.sh.RMSEps, b.sh.HCEps
	split := 1
	if n <= fewTokens && p.head == 0 {
		split = 2
	}
	launch(b, kHCPre, n, split, 1, 512, 0, p)
}
