package cpu

import (
	"unsafe"

	"github.com/ds4-go/ds4/modules/gguf"
)

// pieceBytes is about how much of a weight a thread takes at a time for few activation rows: much enough to be read in one go, and little
// enough that the threads end together.
const pieceBytes = 96 << 10

// tileBytes bounds the part of a tile that is unpacked at a time: it stays in the first cache while the activations pass.
const tileBytes = 28 << 10

// vectors multiplies a few activation rows, one after another, with each vector of weight rows.
func (b *Backend) vectors(p *product, out []float32, stride int, w *weight, row0, rows int, x *acts) {
	l := b.variant.lanes
	groups := (rows + l - 1) / l
	piece := max(1, min(pieceBytes/(l*w.rowBytes), groups/(2*b.pool.n))) // few rows are shared all the same: those of hc_pre are 24
	b.pool.span(groups, piece, func(lo, hi int) {
		m := b.worker()
		defer b.release(m)
		for g := lo; g < hi; g++ {
			r, over := groupRow(g, l, rows)
			m.aim(p, w, row0+r)
			for i := range x.n {
				m.activations(p, x, i)
				dst := out[i*stride+r:][:l]
				if over == 0 {
					m.vec.out = &dst[0]
					p.vec(&m.vec)
					continue
				}
				// The last vector reaches back over rows that another computes to the same bits; only the rest is written.
				m.vec.out = &grow(&m.acc, l)[0]
				p.vec(&m.vec)
				copy(dst[over:], m.acc[over:])
			}
		}
	})
}

// groupRow is the first row of group g of l rows, and how many of them belong to the group before.
func groupRow(g, l, rows int) (row, over int) {
	row = min(g*l, rows-l)
	return row, g*l - row
}

// aim points the vector kernel at weight rows from row.
func (m *worker) aim(p *product, w *weight, row int) {
	blocks := w.cols / p.block
	need := 5120
	switch p.block {
	case gguf.QK_K:
		need += 384 * blocks
	case gguf.QK8_0:
		need += 64 * blocks
	}
	m.vec.w, m.vec.stride, m.vec.blocks = &w.data[row*w.rowBytes], w.rowBytes, blocks
	m.vec.tmp, m.vec.iq2 = aligned(grow(&m.tmp, need+63)), iq2
}

// aligned is the first place of p that a cache line starts at.
func aligned(p []byte) *byte {
	return &p[-uintptr(unsafe.Pointer(&p[0]))&63]
}

// activations points the vector kernel at row i of x.
func (m *worker) activations(p *product, x *acts, i int) {
	v, c := &m.vec, x.cols
	switch p.block {
	case 1:
		v.xf = &x.f[i*c]
	case gguf.QK8_0:
		v.x, v.xd, v.xn = &x.q8[i*c], &x.q8d[i*c/32], &x.q8n[i*c/32]
	default:
		v.x, v.xd, v.xn, v.xs = &x.qk[i*c], &x.qkd[i*c/256], &x.qkn[i*c/32], &x.qksum[i*c/16]
	}
}

// tiles multiplies many activation rows with tiles of weight rows. Where there are too few tiles for the threads, the
// activation rows are divided as well.
func (b *Backend) tiles(p *product, out []float32, stride int, w *weight, row0, rows int, x *acts) {
	b.pack(p, x, nil, []batchRun{{0, x.n}})
	n := (rows + b.variant.tile - 1) / b.variant.tile
	parts := max(1, min((2*b.pool.n+n-1)/n, x.n/16))
	each := ((x.n+parts-1)/parts + 3) &^ 3
	b.pool.each(n*parts, func(i int) {
		at := i % parts * each
		if at >= x.n {
			return
		}
		m := b.worker()
		defer b.release(m)
		row := i / parts * b.variant.tile
		acc := b.multiply(m, p, w, row0, row, rows, x, at, min(each, x.n-at), &m.acc)
		b.spread(out[at*stride:], stride, acc, row, rows)
	})
}

