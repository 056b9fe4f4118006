package cpu

import (
	"fmt"

	"github.com/ds4-go/ds4/modules/gguf"
)

// rowPiece is the number of weight rows that a thread takes at a time.
const rowPiece = 16

// matmul multiplies weight rows row0 … row0+rows−1 with every activation row: out[i·stride+r] = W[row0+r]·x[i].
func (b *Backend) matmul(out []float32, stride int, w *weight, row0, rows int, x *acts) {
	b.need(x, w.typ)
	if p := b.variant.op(w, rows); p != nil {
		if x.n <= p.few || rows < b.variant.tile {
			b.vectors(p, out, stride, w, row0, rows, x)
		} else {
			b.tiles(p, out, stride, w, row0, rows, x)
		}
		return
	}
	b.pool.span(rows, rowPiece, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			wr := w.data[(row0+r)*w.rowBytes:][:w.rowBytes]
			for i := range x.n {
				out[i*stride+r] = x.dot(wr, w.typ, i)
			}
		}
	})
}

// dot multiplies one weight row with activation row i.
func (a *acts) dot(w []byte, t gguf.Type, i int) float32 {
	c := a.cols
	switch t {
	case gguf.TypeF32:
		return dotF32(w, a.f[i*c:(i+1)*c])
	case gguf.TypeF16:
		return dotF16(w, a.f[i*c:(i+1)*c])
	case gguf.TypeQ8_0:
		return dotQ8_0(w, a.q8[i*c:(i+1)*c], a.q8d[i*c/32:])
	case gguf.TypeMXFP4:
		return dotMXFP4(w, a.q8[i*c:(i+1)*c], a.q8d[i*c/32:])
	case gguf.TypeQ2_K:
		return dotQ2_K(w, a.qk[i*c:(i+1)*c], a.qkd[i*c/256:], a.qksum[i*c/16:])
	case gguf.TypeQ4_K:
		return dotQ4_K(w, a.qk[i*c:(i+1)*c], a.qkd[i*c/256:], a.qksum[i*c/16:])
	case gguf.TypeIQ2_XXS:
		return dotIQ2_XXS(w, a.qk[i*c:(i+1)*c], a.qkd[i*c/256:])
	}
	panic(fmt.Sprintf("cpu: no dot product for %v", t)) // Bind refuses such a type
}

// copyRow writes one row of an F16 or F32 weight as floats.
func (w *weight) copyRow(dst []float32, r int) {
	p := w.data[r*w.rowBytes:][:w.rowBytes]
	if w.typ == gguf.TypeF32 {
		copy(dst, floats(p))
		return
	}
	for i := range dst {
		dst[i] = f16(p[2*i:])
	}
}

// addRow adds one row of an F16 or F32 weight to dst.
func (w *weight) addRow(dst []float32, r int) {
	p := w.data[r*w.rowBytes:][:w.rowBytes]
	for i := range dst {
		if w.typ == gguf.TypeF32 {
			dst[i] += floats(p)[i]
		} else {
			dst[i] += f16(p[2*i:])
		}
	}
}

// vec is an F32 vector.
func (w *weight) vec() []float32 { return floats(w.data)[:w.rows*w.cols] }
