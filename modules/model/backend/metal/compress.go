package metal

import (
	"slices"

	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Compress: see backend.CompressArgs.
func (b *Backend) Compress(a backend.CompressArgs) {
	if !b.begin("compress", a.Layer) {
		return
	}
	s, sh, il := &b.scr, &b.sh, int(a.Layer)
	row, cw, iw := sh.CompRowFloats(il), sh.CompWidth(il), sh.IndexWidth(il)
	at := func(floats int) ref { return ref{s.compIn.buf, 4 * floats} }
	m := []output{{w: a.Attn.KV, to: at(0), stride: row}, {w: a.Attn.Gate, to: at(cw), stride: row, ape: a.Attn.APE}}
	if iw > 0 {
		m = append(m, output{w: a.Index.KV, to: at(2 * cw), stride: row}, output{w: a.Index.Gate, to: at(2*cw + iw), stride: row, ape: a.Index.APE})
	}
	b.barrier()
	b.product(product{m: m, x: b.whole(a.X), ratio: sh.Ratio[il]})
	b.barrier()
	st, slots, pages, table := b.state(a.State, a.Layer)
	p := kernels.Compress{Width: int32(cw), IndexWidth: int32(iw), Head: int32(sh.HeadDim), Rope: int32(sh.RopeDim),
		Kind: int32(2 + slices.Index(ratios(sh), sh.Ratio[il])), Eps: sh.RMSEps, St: st}
	threads := max(ceil(sh.HeadDim, 32)*32, backend.IndexDim)
	launch(b, kCompress, line(len(b.step.Rows)), line(threads), &p, b.stepRef(), s.compIn, b.vector(a.Attn.Norm), b.vector(a.Index.Norm), slots, pages, table)
	b.keepRing(a.State, a.Layer, sh.RawRing()*sh.KVRowBytes(), sh.CompRing(il), 4*row, s.compIn)
}