// spread copies a tile's results (n, tile) to rows of out, less what vectors at the end computed twice.
func (b *Backend) spread(out []float32, stride int, acc []float32, row, rows int) {
	l, t := b.variant.lanes, b.variant.tile
	for g := 0; g < t && row+g < rows; g += l {
		r, over := groupRow((row+g)/l, l, rows)
		for i := 0; i*t < len(acc); i++ {
			copy(out[i*stride+r+over:][:l-over], acc[i*t+g+over:])
		}
	}
}

// multiply gives the products (n, tile) of the weight rows row0+row … with n activation rows from at, which were packed so
// that a batch starts there. rows bounds row.
func (b *Backend) multiply(m *worker, p *product, w *weight, row0, row, rows int, x *acts, at, n int, acc *[]float32) []float32 {
	t, l := b.variant.tile, b.variant.lanes
	blocks, record := w.cols/p.block, p.tileBytes*t
	piece := max(1, tileBytes/record)
	if p.block < gguf.QK_K {
		piece = max(16, piece&^15)
	}
	out := grow(acc, n*t)
	grow(&m.tile, (piece+1)*record)
	m.til.stride, m.til.tmp, m.til.iq2 = w.rowBytes, &grow(&m.tmp, 8192)[0], iq2
	for from := 0; from < blocks; from += piece {
		count := min(piece, blocks-from)
		for g := 0; g < t; g += l {
			r, _ := groupRow((row+g)/l, l, rows)
			if row+g >= rows {
				r = rows - l // any row will do: nobody reads the result
			}
			m.til.w, m.til.blocks = &w.data[(row0+r)*w.rowBytes+from*p.blockBytes], count
			m.til.tile = &m.tile[4*g]
			p.tile(&m.til)
		}
		m.batches(p, x, at, n, from, count, out, t, b.upcoming(p, w, row0, row, rows, from+piece, piece))
	}
	return out
}

// upcoming is the part of a weight that is unpacked next: rows of so many bytes, stride apart.
type upcoming struct {
	at                  *byte
	rows, bytes, stride int
}

// upcoming is what comes after blocks up to from of the tile at row: its next piece, or the first one of the next tile, which most often
// the same thread unpacks. Types of larger blocks fetch it themselves when they unpack.
func (b *Backend) upcoming(p *product, w *weight, row0, row, rows, from, piece int) upcoming {
	blocks := w.cols / p.block
	if from >= blocks {
		from, row = 0, row+b.variant.tile
	}
	count := min(b.variant.tile, rows-row)
	if p.block != gguf.QK8_0 || count <= 0 {
		return upcoming{}
	}
	return upcoming{&w.data[(row0+row)*w.rowBytes+from*p.blockBytes], count, min(piece, blocks-from) * p.blockBytes, w.rowBytes}
}

// batches runs all activation rows over the unpacked part of a tile: blocks from … from+count−1.
func (m *worker) batches(p *product, x *acts, at, n, from, count int, out []float32, t int, next upcoming) {
	g := &m.gem
	g.tile, g.blocks, g.first = &m.tile[0], count, 0
	if from == 0 {
		g.first = 1
	}
	if p.block == 1 {
		g.xf, g.cols, g.n, g.out = &x.f[at*x.cols+from], x.cols, n, &out[0]
		p.gemm(g)
		return
	}
	packed, record := x.packed32, batch32Bytes
	if p.block == gguf.QK_K {
		packed, record = x.packed256, batch256Bytes
	}
	blocks := x.cols / p.block
	steps := count * (n/4 + n%4/2 + n%2) // of all batches: each step fetches its share
	g.next, g.nextBytes, g.nextStride = next.at, next.bytes, next.stride
	for i := 0; i < n; {
		g.n = batchRows(n - i)
		g.nextRows = 0
		if next.rows > 0 {
			g.nextRows = (next.rows + steps - 1) / steps
			next.rows -= count * g.nextRows
		}
		g.x, g.out = &packed[((at+i)*blocks+from*g.n)*record], &out[i*t]
		p.gemm(g)
		i += g.n
		if next.rows > 0 {
			g.next = (*byte)(unsafe.Add(unsafe.Pointer(g.next), count*g.nextRows*next.stride))
		}
	}
	g.next = nil
}

// batchRows is the size of the next batch of rows that are left: 4, 2 or 1.
func batchRows(left int) int {
	switch {
	case left >= 4:
		return 4
	case left >= 2:
		return 2
	}
	return 1
}
