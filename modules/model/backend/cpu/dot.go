package cpu

import (
	"encoding/binary"
	"math/bits"

	"github.com/ds4-go/ds4/modules/gguf"
)

// Plain dot products of one weight row with one activation row. Integer block sums are exact; the f32 sum runs over
// blocks in ascending order. Block layouts are described in package gguf.

// dotF32 and dotF16 sum in ascending index.
func dotF32(w []byte, x []float32) float32 { return dot(floats(w), x) }

func dotF16(w []byte, x []float32) float32 {
	acc := float32(0)
	for i, v := range x {
		acc += float32(f16(w[2*i:]) * v)
	}
	return acc
}

func dotQ8_0(w []byte, q []int8, d []float32) float32 {
	acc := float32(0)
	for b := range len(q) / 32 {
		blk := w[34*b : 34*b+34]
		sum := int32(0)
		for i, v := range q[32*b : 32*b+32] {
			sum += int32(int8(blk[2+i])) * int32(v)
		}
		acc += float32(float32(f16(blk)*d[b]) * float32(sum))
	}
	return acc
}

// mxfp4 holds the doubled E2M1 values by code.
var mxfp4 = [16]int8{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}

func dotMXFP4(w []byte, q []int8, d []float32) float32 {
	acc := float32(0)
	for b := range len(q) / 32 {
		blk := w[17*b : 17*b+17]
		sum := int32(0)
		for j, c := range blk[1:] {
			sum += int32(mxfp4[c&15])*int32(q[32*b+j]) + int32(mxfp4[c>>4])*int32(q[32*b+16+j])
		}
		acc += float32(float32(0.5*gguf.E8M0ToFloat32(blk[0])*d[b]) * float32(sum))
	}
	return acc
}

func dotQ2_K(w []byte, q []int8, d []float32, sums []int16) float32 {
	acc := float32(0)
	for b := range d[:len(q)/256] {
		blk, y, ys := w[84*b:84*b+84], q[256*b:256*b+256], sums[16*b:16*b+16]
		isum, msum := int32(0), int32(0)
		for j, s := range blk[:16] {
			code := blk[16+32*(j/8)+16*(j&1):][:16]
			shift, part := 2*(j/2%4), int32(0)
			for i, c := range code {
				part += int32(c>>shift&3) * int32(y[16*j+i])
			}
			isum += int32(s&15) * part
			msum += int32(s>>4) * int32(ys[j])
		}
		acc += float32(float32(d[b]*f16(blk[80:]))*float32(isum)) - float32(float32(d[b]*f16(blk[82:]))*float32(msum))
	}
	return acc
}

func dotQ4_K(w []byte, q []int8, d []float32, sums []int16) float32 {
	acc := float32(0)
	for b := range d[:len(q)/256] {
		blk, y, ys := w[144*b:144*b+144], q[256*b:256*b+256], sums[16*b:16*b+16]
		scales := (*[12]byte)(blk[4:16])
		isum, msum := int32(0), int32(0)
		for j := range 8 {
			sc, mn := gguf.Q4_KScaleMin(scales, j)
			shift, part := 4*(j&1), int32(0)
			for i, c := range blk[16+32*(j/2):][:32] {
				part += int32(c>>shift&15) * int32(y[32*j+i])
			}
			isum += int32(sc) * part
			msum += int32(mn) * (int32(ys[2*j]) + int32(ys[2*j+1]))
		}
		acc += float32(float32(d[b]*f16(blk))*float32(isum)) - float32(float32(d[b]*f16(blk[2:]))*float32(msum))
	}
	return acc
}

func dotIQ2_XXS(w []byte, q []int8, d []float32) float32 {
	grid := gguf.IQ2XXSGrid()
	acc := float32(0)
	for b := range d[:len(q)/256] {
		blk, y := w[66*b:66*b+66], q[256*b:256*b+256]
		sum := int32(0)
		for g := range 8 {
			codes, t := blk[2+8*g:], binary.LittleEndian.Uint32(blk[6+8*g:])
			part := int32(0)
			for l := range 4 {
				mag, sign := grid[codes[l]], t>>(7*l)&127
				sign |= uint32(bits.OnesCount32(sign)&1) << 7
				for j, v := range y[32*g+8*l:][:8] {
					p := int32(mag>>(8*j)&255) * int32(v)
					if sign>>j&1 != 0 {
						p = -p
					}
					part += p
				}
			}
			sum += int32(2*(t>>28)+1) * part
		}
		acc += float32(float32(f16(blk)*d[b]) * float32(sum))
	}
	return 0.125 * acc
}
