package gguf_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
)

// quantGoldens lists what the reference quantisers made of x: the file, the
// array of bytes, the array they decode to, and the importance weights.
var quantGoldens = []struct {
	typ                         gguf.Type
	file, bytes, deq, important string
}{
	{gguf.TypeQ8_0, "q8_0", "q", "deq", ""},
	{gguf.TypeQ2_K, "q2_k", "q_ref", "deq_ref", ""},
	{gguf.TypeQ2_K, "q2_k", "q_imatrix", "deq_imatrix", "imatrix"},
	{gguf.TypeQ4_K, "q4_k", "q_ref", "deq_ref", ""},
	{gguf.TypeQ4_K, "q4_k", "q_imatrix", "deq_imatrix", "imatrix"},
	{gguf.TypeIQ2_XXS, "iq2_xxs", "q_imatrix", "deq_imatrix", "imatrix"},
	{gguf.TypeIQ2_XXS, "iq2_xxs", "q_synth", "deq_synth", "synth"},
	{gguf.TypeIQ2_XXS, "iq2_xxs", "q_synth", "deq_synth", ""},
	{gguf.TypeQ8_K, "q8_k", "q", "deq", ""},
	{gguf.TypeMXFP4, "mxfp4", "q", "deq", ""},
}

func TestQuantizeGolden(t *testing.T) {
	for _, c := range quantGoldens {
		t.Run(c.file+"/"+c.bytes+"/"+c.important, func(t *testing.T) {
			g := readGolden(t, c.file)
			x, want := g.f32("x"), g.raw(c.bytes, "U8")
			nPerRow := g.index["x"].Shape[1]
			var importance []float32
			if c.important != "" {
				importance = g.f32(c.important)
			}
			got := make([]byte, len(want))
			if err := gguf.Quantize(c.typ, got, x, nPerRow, importance); err != nil {
				t.Fatal(err)
			}
			sameBytes(t, c.bytes, want, got)
			y := make([]float32, len(x))
			if err := gguf.Dequantize(c.typ, y, got); err != nil {
				t.Fatal(err)
			}
			sameBits(t, c.deq, g.f32(c.deq), y)
		})
	}
}

func TestSyntheticImportance(t *testing.T) {
	g := readGolden(t, "iq2_xxs")
	want := g.f32("synth")
	got := make([]float32, len(want))
	if err := gguf.SyntheticImportance(got, g.f32("x")); err != nil {
		t.Fatal(err)
	}
	sameBits(t, "synth", want, got)
}

// TestActivationGolden quantises activations to Q8_K as the goldens' dot
// products do.
func TestActivationGolden(t *testing.T) {
	for _, name := range []string{"q2_k", "q4_k", "iq2_xxs"} {
		g := readGolden(t, name)
		want := g.raw("act_q8k", "U8")
		got := make([]byte, len(want))
		if err := gguf.Quantize(gguf.TypeQ8_K, got, g.f32("act"), 512, nil); err != nil {
			t.Fatal(err)
		}
		sameBytes(t, name+" act_q8k", want, got)
	}
}

