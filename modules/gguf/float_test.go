package gguf_test

import (
	"math"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
)

func TestFloatGolden(t *testing.T) {
	g := readGolden(t, "f16_bf16")
	f16, bf16, x := g.u16("f16"), g.u16("bf16"), g.f32("x")
	back16, backB := make([]float32, len(x)), make([]float32, len(x))
	for i, v := range x {
		if got := gguf.Float32ToFloat16(v); got != f16[i] {
			t.Errorf("f16 of %g: want %04x, got %04x", v, f16[i], got)
		}
		if got := gguf.Float32ToBFloat16(v); got != bf16[i] {
			t.Errorf("bf16 of %g: want %04x, got %04x", v, bf16[i], got)
		}
		back16[i], backB[i] = gguf.Float16ToFloat32(f16[i]), gguf.BFloat16ToFloat32(bf16[i])
	}
	sameBits(t, "f16_to_f32", g.f32("f16_to_f32"), back16)
	sameBits(t, "bf16_to_f32", g.f32("bf16_to_f32"), backB)

	g = readGolden(t, "hf_fp")
	e8m0, e4m3 := make([]float32, 256), make([]float32, 256)
	for i := range 256 {
		e8m0[i], e4m3[i] = gguf.E8M0ToFloat32(uint8(i)), gguf.E4M3ToFloat32(uint8(i))
	}
	sameBits(t, "e8m0_table", g.f32("e8m0_table"), e8m0)
	sameBits(t, "e4m3_table", g.f32("e4m3_table"), e4m3)
}

// TestSafetensorsFormats decodes the FP8 and FP4 weights of the original model.
func TestSafetensorsFormats(t *testing.T) {
	g := readGolden(t, "hf_fp")
	scale := gguf.E8M0ToFloat32(g.raw("fp8_scale", "U8")[0])
	fp8 := make([]float32, 16*128)
	for i := range fp8 {
		fp8[i] = gguf.E4M3ToFloat32(g.raw("fp8_w", "U8")[i]) * scale
	}
	sameBits(t, "fp8", g.f32("fp8_deq_first16rows"), fp8)

	scales := g.raw("fp4_scale", "U8")
	fp4 := make([]float32, 4*256)
	for i, b := range g.raw("fp4_w", "U8") { // two neighbours a byte, low nibble first
		s := gguf.E8M0ToFloat32(scales[i/16])
		fp4[2*i], fp4[2*i+1] = gguf.E2M1ToFloat32(b)*s, gguf.E2M1ToFloat32(b>>4)*s
	}
	sameBits(t, "fp4", g.f32("fp4_deq"), fp4)
}

// TestFloatToSmall rounds the runtime's two activation round trips.
func TestFloatToSmall(t *testing.T) {
	g := readGolden(t, "act_sim")
	in, want := g.f32("fp8kv_in"), g.f32("fp8kv_out")
	got := append([]float32(nil), in...)
	for row := range 6 {
		for group := range 7 {
			x := got[512*row+64*group:][:64]
			s := powerOfTwoScale(x, 1e-4, 448)
			for i := range x {
				x[i] = gguf.E4M3ToFloat32(gguf.Float32ToE4M3(x[i]/s)) * s
			}
		}
	}
	sameBits(t, "fp8kv", want, got)

	got = append([]float32(nil), g.f32("idxqat_in")...)
	for row := range 6 {
		x := got[128*row:][:128]
		hadamard(x)
		for group := range 4 {
			x := x[32*group:][:32]
			s := powerOfTwoScale(x, 7.052966104933725e-38, 6)
			for i := range x {
				x[i] = e2m1Signed(gguf.Float32ToE2M1(x[i]/s)) * s
			}
		}
	}
	sameBits(t, "idxqat", g.f32("idxqat_out"), got)
}

// e2m1Signed keeps the sign of code 8, which the activation path has.
func e2m1Signed(code uint8) float32 {
	if code == 8 {
		return float32(math.Copysign(0, -1))
	}
	return gguf.E2M1ToFloat32(code)
}

