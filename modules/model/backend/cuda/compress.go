package cuda

import "github.com/ds4-go/ds4/modules/model/backend"

// Compress: see backend.CompressArgs.
func (b *Backend) Compress(a backend.CompressArgs) {
	do(b, opCompress, a.Layer, func(c *calls) *[]backend.CompressArgs { return &c.compress }, a, (*Backend).compress)
}

func (b *Backend) compress(a backend.CompressArgs) {
	sh, il, in := &b.sh, int(a.Layer), b.scr.compIn
	row, cw, iw := sh.CompRowFloats(il), sh.CompWidth(il), sh.IndexWidth(il)
	at := func(n int) addr { return in + addr(4*n) }
	b.matmul(product{w: [4]backend.Weight{a.Attn.KV, a.Attn.Gate, a.Index.KV, a.Index.Gate}, out: [4]addr{in, at(cw), at(2 * cw), at(2*cw + iw)},
		stride: [4]int{row, row, row, row}, ape: [4]backend.Weight{1: a.Attn.APE, 3: a.Index.APE}, ratio: sh.Ratio[il],
		f: b.formsX(a.X, countRows), x: b.base(a.X)})
	base, emits := sh.RawRing()*sh.KVRowBytes(), 2
	if iw > 0 {
		emits = 3
	}
	st := b.state(a.State, a.Layer)
	launch(b, kCompressEmit, b.bound.rows, emits, 1, 256, 0, emitArgs{step: b.scr.step, in: in, norm: b.vector(a.Attn.Norm), indexNorm: b.vector(a.Index.Norm),
		st: st, rope: b.rope, d: int32(sh.HeadDim), ropeDim: int32(sh.RopeDim), width: int32(cw), indexWidth: int32(iw),
		base: int32(base), eps: sh.RMSEps})
	b.keepRing(st, base, sh.CompRing(il), 4*row)
}
