package cuda

import "github.com/ds4-go/ds4/modules/model/backend"

// HCHead: see backend.HCHeadArgs.
func (b *Backend) HCHead(a backend.HCHeadArgs) {
	do(b, opHCHead, -1, func(c *calls) *[]backend.HCHeadArgs { return &c.hcHead }, a, (*Backend).hcHead)
}

func (b *Backend) hcHead(a backend.HCHeadArgs) {
	b.fold(a.Fn, a.HC, countOuts, hcPreArgs{scale: b.vector(a.Scale), base: b.vector(a.Base), norm: b.vector(a.Norm),
		x: b.base(a.X), head: 1})
	b.made.x = a.X.ID
}
