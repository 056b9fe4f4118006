package cpu

import (
	"encoding/binary"
	"math"

	"github.com/ds4-go/ds4/modules/gguf"
)

// batchRun is a run of activation rows that one tile is multiplied with, in batches of 4, then 2, then 1.
type batchRun struct{ at, n int }

// pack makes the batches that tile kernels read (see gemmArgs): integers, scales and sums of a batch's rows, block by block.
// Row i of the batches is row from[i] of x, or i where from is nil.
func (b *Backend) pack(p *product, x *acts, from []int32, runs []batchRun) {
	n := x.n
	if from != nil {
		n = len(from)
	}
	if p.block == 1 || p.block == gguf.QK8_0 && len(x.packed32) > 0 || p.block == gguf.QK_K && len(x.packed256) > 0 {
		return
	}
	if p.block == gguf.QK8_0 {
		grow(&x.packed32, n*x.cols/32*batch32Bytes)
	} else {
		grow(&x.packed256, n*x.cols/256*batch256Bytes)
	}
	var starts []batchRun
	for _, r := range runs {
		for i := 0; i < r.n; {
			t := batchRows(r.n - i)
			starts = append(starts, batchRun{r.at + i, t})
			i += t
		}
	}
	b.pool.span(len(starts), 4, func(lo, hi int) {
		for _, s := range starts[lo:hi] {
			var rows [4]int
			for t := range s.n {
				rows[t] = s.at + t
				if from != nil {
					rows[t] = int(from[s.at+t])
				}
			}
			if p.block == gguf.QK8_0 {
				x.pack32(rows[:s.n], x.packed32[s.at*x.cols/32*batch32Bytes:])
			} else {
				x.pack256(rows[:s.n], x.packed256[s.at*x.cols/256*batch256Bytes:])
			}
		}
	})
}

func (a *acts) pack32(rows []int, dst []byte) {
	n, nb, le := len(rows), a.cols/32, binary.LittleEndian
	for blk := range nb {
		p := dst[blk*n*batch32Bytes:][:n*batch32Bytes]
		for t, r := range rows {
			i := r*nb + blk
			copy(p[32*t:32*t+32], view8(a.q8[32*i:32*i+32]))
			le.PutUint32(p[32*n+4*t:], math.Float32bits(a.q8d[i]))
			le.PutUint32(p[36*n+4*t:], uint32(a.q8n[i]))
		}
	}
}

func (a *acts) pack256(rows []int, dst []byte) {
	n, nb, le := len(rows), a.cols/256, binary.LittleEndian
	for blk := range nb {
		p := dst[blk*n*batch256Bytes:][:n*batch256Bytes]
		for t, r := range rows {
			i := r*nb + blk
			copy(p[256*t:256*t+256], view8(a.qk[256*i:256*i+256]))
			for j := range 8 {
				le.PutUint32(p[256*n+4*(j*n+t):], uint32(a.qkn[8*i+j]))
				le.PutUint32(p[288*n+4*(j*n+t):], uint32(uint16(a.qksum[16*i+2*j]))|uint32(uint16(a.qksum[16*i+2*j+1]))<<16)
			}
			le.PutUint32(p[320*n+4*t:], math.Float32bits(a.qkd[i]))
		}
	}
}
