package cpu

import (
	"unsafe"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// neg is the score of a row that is not there: finite, and weightless beside any real score.
const neg = -1e30

// Compress: see backend.CompressArgs. A row's inputs v and g are kept by position; a compressed row pools those of its
// window from the step's rows and, before the span, from the ring.
func (b *Backend) Compress(a backend.CompressArgs) {
	if b.skip("compress", a.Layer) {
		return
	}
	n, il := len(b.step.Rows), int(a.Layer)
	row, cw, iw := b.sh.CompRowFloats(il), b.sh.CompWidth(il), b.sh.IndexWidth(il)
	in := grow(&b.tmp[0], n*row)
	x := b.x.set(b.all(a.X, n), n, b.sh.Embd)
	b.compressInputs(in, row, a.Attn, cw, x)
	if iw > 0 {
		b.compressInputs(in[2*cw:], row, a.Index, iw, x)
	}
	b.pool.each(n, func(i int) {
		at := int(b.step.Rows[i].Pos) % b.sh.Ratio[il]
		b.weight(a.Attn.APE).addRow(in[i*row+cw:][:cw], at)
		if iw > 0 {
			b.weight(a.Index.APE).addRow(in[i*row+2*cw+iw:][:iw], at)
		}
	})
	base := b.sh.RawRing() * b.sh.KVRowBytes()
	b.emit(a, in, base)
	b.keepRing(a.State, a.Layer, base, b.sh.CompRing(il), 4*row, func(r int) []byte {
		return unsafe.Slice((*byte)(unsafe.Pointer(&in[r*row])), 4*row)
	})
}

// compressInputs writes v and g, width values each, at the start of every row of in.
func (b *Backend) compressInputs(in []float32, row int, c backend.Compressor, width int, x *acts) {
	b.matmul(in, row, b.weight(c.KV), 0, width, x)
	b.matmul(in[width:], row, b.weight(c.Gate), 0, width, x)
}

// emit pools and stores every compressed row that completes in this step.
func (b *Backend) emit(a backend.CompressArgs, in []float32, base int) {
	il := int(a.Layer)
	ratio, ring, row := b.sh.Ratio[il], b.sh.CompRing(il), b.sh.CompRowFloats(il)
	b.pool.each(len(b.step.Rows), func(i int) {
		r := b.step.Rows[i]
		if int(r.Pos+1)%ratio != 0 {
			return
		}
		sp := b.step.Spans[r.Span]
		old := floats(b.part(a.State.Slots, int(sp.Slot), il)[base:])
		at := func(pos int) []float32 {
			if pos >= int(sp.Pos) {
				return in[(int(sp.Row)+pos-int(sp.Pos))*row:][:row]
			}
			return old[pos%ring*row:][:row]
		}
		rot := make([]float32, b.sh.RopeDim)
		b.rotation(rot, ropeCompressed, int(r.Pos)+1-ratio) // the position of the window's first token
		part, c := b.pagePart(a.State, sp.Seq, int(r.Pos)/ratio, il)
		z := make([]float32, b.sh.HeadDim)
		b.pool1(z, at, int(r.Pos), ratio, 0, b.sh.CompWidth(il))
		rmsNorm(z, z, b.weight(a.Attn.Norm).vec(), b.sh.RMSEps)
		rotate(z, rot, false)
		packKV(part[c*b.sh.KVRowBytes():][:b.sh.KVRowBytes()], z, b.sh.RopeDim)
		if !b.sh.Indexed(il) {
			return
		}
		z = z[:0]
		grow(&z, backend.IndexDim)
		b.pool1(z, at, int(r.Pos), ratio, 2*b.sh.CompWidth(il), b.sh.IndexWidth(il))
		rmsNorm(z, z, b.weight(a.Index.Norm).vec(), b.sh.RMSEps)
		rotate(z, rot, false)
		hadamard(z)
		vals := part[b.sh.PageIndexOffset(il)+c*backend.IndexRowBytes:][:backend.IndexRowBytes]
		packIndex(vals, part[b.sh.PageIndexExpOffset(il)+c*backend.IndexExpBytes:], z)
	})
}

// pagePart is layer il's part of the page that holds compressed row c of a sequence, and c's number within it.
func (b *Backend) pagePart(st backend.State, seq int32, c, il int) ([]byte, int) {
	per := b.sh.PageRows(il)
	return b.part(st.Pages, int(b.i32(st.Table, int(seq))[c/per]), il), c % per
}

// pool1 is the softmax-weighted mean of a window's values, channel by channel: z (hd). A ring row holds v and g of width
// values from off. Overlapped windows (ratio 4) take the low half of the four rows before and the high half of their own.
func (b *Backend) pool1(z []float32, at func(int) []float32, pos, ratio, off, width int) {
	hd := len(z)
	if width == hd {
		for j := range z {
			top := float32(neg)
			for p := pos + 1 - ratio; p <= pos; p++ {
				top = max(top, at(p)[off+width+j])
			}
			den, sum := float32(0), float32(0)
			for p := pos + 1 - ratio; p <= pos; p++ {
				row := at(p)
				w := exp(row[off+width+j] - top)
				den += w
				sum += float32(w * row[off+j])
			}
			z[j] = pooled(sum, den, top)
		}
		return
	}
	for j := range z {
		var g, v [2][4]float32 // previous, own
		top := float32(neg)
		for r := range 4 {
			g[0][r] = neg
			if p := pos - 7 + r; p >= 0 {
				row := at(p)
				v[0][r], g[0][r] = row[off+j], row[off+width+j]
			}
			row := at(pos - 3 + r)
			v[1][r], g[1][r] = row[off+hd+j], row[off+width+hd+j]
			top = max(top, g[0][r], g[1][r])
		}
		den, sum := float32(0), float32(0)
		for r := range 4 {
			prev, own := exp(g[0][r]-top), exp(g[1][r]-top)
			den += prev + own
			sum += float32(prev * v[0][r])
			sum += float32(own * v[1][r])
		}
		z[j] = pooled(sum, den, top)
	}
}

func pooled(sum, den, top float32) float32 {
	if top <= neg/2 {
		return 0
	}
	return sum / den
}
