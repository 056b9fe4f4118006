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
	if b.late.has == lateQKV && b.late.qkv.X.ID == a.X.ID {
		b.late.comp, b.late.has = a, b.late.has|lateCompress
		return
	}
	b.settle("")
	b.compress(a)
}

func (b *Backend) compress(a backend.CompressArgs) {
	s, sh, il := &b.scr, &b.sh, int(a.Layer)
	m, row := b.compressed(a), sh.CompRowFloats(il)
	b.barrier()
	b.product(product{m: m, x: b.whole(a.X), ratio: sh.Ratio[il]})
	b.barrier()
	p, slots, pages, table := b.compressArgs(a)
	threads := max(ceil(sh.HeadDim, 32)*32, backend.IndexDim)
	launch(b, kCompress, line(len(b.step.Rows)), line(threads), &p, b.stepRef(), s.compIn, b.vector(a.Attn.Norm), b.vector(a.Index.Norm), slots, pages, table)
	b.keepRing(a.State, a.Layer, sh.RawRing()*sh.KVRowBytes(), sh.CompRing(il), 4*row, s.compIn)
}

// compressed are the products that Compress begins with.
func (b *Backend) compressed(a backend.CompressArgs) []output {
	sh, il := &b.sh, int(a.Layer)
	row, cw, iw := sh.CompRowFloats(il), sh.CompWidth(il), sh.IndexWidth(il)
	at := func(floats int) ref { return ref{b.scr.compIn.buf, 4 * floats} }
	m := []output{{w: a.Attn.KV, to: at(0), stride: row}, {w: a.Attn.Gate, to: at(cw), stride: row, ape: a.Attn.APE}}
	if iw > 0 {
		m = append(m, output{w: a.Index.KV, to: at(2 * cw), stride: row}, output{w: a.Index.Gate, to: at(2*cw + iw), stride: row, ape: a.Index.APE})
	}
	return m
}

func (b *Backend) compressArgs(a backend.CompressArgs) (p kernels.Compress, slots, pages, table ref) {
	sh, il := &b.sh, int(a.Layer)
	st, slots, pages, table := b.state(a.State, a.Layer)
	return kernels.Compress{Width: int32(sh.CompWidth(il)), IndexWidth: int32(sh.IndexWidth(il)), Head: int32(sh.HeadDim), Rope: int32(sh.RopeDim),
		Kind: int32(2 + slices.Index(ratios(sh), sh.Ratio[il])), Eps: sh.RMSEps, St: st}, slots, pages, table
}