func powerOfTwoScale(x []float32, floor, top float32) float32 {
	amax := floor
	for _, v := range x {
		amax = max(amax, float32(math.Abs(float64(v))))
	}
	return float32(math.Exp2(math.Ceil(math.Log2(float64(amax / top)))))
}

func hadamard(x []float32) {
	for stride := 1; stride < len(x); stride *= 2 {
		for i := range x {
			if i&stride == 0 {
				x[i], x[i+stride] = x[i]+x[i+stride], x[i]-x[i+stride]
			}
		}
	}
	for i := range x {
		x[i] *= 0.08838834764831845
	}
}

// TestFloat16Exhaustive takes every code there and back, and rounds halfway
// points to even.
func TestFloat16Exhaustive(t *testing.T) {
	table := gguf.Float16Table()
	for h := range 65536 {
		h := uint16(h)
		f := gguf.Float16ToFloat32(h)
		exp, mant := int(h>>10&31), float64(h&1023)
		want := math.Ldexp(mant, -24)
		switch {
		case exp == 31 && mant == 0:
			want = math.Inf(1)
		case exp == 31:
			if f == f || gguf.Float32ToFloat16(f)&0x7fff != 0x7e00 {
				t.Fatalf("%04x: want NaN there and back, got %g", h, f)
			}
			continue
		case exp > 0:
			want = math.Ldexp(1024+mant, exp-25)
		}
		if h>>15 != 0 {
			want = math.Copysign(want, -1)
		}
		if math.Float64bits(float64(f)) != math.Float64bits(want) || math.Float32bits(table[h]) != math.Float32bits(f) {
			t.Fatalf("%04x: want %g, got %g, table %g", h, want, f, table[h])
		}
		if back := gguf.Float32ToFloat16(f); back != h {
			t.Fatalf("%04x: came back as %04x", h, back)
		}
		if next := gguf.Float16ToFloat32(h + 1); exp < 30 {
			half := f/2 + next/2
			even := h + h&1
			if got := gguf.Float32ToFloat16(half); got != even {
				t.Fatalf("between %04x and %04x: want %04x, got %04x", h, h+1, even, got)
			}
		}
	}
}

// TestSmallFloatsNearest compares the roundings with a search for the nearest
// code, even code on ties.
func TestSmallFloatsNearest(t *testing.T) {
	nearest := func(x float64, codes int, value func(uint8) float32) uint8 {
		best := 0
		for c := range codes {
			d, b := math.Abs(float64(value(uint8(c)))-x), math.Abs(float64(value(uint8(best)))-x)
			if d < b || d == b && c%2 == 0 {
				best = c
			}
		}
		return uint8(best)
	}
	for i := range 20000 {
		x := float32(math.Exp2(float64(i)/1000 - 11)) // 2^-11 to 2^9
		if i%2 == 1 {
			x = float32(i) / 64 // many ties
		}
		if want, got := nearest(float64(x), 0x7f, gguf.E4M3ToFloat32), gguf.Float32ToE4M3(x); want != got {
			t.Fatalf("e4m3 of %g: want %02x, got %02x", x, want, got)
		}
		if want, got := nearest(float64(x), 8, gguf.E2M1ToFloat32), gguf.Float32ToE2M1(x); want != got {
			t.Fatalf("e2m1 of %g: want %x, got %x", x, want, got)
		}
		if gguf.Float32ToE4M3(-x) != gguf.Float32ToE4M3(x)|0x80 || gguf.Float32ToE2M1(-x) != gguf.Float32ToE2M1(x)|8 {
			t.Fatalf("%g: signs differ", x)
		}
	}
	nan := float32(math.NaN())
	if gguf.Float32ToE4M3(nan)&0x7f != 0x7f || gguf.Float32ToE2M1(nan) != 0 || gguf.E8M0Valid(255) {
		t.Error("NaN codes")
	}
}