// The worked examples of the block formats, for machines without the goldens.
func TestDequantizeExamples(t *testing.T) {
	for _, c := range []struct {
		typ   gguf.Type
		block string
		first []float32
	}{
		{gguf.TypeQ8_0, "f80c37da07fb2bf6d1621b1d640ae881df096f2c153b2bf74520ace4f81021680912",
			[]float32{0.0166797638, -0.0115242004, 0.00212287903, -0.00151634216}},
		{gguf.TypeMXFP4, "8999b9c3099cbde0c2076a543292ed5abb",
			[]float32{-512, -512, 1536, -512, -2048, -3072, 0, 1024}},
		{gguf.TypeQ2_K, "ec9aea9bdcecfddddf9adc885dadece95aa16e6e8ae6d11b566e7ba2a56ca9a6" +
			"637eaa925ab15a9654a56566ba07e112a65a4959dad042628a5d1f86464d526785e650b18995d8a5065f92a01dd99e83ff17c019",
			[]float32{0.00754547119, -0.0158805847, 0.00754547119, 0.00754547119}},
		{gguf.TypeQ4_K, "6b06d911f0f6f1fdf6ffb5fb4fd962b49c06e9c87b58258f5abaaf1967d076596ffbda5cab38adaa83866889da9f29595779684990d8b405534b3e79a96a7b78" +
			"375e7994549c45b376bb68398f10ea354abbb5b6b820392899e7de7b58f5085d56594344a566a37679da4742c484b93b8d567379d8f7657eb34616b24363664c62a8377f7067b58b1053666a05d47771",
			[]float32{0.0178613663, -0.010342598, 0.00375938416, -0.00094127655}},
		{gguf.TypeIQ2_XXS, "8212912248206a39e052c79e27c8f24cea491c5ca9a2d140b744f609e2828dd794353cee49f424519f47f5800d8b61ecab51b6d595d6c45c7c3e000000004f7beffb",
			[]float32{0.00873851776, -0.00873851776, 0.00873851776, -0.00873851776, 0.027307868}},
	} {
		block, err := hex.DecodeString(c.block)
		if err != nil {
			t.Fatal(err)
		}
		y := make([]float32, c.typ.BlockSize())
		if err := gguf.Dequantize(c.typ, y, block); err != nil {
			t.Fatal(err)
		}
		sameBits(t, c.typ.String(), c.first, y[:len(c.first)])
	}
}

// allQuantTypes are those that both directions know.
var allQuantTypes = []gguf.Type{
	gguf.TypeF32, gguf.TypeF16, gguf.TypeBF16, gguf.TypeQ8_0, gguf.TypeQ2_K,
	gguf.TypeQ4_K, gguf.TypeQ8_K, gguf.TypeIQ2_XXS, gguf.TypeMXFP4,
}

// TestQuantizeError bounds the relative error on gaussian rows, which a
// misplaced bit would exceed by far.
func TestQuantizeError(t *testing.T) {
	bound := map[gguf.Type]float64{
		gguf.TypeF32: 0, gguf.TypeF16: 3e-4, gguf.TypeBF16: 3e-3, gguf.TypeQ8_0: 0.008, gguf.TypeQ8_K: 0.01,
		gguf.TypeQ4_K: 0.08, gguf.TypeMXFP4: 0.15, gguf.TypeQ2_K: 0.35, gguf.TypeIQ2_XXS: 0.45,
	}
	rng := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, 4*512)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	for _, typ := range allQuantTypes {
		row, err := typ.RowBytes(512)
		if err != nil {
			t.Fatal(err)
		}
		q, y := make([]byte, 4*row), make([]float32, len(x))
		if err := errors.Join(gguf.Quantize(typ, q, x, 512, nil), gguf.Dequantize(typ, y, q)); err != nil {
			t.Fatal(err)
		}
		diff, norm := 0.0, 0.0
		for i := range x {
			diff += math.Pow(float64(x[i]-y[i]), 2)
			norm += math.Pow(float64(x[i]), 2)
		}
		if rel := math.Sqrt(diff / norm); rel > bound[typ] || math.IsNaN(rel) {
			t.Errorf("%v: want a relative error of at most %g, got %g", typ, bound[typ], rel)
		}
	}
}

// TestQuantizeExtremes feeds what no real tensor holds: nothing may panic, and
// what comes back must be as large as what went in at most.
func TestQuantizeExtremes(t *testing.T) {
	for _, typ := range allQuantTypes {
		for _, v := range []float32{0, 1e-45, 1e-38, 1e-20, 1e-15, 1, 65504, 1e20, math.MaxFloat32} {
			for _, pattern := range []string{"one", "all", "alternate", "negative"} {
				x := make([]float32, 256)
				for i := range x {
					switch {
					case pattern == "one" && i != 77:
					case pattern == "alternate" && i%2 == 1, pattern == "negative":
						x[i] = -v
					default:
						x[i] = v
					}
				}
				row, _ := typ.RowBytes(len(x))
				q := make([]byte, row)
				for _, importance := range [][]float32{nil, make([]float32, 256)} {
					if err := gguf.Quantize(typ, q, x, 256, importance); err != nil {
						t.Errorf("%v, %g, %s: %v", typ, v, pattern, err)
					}
				}
			}
		}
	}
}

