package cuda

import (
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// AttnOut: see backend.AttnOutArgs.
func (b *Backend) AttnOut(a backend.AttnOutArgs) {
	do(b, opAttnOut, a.Layer, func(c *calls) *[]backend.AttnOutArgs { return &c.attnOut }, a, (*Backend).attnOut)
}

func (b *Backend) attnOut(a backend.AttnOutArgs) {
	s, sh := &b.scr, &b.sh
	width, low := sh.Heads*sh.HeadDim, sh.Groups*sh.OutRank
	if b.made.o != a.O.ID {
		b.quantize(s.o, b.base(a.O), width, countRows, 1)
		b.made.o = a.O.ID
	}
	p := product{w: [4]backend.Weight{a.A}, out: [4]addr{s.low}, f: s.o, x: b.base(a.O), cols: width, group: sh.OutRank}
	if b.bound.rows <= rowTokens && sh.OutRank%32 == 0 {
		p.finish, p.result, p.width = finishQuantize, s.lowForms, low
		b.matmul(p)
	} else {
		b.matmul(p)
		b.quantize(s.lowForms, s.low, low, countRows, 1)
	}
	b.due.out = a // B waits for HCPost
	if b.bound.rows > rowTokens || a.B.Type != gguf.TypeQ8_0 || sh.Embd%32 != 0 {
		b.launchOut(hcTail{})
	}
}

// launchOut launches the product that waits, with HCPost and the next HCPre's mix in it where tail says so.
func (b *Backend) launchOut(tail hcTail) {
	a := b.due.out
	if a.Y.ID == 0 {
		return
	}
	b.due.out = backend.AttnOutArgs{}
	p := product{w: [4]backend.Weight{a.B}, out: [4]addr{b.base(a.Y)}, f: b.scr.lowForms, x: b.scr.low}
	if tail.fn == 0 {
		b.matmul(p)
		return
	}
	m, _ := b.gather(&p, 0, nil)
	b.launchPost8(m, b.bound.rows, tail)
}
