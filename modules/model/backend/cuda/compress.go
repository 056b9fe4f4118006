package cuda

import "github.com/ds4-go/ds4/modules/model/backend"

// Compress: see backend.CompressArgs.
func (b *Backend) Compress(a backend.CompressArgs) {
	do(b, opCompress, a.Layer, func(c *calls) *[]backend.CompressArgs { return &c.compress }, a, (*Backend).compress)
}

func (b *Backend) compress(a backend.CompressArgs) {
	if b.compressWaits(&a) {
		b.due.comp = a
		return
	}
	b.launchFront(nil)
	b.matmul(b.compressProduct(&a))
	b.emit(&a)
}

// compressProduct makes the rows' inputs of pooling.
func (b *Backend) compressProduct(a *backend.CompressArgs) product {
	sh, il, in := &b.sh, int(a.Layer), b.scr.compIn
	row, cw, iw := sh.CompRowFloats(il), sh.CompWidth(il), sh.IndexWidth(il)
	at := func(n int) addr { return in + addr(4*n) }
	return product{w: [4]backend.Weight{a.Attn.KV, a.Attn.Gate, a.Index.KV, a.Index.Gate}, out: [4]addr{in, at(cw), at(2 * cw), at(2*cw + iw)},
		stride: [4]int{row, row, row, row}, ape: [4]backend.Weight{1: a.Attn.APE, 3: a.Index.APE}, ratio: sh.Ratio[il],
		f: b.formsX(a.X, countRows), x: b.base(a.X)}
}

// emitArgs describes pooling, and the pieces of a row's work.
func (b *Backend) emitArgs(a *backend.CompressArgs) (emitArgs, int32) {
	sh, il := &b.sh, int(a.Layer)
	cw, iw, pieces := sh.CompWidth(il), sh.IndexWidth(il), int32(2)
	if iw > 0 {
		pieces = 3
	}
	return emitArgs{step: b.scr.step, in: b.scr.compIn, norm: b.vector(a.Attn.Norm), indexNorm: b.vector(a.Index.Norm),
		st: b.state(a.State, a.Layer), rope: b.rope, d: int32(sh.HeadDim), ropeDim: int32(sh.RopeDim), width: int32(cw), indexWidth: int32(iw),
		base: int32(b.compBase()), eps: sh.RMSEps}, pieces
}

// compBase is where the compressor's ring lies in a slot's part.
func (b *Backend) compBase() int { return b.sh.RawRing() * b.sh.KVRowBytes() }

// emit pools the windows that end, and keeps the inputs of those that do not.
func (b *Backend) emit(a *backend.CompressArgs) {
	p, pieces := b.emitArgs(a)
	launch(b, kCompressEmit, b.bound.rows, int(pieces), 1, 256, 0, p)
	b.keepCompressed(a)
}

func (b *Backend) keepCompressed(a *backend.CompressArgs) {
	il := int(a.Layer)
	b.keepRing(b.state(a.State, a.Layer), b.compBase(), b.sh.CompRing(il), 4*b.sh.CompRowFloats(il))
}
