package cuda

import "github.com/ds4-go/ds4/modules/model/backend"

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
	b.matmul(product{w: [4]backend.Weight{a.B}, out: [4]addr{b.base(a.Y)}, f: s.lowForms, x: s.low})
}
