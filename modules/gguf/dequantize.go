package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// CanDequantize reports whether [Dequantize] knows the type.
func CanDequantize(t Type) bool { return dequantizer(t) != nil }

// Dequantize decodes src, whole blocks of type t, into dst, which must have
// exactly their number of elements. The result does not depend on the machine:
// with the f16 scales of these formats at most one operation per element
// rounds.
//
// Types: f32, f16, bf16, q8_0, q2_k, q4_k, q8_k, iq2_xxs, mxfp4.
func Dequantize(t Type, dst []float32, src []byte) error {
	decode := dequantizer(t)
	if decode == nil {
		return fmt.Errorf("gguf: dequantize %v: %w", t, ErrUnsupported)
	}
	want, err := t.RowBytes(len(dst))
	if err != nil {
		return err
	}
	if int64(len(src)) != want {
		return fmt.Errorf("gguf: dequantize %v: want %d bytes for %d elements, got %d", t, want, len(dst), len(src))
	}
	decode(dst, src)
	return nil
}

func dequantizer(t Type) func(dst []float32, src []byte) {
	switch t {
	case TypeF32:
		return decodeF32
	case TypeF16:
		return decodeF16
	case TypeBF16:
		return decodeBF16
	case TypeQ8_0:
		return decodeQ8_0
	case TypeQ2_K:
		return decodeQ2_K
	case TypeQ4_K:
		return decodeQ4_K
	case TypeQ8_K:
		return decodeQ8_K
	case TypeIQ2_XXS:
		return decodeIQ2_XXS
	case TypeMXFP4:
		return decodeMXFP4
	}
	return nil
}

func decodeF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

func decodeF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = loadF16(src[2*i:])
	}
}

func decodeBF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = BFloat16ToFloat32(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

func decodeQ8_0(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[QK8_0:], src[Q8_0Bytes:] {
		d := loadF16(src[Q8_0OffD:])
		q := src[Q8_0OffQ:Q8_0Bytes]
		for i := range dst[:QK8_0] {
			dst[i] = d * float32(int8(q[i]))
		}
	}
}

func decodeQ2_K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[QK_K:], src[Q2_KBytes:] {
		d, dmin := loadF16(src[Q2_KOffD:]), loadF16(src[Q2_KOffDMin:])
		q := src[Q2_KOffQ:Q2_KOffD]
		for i := range dst[:QK_K] {
			s := src[Q2_KOffScales+i/16]
			code := q[32*(i/128)+i%32] >> (2 * (i % 128 / 32)) & 3
			scaled := float32(float32(d*float32(s&15)) * float32(code))
			dst[i] = scaled - float32(dmin*float32(s>>4))
		}
	}
}

func decodeQ4_K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[QK_K:], src[Q4_KBytes:] {
		d, dmin := loadF16(src[Q4_KOffD:]), loadF16(src[Q4_KOffDMin:])
		packed := (*[12]byte)(src[Q4_KOffScales:])
		for j := range 8 {
			sc, mn := Q4_KScaleMin(packed, j)
			scale, minimum := float32(d*float32(sc)), float32(dmin*float32(mn))
			q := src[Q4_KOffQ+32*(j/2):]
			shift := 4 * (j & 1)
			for i := range 32 {
				dst[32*j+i] = float32(scale*float32(q[i]>>shift&15)) - minimum
			}
		}
	}
}

func decodeQ8_K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[QK_K:], src[Q8_KBytes:] {
		d := math.Float32frombits(binary.LittleEndian.Uint32(src[Q8_KOffD:]))
		q := src[Q8_KOffQ:Q8_KOffSums]
		for i := range dst[:QK_K] {
			dst[i] = d * float32(int8(q[i]))
		}
	}
}

func decodeIQ2_XXS(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[QK_K:], src[IQ2_XXSBytes:] {
		d := loadF16(src[IQ2_XXSOffD:])
		for group := range IQ2_XXSGroups {
			g := src[IQ2_XXSOffQ+IQ2_XXSGroup*group:]
			b := binary.LittleEndian.Uint32(g[4:])
			scale := d * (0.5 + float32(b>>28)) * 0.25
			for l := range 4 {
				row, signs := iq2xxsGrid[g[l]], iq2xxsSigns[b>>(7*l)&127]
				out := dst[32*group+8*l:]
				for k := range 8 {
					v := scale * float32(uint8(row>>(8*k)))
					if signs>>k&1 != 0 {
						v = -v
					}
					out[k] = v
				}
			}
		}
	}
}

func decodeMXFP4(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[QKMXFP4:], src[MXFP4Bytes:] {
		half := e8m0Half(src[MXFP4OffE])
		for j, q := range src[MXFP4OffQ:MXFP4Bytes] {
			dst[j] = half * float32(e2m1Doubled[q&15])
			dst[j+16] = half * float32(e2m1Doubled[q>>4])
		}
	}
}

// e8m0Half returns 2^(e-128), half of what the exponent byte stands for.
func e8m0Half(e uint8) float32 {
	if e < 2 {
		return math.Float32frombits(0x00200000 << e)
	}
	return math.Float32frombits(uint32(e-1) << 23)
}

func loadF16(b []byte) float32 { return Float16ToFloat32(binary.LittleEndian.Uint16(b)) }

func storeF16(b []byte, f float32) { binary.LittleEndian.PutUint16(b, Float32ToFloat16(f)) }
