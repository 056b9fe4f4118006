package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// The reference quantisers, byte for byte those of ggml and ds4 compiled
// without fused multiply-add. Go may fuse x*y + z on some machines; an explicit
// float32(x*y) forbids it, which is why they are full of such conversions.

// CanQuantize reports whether [Quantize] knows the type.
func CanQuantize(t Type) bool { return quantizer(t) != nil }

// Quantize encodes src, rows of nPerRow elements, as type t into dst, which
// must have exactly the bytes of these rows (see [Type.RowBytes]).
//
// importance, if not nil, has one non-negative weight per column, used for
// every row: how much an error there matters. Q2_K, Q4_K and IQ2_XXS heed it.
// IQ2_XXS cannot do without one; given nil, it makes one from src by
// [SyntheticImportance], so src must then be the whole matrix.
//
// Types: f32, f16, bf16, q8_0, q2_k, q4_k, q8_k, iq2_xxs, mxfp4. Elements must
// be finite.
func Quantize(t Type, dst []byte, src []float32, nPerRow int, importance []float32) error {
	encode := quantizer(t)
	if encode == nil {
		return fmt.Errorf("gguf: quantize %v: %w", t, ErrUnsupported)
	}
	rowBytes, err := checkQuantize(t, dst, src, nPerRow, importance)
	if err != nil {
		return err
	}
	if t == TypeIQ2_XXS && importance == nil {
		importance = make([]float32, nPerRow)
		if err := SyntheticImportance(importance, src); err != nil {
			return err
		}
	}
	for ; len(src) > 0; dst, src = dst[rowBytes:], src[nPerRow:] {
		encode(dst[:rowBytes], src[:nPerRow], importance)
	}
	return nil
}

func checkQuantize(t Type, dst []byte, src []float32, nPerRow int, importance []float32) (int, error) {
	if nPerRow <= 0 || len(src)%nPerRow != 0 {
		return 0, fmt.Errorf("gguf: quantize %v: want whole rows of %d elements, got %d elements", t, nPerRow, len(src))
	}
	rowBytes, err := t.RowBytes(nPerRow)
	if err != nil {
		return 0, err
	}
	if want := int64(len(src)/nPerRow) * rowBytes; int64(len(dst)) != want {
		return 0, fmt.Errorf("gguf: quantize %v: want room for %d bytes, got %d", t, want, len(dst))
	}
	if importance != nil && len(importance) != nPerRow {
		return 0, fmt.Errorf("gguf: quantize %v: want %d importance weights, got %d", t, nPerRow, len(importance))
	}
	for i, w := range importance {
		if !(w >= 0) || w > math.MaxFloat32 {
			return 0, fmt.Errorf("gguf: quantize %v: importance %d: want a finite weight of 0 or more, got %g", t, i, w)
		}
	}
	for i, x := range src {
		if math.Float32bits(x)&0x7f800000 == 0x7f800000 {
			return 0, fmt.Errorf("gguf: quantize %v: element %d: want a finite number, got %g", t, i, x)
		}
	}
	return int(rowBytes), nil
}

// SyntheticImportance fills dst, one weight per column, with the sums of
// squares of the matrix src: what ds4 uses where nothing was measured.
func SyntheticImportance(dst, src []float32) error {
	if len(dst) == 0 || len(src)%len(dst) != 0 {
		return fmt.Errorf("gguf: synthetic importance: want whole rows of %d elements, got %d elements", len(dst), len(src))
	}
	clear(dst)
	for ; len(src) > 0; src = src[len(dst):] {
		for c, x := range src[:len(dst)] {
			dst[c] += float32(x * x)
		}
	}
	return nil
}

func quantizer(t Type) func(dst []byte, row, importance []float32) {
	switch t {
	case TypeF32:
		return encodeF32
	case TypeF16:
		return encodeF16
	case TypeBF16:
		return encodeBF16
	case TypeQ8_0:
		return encodeQ8_0
	case TypeQ2_K:
		return encodeQ2_K
	case TypeQ4_K:
		return encodeQ4_K
	case TypeQ8_K:
		return encodeQ8_K
	case TypeIQ2_XXS:
		return encodeIQ2_XXS
	case TypeMXFP4:
		return encodeMXFP4
	}
	return nil
}

