package dsv4

import (
	"encoding/binary"
	"math"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Rows between the packed forms of package backend and little-endian f32.

func putF32(b []byte, v float32) { binary.LittleEndian.PutUint32(b, math.Float32bits(v)) }
func getF32(b []byte) float32    { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }

func pow2(e int) float32 { return float32(math.Ldexp(1, e)) }

func finite(v float32) bool { return math.Float32bits(v)&0x7f800000 != 0x7f800000 }

func round16(v float32) float32 { return gguf.Float16ToFloat32(gguf.Float32ToFloat16(v)) }

// fp8 decodes one code as attention does: the two NaN codes, which no writer makes, read as 448.
func fp8(c byte) float32 {
	if c&0x7f == 0x7f {
		c--
	}
	return gguf.E4M3ToFloat32(c)
}

// exponent is the smallest e ≥ floor with |x| ≤ limit·2^e for every x. Among all exponents that hold the values it has the
// finest steps, so values that any of them can hold exactly, this one can. ok is false if a value is not finite.
func exponent(x []float32, limit float32, floor int) (e int, ok bool) {
	top := float32(0)
	for _, v := range x {
		if !finite(v) {
			return 0, false
		}
		top = max(top, float32(math.Abs(float64(v))))
	}
	if top == 0 {
		return floor, true
	}
	_, e = math.Frexp(float64(top) / float64(limit))     // below 2^e, at or above 2^(e−1)
	if float64(top) <= math.Ldexp(float64(limit), e-1) { // at
		e--
	}
	return max(e, floor), e <= 127
}

// The smallest exponents that a writer makes: of max|x| = 10⁻⁴ in FP8, of 6·2⁻¹²⁶ in FP4.
const (
	fp8Floor = -22
	fp4Floor = -126
)

// unpackKV writes a KV row (d f32) as attention reads it.
func unpackKV(dst, row []byte, s *backend.Shape) {
	n, exps := s.HeadDim-s.RopeDim, row[s.KVExpOffset():]
	for blk := 0; blk < n; blk += backend.FP8Block {
		scale := pow2(int(int8(exps[blk/backend.FP8Block])))
		for i := blk; i < blk+backend.FP8Block; i++ {
			putF32(dst[4*i:], round16(fp8(row[i])*scale))
		}
	}
	for i := range s.RopeDim {
		putF32(dst[4*(n+i):], gguf.Float16ToFloat32(binary.LittleEndian.Uint16(row[n+2*i:])))
	}
}

// packKV is the reverse, into a row of KVRowBytes. It fails if a value is none of the format's.
func packKV(row, src []byte, s *backend.Shape) error {
	n := s.HeadDim - s.RopeDim
	clear(row)
	exps := row[s.KVExpOffset():]
	var x [backend.FP8Block]float32
	for blk := 0; blk < n; blk += backend.FP8Block {
		for i := range x {
			x[i] = getF32(src[4*(blk+i):])
		}
		e, ok := exponent(x[:], 448, fp8Floor)
		if !ok {
			return corrupt("component %d and on: want finite values", blk)
		}
		down, up := pow2(-e), pow2(e)
		for i, v := range x {
			c := gguf.Float32ToE4M3(v * down)
			if fp8(c)*up != v || !finite(round16(v)) {
				return corrupt("component %d: want an e4m3 value times 2^%d within f16, got %g", blk+i, e, v)
			}
			row[blk+i] = c
		}
		exps[blk/backend.FP8Block] = byte(int8(e))
	}
	for i := range s.RopeDim {
		v := getF32(src[4*(n+i):])
		h := gguf.Float32ToFloat16(v)
		if !finite(v) || h&0x7c00 == 0x7c00 {
			return corrupt("component %d: want a finite f16, got %g", n+i, v)
		}
		binary.LittleEndian.PutUint16(row[n+2*i:], h)
	}
	return nil
}

// unpackIndex writes an index row (IndexDim f32).
func unpackIndex(dst, vals, exps []byte) {
	for i := range backend.IndexDim {
		c := vals[i/2] >> (4 * (i & 1))
		putF32(dst[4*i:], gguf.E2M1ToFloat32(c)*pow2(int(int8(exps[i/backend.FP4Block]))))
	}
}

// packIndex is the reverse. It fails if a value is none of the format's.
func packIndex(vals, exps, src []byte) error {
	clear(vals)
	var x [backend.FP4Block]float32
	for blk := 0; blk < backend.IndexDim; blk += backend.FP4Block {
		for i := range x {
			x[i] = getF32(src[4*(blk+i):])
		}
		e, ok := exponent(x[:], 6, fp4Floor)
		if !ok {
			return corrupt("component %d and on: want finite values", blk)
		}
		down, up := pow2(-e), pow2(e)
		for i, v := range x {
			c := gguf.Float32ToE2M1(v * down)
			if gguf.E2M1ToFloat32(c)*up != v {
				return corrupt("component %d: want an e2m1 value times 2^%d, got %g", blk+i, e, v)
			}
			vals[(blk+i)/2] |= c << (4 * (i & 1))
		}
		exps[blk/backend.FP4Block] = byte(int8(e))
	}
	return nil
}
