package metal

import (
	"fmt"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// output is one matrix of a product.
type output struct {
	w      backend.Weight
	to     ref
	stride int // floats between tokens; 0: the matrix' rows
	ape    backend.Weight
	add    bool
}

// product is a launch of matrices that read the same activations.
type product struct {
	m      []output
	f      forms // of the activations, for Q8_0
	x      ref   // the activations themselves, for F16 and F32
	cols   int   // floats of an activation row; 0: the matrix' width
	group  int   // rows that share a slice of it
	ratio  int   // of the positions that ape is added by
	which  int32
	perRow int // tokens to a row; 0: 1
}

// tokens is the count that a product has.
func (b *Backend) tokens(which int32) int {
	if which == kernels.CountOuts {
		return len(b.step.Outs)
	}
	return len(b.step.Rows)
}

const simdsOfRows = 8 // of a threadgroup of product_rows

// product launches matrices, in one dispatch where the tokens are few: Q8_0 and F16 together.
func (b *Backend) product(p product) {
	p.perRow = max(p.perRow, 1)
	n := b.tokens(p.which) * p.perRow
	if n <= fewRows {
		b.launchProduct(kProductRows, &p, n, p.m)
		return
	}
	var blocks, floats []output
	for _, o := range p.m {
		if o.w.Type == gguf.TypeQ8_0 {
			blocks = append(blocks, o)
		} else {
			floats = append(floats, o)
		}
	}
	tiles := kProductTiles
	if p.group > 0 && p.group%kernels.TileRows != 0 {
		tiles = kProductRows // a tile would straddle groups
	}
	b.launchProduct(tiles, &p, n, blocks)
	b.launchProduct(kProductFloats, &p, n, floats)
}

func (b *Backend) launchProduct(k kernel, p *product, n int, list []output) {
	if len(list) == 0 || n == 0 || b.err != nil {
		return
	}
	cols := int(list[0].w.Cols)
	if p.cols == 0 {
		p.cols = cols
	}
	a := kernels.Product{Which: p.which, PerRow: int32(p.perRow), Cols: int32(cols), ActCols: int32(p.cols), Group: int32(p.group), Matrices: int32(len(list)),
		Ratio: int32(max(p.ratio, 1))}
	var w, y, ape [kernels.Matrices]ref
	for i := range w {
		w[i], y[i], ape[i] = b.stepRef(), b.stepRef(), b.stepRef()
	}
	perGroup := kernels.TileRows
	if k == kProductRows {
		perGroup = simdsOfRows * 32 / kernels.LanesOf(cols)
	}
	groups := 0
	for i, o := range list {
		switch o.w.Type {
		case gguf.TypeF32, gguf.TypeF16, gguf.TypeQ8_0:
		default:
			b.fail(fmt.Errorf("%s: want q8_0, f16 or f32, got %v", b.weight(o.w).name, o.w.Type))
			return
		}
		if int(o.w.Cols) != cols {
			b.fail(fmt.Errorf("%s: want %d inputs as the others have, got %d", b.weight(o.w).name, cols, o.w.Cols))
			return
		}
		m := kernels.Matrix{Type: int32(o.w.Type), Rows: o.w.Rows, First: int32(groups), Stride: int32(o.stride), Add: flag(o.add)}
		if o.stride == 0 {
			m.Stride = o.w.Rows
		}
		if o.ape.ID != 0 {
			m.APE = 1 + flag(o.ape.Type == gguf.TypeF32)
			ape[i] = b.vector(o.ape)
		}
		a.M[i], w[i], y[i] = m, b.weight(o.w).at, o.to
		groups += ceil(int(o.w.Rows), perGroup)
	}
	x, q, d := p.x, p.f.q8, p.f.q8d
	for _, r := range []*ref{&x, &q, &d} {
		if r.buf == nil {
			*r = b.stepRef()
		}
	}
	switch k {
	case kProductRows:
		launch(b, k, size(groups, n, 1), line(32*simdsOfRows), &a, b.stepRef(), q, d, x, w[0], w[1], w[2], w[3], w[4], w[5], w[6],
			y[0], y[1], y[2], y[3], y[4], y[5], y[6], ape[0], ape[1], ape[2], ape[3], ape[4], ape[5], ape[6])
	case kProductFloats:
		launch(b, k, size(groups, ceil(n, kernels.FloatTokens), 1), line(128), &a, b.stepRef(), q, d, x, w[0], w[1], w[2], w[3], y[0], y[1], y[2], y[3], ape[0], ape[1], ape[2], ape[3])
	default:
		launch(b, k, size(groups, ceil(n, kernels.TileTokens), 1), line(128), &a, b.stepRef(), q, d, x, w[0], w[1], w[2], w[3], y[0], y[1], y[2], y[3], ape[0])
	}
}

// quantize makes forms of (tokens, cols) f32.
func (b *Backend) quantize(x ref, cols int, f forms, kind, which int32, perRow int) {
	a := kernels.Quantize{Which: which, PerRow: int32(perRow), Cols: int32(cols), Forms: kind}
	refs := [5]ref{f.q8, f.q8d, f.q8k, f.q8kd, f.q8ks}
	for i := range refs {
		if refs[i].buf == nil {
			refs[i] = b.stepRef()
		}
	}
	launch(b, kQuantize, size(ceil(cols, 8*256), b.tokens(which)*perRow, 1), line(256), &a, b.stepRef(), x, refs[0], refs[1], refs[2], refs[3], refs[4])
}

// formsX are the forms of X, made now if HCPre did not leave them. A barrier comes before their use.
func (b *Backend) formsX(x backend.Buf) forms {
	if b.made.x != x.ID {
		b.barrier()
		b.quantize(b.whole(x), b.sh.Embd, b.scr.x, kernels.FormQ8|kernels.FormQ8K, kernels.CountRows, 1)
		b.made.x = x.ID
	}
	b.barrier()
	return b.scr.x
}
