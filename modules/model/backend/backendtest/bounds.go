package backendtest

import (
	"encoding/binary"
	"math"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Default bounds: root mean square error over a row, relative.
const (
	// sumBound is for operations whose sums may be taken in another order and whose transcendental functions may be a
	// platform's f32 ones: a few hundred ulps.
	sumBound = 3e-5
	// intBound is for products with activations quantised to int8: reordering moves a few values across a rounding
	// boundary, one step of 1/127 of a block's maximum each.
	intBound = 2e-3
	// projectionBound is for compressor inputs: F16 weights times f32 (or f16) activations.
	projectionBound = 1e-3
	// kvBound is for packed KV rows: an E4M3 step is 1/16 of a value, and a value in a hundred may take it.
	kvBound = 1e-2
	// indexBound is for index rows: an E2M1 step is up to half a value, and one in a hundred may take it.
	indexBound = 6e-2
)

// kvError compares packed KV rows by value. A row with another padding, or with a NaN code, is infinitely wrong.
func kvError(x *comparison, got, want []byte) float64 {
	for _, c := range got[x.sh.KVExpOffset()+(x.sh.HeadDim-x.sh.RopeDim)/backend.FP8Block:] {
		if c != 0 {
			return math.Inf(1)
		}
	}
	return rmsError(kvRow(x.sh, got), kvRow(x.sh, want))
}

func kvRow(sh *backend.Shape, p []byte) []float32 {
	out, nope := make([]float32, sh.HeadDim), sh.HeadDim-sh.RopeDim
	for i := range nope {
		out[i] = gguf.E4M3ToFloat32(p[i]) * float32(math.Ldexp(1, int(int8(p[sh.KVExpOffset()+i/backend.FP8Block]))))
	}
	for i := range sh.RopeDim {
		out[nope+i] = gguf.Float16ToFloat32(binary.LittleEndian.Uint16(p[nope+2*i:]))
	}
	return out
}

// indexRow is index row c of a page part, by value.
func (r *rig) indexRow(part []byte, il, c int) []float32 {
	vals := part[r.sh.PageIndexOffset(il)+c*backend.IndexRowBytes:][:backend.IndexRowBytes]
	exps := part[r.sh.PageIndexExpOffset(il)+c*backend.IndexExpBytes:][:backend.IndexExpBytes]
	out := make([]float32, backend.IndexDim)
	for i := range out {
		out[i] = gguf.E2M1ToFloat32(vals[i/2]>>(4*(i&1))&15) * float32(math.Ldexp(1, int(int8(exps[i/backend.FP4Block]))))
	}
	return out
}

// sameInts wants equal integers.
func sameInts(_ *comparison, got, want []byte) float64 {
	for i, v := range ints(want) {
		if ints(got)[i] != v {
			return math.Inf(1)
		}
	}
	return 0
}
