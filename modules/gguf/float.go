package gguf

import (
	"math"
	"sync"
)

// Conversions between float32 and the small formats. All of them round to
// nearest, ties to even; each says what becomes of what does not fit.

// Float16ToFloat32 converts an IEEE binary16. It is exact.
func Float16ToFloat32(h uint16) float32 {
	const expMask = 0x7c00 << 13
	bits := uint32(h&0x7fff) << 13
	exp := bits & expMask
	bits += (127 - 15) << 23
	switch exp {
	case expMask: // infinity, NaN
		bits += (128 - 16) << 23
	case 0: // zero, subnormal: let the subtraction normalise
		f := math.Float32frombits(bits+1<<23) - math.Float32frombits((127-14)<<23)
		bits = math.Float32bits(f)
	}
	return math.Float32frombits(bits | uint32(h&0x8000)<<16)
}

// Float32ToFloat16 converts to IEEE binary16. From 65520 up it gives infinity,
// up to 2^-25 a signed zero, and for any NaN the quiet one of its sign.
func Float32ToFloat16(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits >> 16 & 0x8000)
	bits &= 0x7fffffff
	switch {
	case bits > 0x7f800000:
		return sign | 0x7e00
	case bits >= 0x477ff000: // 65520
		return sign | 0x7c00
	case bits < 0x38800000: // below 2^-14: subnormal, units of 2^-24
		// The sum has units of 2^-24 too, so the addition does the rounding.
		return sign | uint16(math.Float32bits(math.Float32frombits(bits)+0.5)-0x3f000000)
	}
	bits += 0xfff + bits>>13&1
	return sign | uint16(bits>>13-(127-15)<<10)
}

// Float16Table returns [Float16ToFloat32] of every code: 256 KiB, made at the
// first call.
func Float16Table() *[65536]float32 { return float16Table() }

var float16Table = sync.OnceValue(func() *[65536]float32 {
	t := new([65536]float32)
	for i := range t {
		t[i] = Float16ToFloat32(uint16(i))
	}
	return t
})

// BFloat16ToFloat32 converts a bfloat16. It is exact.
func BFloat16ToFloat32(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// Float32ToBFloat16 converts to bfloat16. A NaN stays one.
func Float32ToBFloat16(f float32) uint16 {
	bits := math.Float32bits(f)
	if bits&0x7fffffff > 0x7f800000 {
		return uint16(bits>>16) | 1<<6
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// E8M0ToFloat32 converts an exponent byte: 2^(e-127). By the bit formula that
// upstream uses, 255 gives infinity; nominally it is NaN, see [E8M0Valid].
func E8M0ToFloat32(e uint8) float32 {
	if e == 0 {
		return math.Float32frombits(0x00400000)
	}
	return math.Float32frombits(uint32(e) << 23)
}

// E8M0Valid reports whether e is a number: anything but 255.
func E8M0Valid(e uint8) bool { return e != 255 }

// E4M3ToFloat32 converts an FP8 E4M3FN code. The two NaN codes 0x7f and 0xff
// give +0, as in ds4's converter.
func E4M3ToFloat32(b uint8) float32 { return e4m3Table[b] }

var e4m3Table = makeE4M3Table()

func makeE4M3Table() (t [256]float32) {
	for i := range 256 {
		exp, mant := i>>3&15, float64(i&7)
		v := math.Ldexp(mant, -9)
		if exp > 0 {
			v = math.Ldexp(8+mant, exp-10)
		}
		if i&0x7f == 0x7f {
			continue
		}
		if i&0x80 != 0 {
			v = math.Copysign(v, -1)
		}
		t[i] = float32(v)
	}
	return t
}

// Float32ToE4M3 converts to FP8 E4M3FN. Beyond 448 it saturates, infinity
// included; a NaN gives 0x7f with its sign.
func Float32ToE4M3(f float32) uint8 {
	bits := math.Float32bits(f)
	sign := uint8(bits >> 24 & 0x80)
	bits &= 0x7fffffff
	switch {
	case bits > 0x7f800000:
		return sign | 0x7f
	case bits >= 0x43e00000: // 448
		return sign | 0x7e
	case bits < 0x3c800000: // below 2^-6: subnormal, units of 2^-9
		// 2^14 has units of 2^-9, so the addition does the rounding.
		return sign | uint8(math.Float32bits(math.Float32frombits(bits)+16384)-0x46800000)
	}
	bits += 0x7ffff + bits>>20&1
	return sign | uint8(bits>>20-(127-7)<<3)
}

// E2M1ToFloat32 converts an FP4 E2M1 code, the low nibble of b. Code 8 gives
// +0, as in ds4's table.
func E2M1ToFloat32(b uint8) float32 { return 0.5 * float32(e2m1Doubled[b&15]) }

// e2m1Doubled holds twice the value of each code, as integers.
var e2m1Doubled = [16]int8{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}

// Float32ToE2M1 converts to FP4 E2M1, ties to the even code. Beyond 6 it
// saturates; zeros and NaNs give code 0, other negatives have bit 3 set even
// where they round to zero.
func Float32ToE2M1(f float32) uint8 {
	sign := uint8(0)
	if f < 0 {
		sign, f = 8, -f
	}
	// Halfway points; the ones after an even code belong to that code.
	switch {
	case f <= 0.25:
		return sign
	case f < 0.75:
		return sign | 1
	case f <= 1.25:
		return sign | 2
	case f < 1.75:
		return sign | 3
	case f <= 2.5:
		return sign | 4
	case f < 3.5:
		return sign | 5
	case f <= 5:
		return sign | 6
	case f > 5:
		return sign | 7
	}
	return 0 // NaN
}