func TestQuantizeRefuses(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	x := make([]float32, 256)
	with := func(v float32) []float32 { return append(make([]float32, 255), v) }
	q := make([]byte, gguf.Q2_KBytes)
	for _, c := range []struct {
		what string
		err  error
	}{
		{"unknown type", gguf.Quantize(99, q, x, 256, nil)},
		{"type without quantiser", gguf.Quantize(gguf.TypeQ6_K, q, x, 256, nil)},
		{"no row", gguf.Quantize(gguf.TypeQ2_K, q, x, 0, nil)},
		{"half a row", gguf.Quantize(gguf.TypeQ2_K, q, x[:200], 256, nil)},
		{"half a block", gguf.Quantize(gguf.TypeQ2_K, q, x[:128], 128, nil)},
		{"small dst", gguf.Quantize(gguf.TypeQ2_K, q[1:], x, 256, nil)},
		{"NaN", gguf.Quantize(gguf.TypeQ2_K, q, with(nan), 256, nil)},
		{"infinity", gguf.Quantize(gguf.TypeQ2_K, q, with(-inf), 256, nil)},
		{"few weights", gguf.Quantize(gguf.TypeQ2_K, q, x, 256, x[1:])},
		{"negative weight", gguf.Quantize(gguf.TypeQ2_K, q, x, 256, with(-1))},
		{"NaN weight", gguf.Quantize(gguf.TypeQ2_K, q, x, 256, with(nan))},
		{"dequantize unknown", gguf.Dequantize(99, x, q)},
		{"dequantize half a block", gguf.Dequantize(gguf.TypeQ2_K, x[:128], q)},
		{"dequantize short", gguf.Dequantize(gguf.TypeQ2_K, x, q[1:])},
		{"importance of half a row", gguf.SyntheticImportance(x[:100], x)},
	} {
		if c.err == nil {
			t.Errorf("%s: want an error, got none", c.what)
		}
	}
}

// TestIQ2XXSGrid checks the codebook against its file and its sums.
func TestIQ2XXSGrid(t *testing.T) {
	dir := sharedData(t, "")
	var grid, signs bytes.Buffer
	for _, row := range gguf.IQ2XXSGrid() {
		for k := range 8 {
			if k > 0 {
				grid.WriteByte(' ')
			}
			fmt.Fprintf(&grid, "%d", uint8(row>>(8*k)))
		}
		grid.WriteByte('\n')
	}
	for _, s := range gguf.IQ2XXSSigns() {
		fmt.Fprintf(&signs, "%d\n", s)
	}
	sameBytes(t, "grid", readFile(t, dir+"/iq2xxs_grid.txt"), grid.Bytes())
	sameBytes(t, "signs", readFile(t, dir+"/iq2xxs_ksigns.txt"), signs.Bytes())
}

func TestScaleMinPacking(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		var scale, minimum [8]uint8
		for j := range scale {
			scale[j], minimum[j] = uint8(rng.UintN(64)), uint8(rng.UintN(64))
		}
		var packed [12]byte
		gguf.Q4_KPackScaleMin(&packed, &scale, &minimum)
		for j := range scale {
			if s, m := gguf.Q4_KScaleMin(&packed, j); s != scale[j] || m != minimum[j] {
				t.Fatalf("sub-block %d: want %d, %d, got %d, %d", j, scale[j], minimum[j], s, m)
			}
		}
	}
}

func BenchmarkDequantize(b *testing.B) {
	for _, typ := range allQuantTypes {
		b.Run(typ.String(), func(b *testing.B) {
			row, _ := typ.RowBytes(4096)
			q, y := make([]byte, row), make([]float32, 4096)
			b.SetBytes(row)
			for b.Loop() {
				if err := gguf.Dequantize(typ, y, q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkQuantize(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	x, importance := make([]float32, 4096), make([]float32, 4096)
	for i := range x {
		x[i], importance[i] = float32(rng.NormFloat64()), rng.Float32()
	}
	for _, typ := range allQuantTypes {
		b.Run(typ.String(), func(b *testing.B) {
			row, _ := typ.RowBytes(len(x))
			q := make([]byte, row)
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				if err := gguf.Quantize(typ, q, x, len(x), importance); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