func encodeF32(dst []byte, row, _ []float32) {
	for i, x := range row {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(x))
	}
}

func encodeF16(dst []byte, row, _ []float32) {
	for i, x := range row {
		storeF16(dst[2*i:], x)
	}
}

func encodeBF16(dst []byte, row, _ []float32) {
	for i, x := range row {
		binary.LittleEndian.PutUint16(dst[2*i:], Float32ToBFloat16(x))
	}
}

// encodeQ8_0 rounds half away from zero, unlike all the others.
func encodeQ8_0(dst []byte, row, _ []float32) {
	for ; len(row) > 0; dst, row = dst[Q8_0Bytes:], row[QK8_0:] {
		d := maxAbs(row[:QK8_0]) / 127
		id := float32(0)
		if d != 0 {
			id = 1 / d
		}
		storeF16(dst[Q8_0OffD:], d)
		q := dst[Q8_0OffQ:Q8_0Bytes]
		for i, x := range row[:QK8_0] {
			// The clamp matters only where 1/d overflows; d is then stored as 0.
			v := math.Round(float64(float32(x * id)))
			q[i] = uint8(int8(max(-127, min(127, orZero(v)))))
		}
	}
}

// encodeQ8_K makes the block that activations are multiplied as. The extreme
// element becomes -127, the first one of several.
func encodeQ8_K(dst []byte, row, _ []float32) {
	for ; len(row) > 0; dst, row = dst[Q8_KBytes:], row[QK_K:] {
		clear(dst[:Q8_KBytes])
		amax, extreme := float32(0), float32(0)
		for _, x := range row[:QK_K] {
			if a := abs32(x); a > amax {
				amax, extreme = a, x
			}
		}
		if amax == 0 {
			continue
		}
		is := -127 / extreme
		if math.IsInf(float64(is), 0) { // below about 3.7e-37: as good as zero
			continue
		}
		binary.LittleEndian.PutUint32(dst[Q8_KOffD:], math.Float32bits(1/is))
		sum := int16(0)
		for i, x := range row[:QK_K] {
			q := int8(max(-128, min(127, math.RoundToEven(float64(float32(is*x))))))
			dst[Q8_KOffQ+i] = uint8(q)
			sum += int16(q)
			if i%16 == 15 {
				binary.LittleEndian.PutUint16(dst[Q8_KOffSums+i/16*2:], uint16(sum))
				sum = 0
			}
		}
	}
}

// encodeMXFP4 takes the exponent of the largest magnitude, less that of the
// largest code (4 to 6 share 2^2), and for each element the nearest code, the
// lowest of two at the same distance.
func encodeMXFP4(dst []byte, row, _ []float32) {
	for ; len(row) > 0; dst, row = dst[MXFP4Bytes:], row[QKMXFP4:] {
		e := uint8(0)
		if amax := maxAbs(row[:QKMXFP4]); amax > 0 {
			// Upstream takes a float32 logarithm, which just below a power of
			// two rounds up to it.
			log := float32(math.Log2(float64(amax)))
			e = uint8(max(0, min(254, math.Floor(float64(log))-2+127)))
		}
		dst[MXFP4OffE] = e
		half := e8m0Half(e)
		for j := range 16 {
			dst[MXFP4OffQ+j] = nearestE2M1(row[j], half) | nearestE2M1(row[j+16], half)<<4
		}
	}
}

func nearestE2M1(x, half float32) uint8 {
	best, code := abs32(x), uint8(0)
	for i, v := range e2m1Doubled {
		if d := abs32(float32(float32(v)*half) - x); d < best {
			best, code = d, uint8(i)
		}
	}
	return code
}

func maxAbs(x []float32) float32 {
	m := float32(0)
	for _, v := range x {
		m = max(m, abs32(v))
	}
	return m
}

func abs32(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

func sqrt32(x float32) float32 { return float32(math.Sqrt(float64(x))) }

func orZero(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return v
}
