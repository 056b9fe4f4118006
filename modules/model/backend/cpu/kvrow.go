package cpu

import (
	"encoding/binary"
	"math"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Packed cache rows; their layout is in package backend.

// blockScale is the exponent e of the smallest power of two with x/2^e within limit for every x; floor bounds max|x| below.
func blockScale(x []float32, floor, limit float32) int {
	a := floor
	for _, v := range x {
		a = max(a, float32(math.Abs(float64(v))))
	}
	return int(math.Ceil(float64(log2(a / limit))))
}

// packKV stores a KV row: E4M3 blocks, f16 tail, exponents.
func packKV(dst []byte, x []float32, rope int) {
	n := len(x) - rope
	exps := dst[n+2*rope:]
	for blk := 0; blk < n; blk += backend.FP8Block {
		v := x[blk : blk+backend.FP8Block]
		e := blockScale(v, 1e-4, 448)
		scale := float32(math.Ldexp(1, e))
		for i, f := range v {
			dst[blk+i] = gguf.Float32ToE4M3(min(max(f/scale, -448), 448))
		}
		exps[blk/backend.FP8Block] = byte(int8(e))
	}
	for i, f := range x[n:] {
		binary.LittleEndian.PutUint16(dst[n+2*i:], gguf.Float32ToFloat16(f))
	}
	clear(exps[n/backend.FP8Block:])
}

// unpackKV reads a KV row as attention sees it: every value an f16.
func unpackKV(dst []float32, p []byte, rope int) {
	n := len(dst) - rope
	exps := p[n+2*rope:]
	for blk := 0; blk < n; blk += backend.FP8Block {
		e := int(int8(exps[blk/backend.FP8Block]))
		scale := float32(math.Ldexp(1, e))
		if in, out := p[blk:blk+backend.FP8Block], dst[blk:blk+backend.FP8Block]; e >= -15 && e <= 7 {
			for i, c := range in { // every product is an f16
				out[i] = fp8Table[c] * scale
			}
		} else {
			for i, c := range in {
				out[i] = round16(fp8Table[c] * scale)
			}
		}
	}
	for i := range rope {
		dst[n+i] = f16(p[n+2*i:])
	}
}

// fp8Table decodes E4M3; the two NaN codes, which no writer makes, read as 448.
var fp8Table = func() (t [256]float32) {
	for i := range t {
		c := byte(i)
		if c&0x7f == 0x7f {
			c--
		}
		t[i] = gguf.E4M3ToFloat32(c)
	}
	return t
}()

// hadamard is the Walsh–Hadamard transform of IndexDim values in natural order, normalised.
func hadamard(x []float32) {
	for stride := 1; stride < len(x); stride *= 2 {
		for i := 0; i < len(x); i += 2 * stride {
			for j := i; j < i+stride; j++ {
				a, c := x[j], x[j+stride]
				x[j], x[j+stride] = a+c, a-c
			}
		}
	}
	const norm = 0.08838834764831845 // 128^(−1/2)
	for i := range x {
		x[i] *= norm
	}
}

// packIndex stores an index row: nibbles of sign and E2M1 code, low one first, and exponents.
func packIndex(vals, exps []byte, x []float32) {
	for blk := 0; blk < len(x); blk += backend.FP4Block {
		v := x[blk : blk+backend.FP4Block]
		e := blockScale(v, 7.052966104933725e-38, 6)
		scale := float32(math.Ldexp(1, e))
		for i, f := range v {
			c := gguf.Float32ToE2M1(min(max(f/scale, -6), 6))
			if k := (blk + i) / 2; i&1 == 0 {
				vals[k] = c
			} else {
				vals[k] |= c << 4
			}
		}
		exps[blk/backend.FP4Block] = byte(int8(e))
	}
}

// unpackIndex reads an index row, without the f16 rounding: an index query is used as it is.
func unpackIndex(dst []float32, vals, exps []byte) {
	for blk := 0; blk < len(dst); blk += backend.FP4Block {
		scale := float32(math.Ldexp(1, int(int8(exps[blk/backend.FP4Block]))))
		var value [16]float32
		for c := range value {
			value[c] = fp4Table[c] * scale
		}
		v := vals[blk/2:][:backend.FP4Block/2]
		out := dst[blk:][:2*len(v)]
		for i, c := range v {
			out[2*i], out[2*i+1] = value[c&15], value[c>>4]
		}
	}
}

// fp4Table decodes E2M1.
var fp4Table = func() (t [16]float32) {
	for c := range t {
		t[c] = gguf.E2M1ToFloat32(byte(c))
	}
	return t
}()
