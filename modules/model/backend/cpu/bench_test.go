package cpu

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// benchWeights is far more than any cache holds.
const benchWeights = 256 << 20

// BenchmarkProduct multiplies a few and many activation rows with weights that come from memory: bytes are those of the weights.
func BenchmarkProduct(b *testing.B) {
	types := []gguf.Type{gguf.TypeQ8_0, gguf.TypeF16, gguf.TypeF32, gguf.TypeIQ2_XXS, gguf.TypeQ2_K, gguf.TypeQ4_K, gguf.TypeMXFP4}
	for _, v := range Variants()[:max(1, len(Variants())-1)] {
		for _, t := range types {
			for _, n := range []int{1, 2, 3, 4, 8, 64} {
				b.Run(fmt.Sprintf("%s/%v/rows=%d", v, t, n), func(b *testing.B) { benchProduct(b, v, t, n, -1) })
			}
		}
	}
}

// BenchmarkFew compares the two ways for a few rows, vector by vector and by tiles: where they meet is product.few.
func BenchmarkFew(b *testing.B) {
	v := Variants()[0]
	for _, t := range []gguf.Type{gguf.TypeQ8_0, gguf.TypeF16, gguf.TypeIQ2_XXS, gguf.TypeQ2_K, gguf.TypeQ4_K, gguf.TypeMXFP4} {
		for n := 2; n <= 6; n++ {
			b.Run(fmt.Sprintf("%s/%v/rows=%d/vectors", v, t, n), func(b *testing.B) { benchProduct(b, v, t, n, n) })
			b.Run(fmt.Sprintf("%s/%v/rows=%d/tiles", v, t, n), func(b *testing.B) { benchProduct(b, v, t, n, 0) })
		}
	}
}

// benchProduct takes the variant's own bound of few rows where few is negative.
func benchProduct(b *testing.B, variant string, t gguf.Type, n, few int) {
	const cols = 4096
	be := benchBackend(b, variant)
	if p := be.variant.ops[t]; p != nil && few >= 0 {
		p.few = few
	}
	rb, err := t.RowBytes(cols)
	if err != nil {
		b.Fatal(err)
	}
	rows := benchWeights / int(rb) &^ 63
	data, err := alloc(rows * int(rb))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = free(data) }()
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i+8 <= len(data); i += 8 {
		v := r.Uint64()
		for j := range 8 {
			data[i+j] = byte(v>>(8*j)) & 0x3f // a small exponent: no infinities
		}
	}
	w := &weight{"w", t, rows, cols, int(rb), data}
	const part = 2048 // rows of a product, as of an expert
	x, out := &acts{}, make([]float32, n*part)
	f := make([]float32, n*cols)
	for i := range f {
		f[i] = float32(i%251)/125 - 1
	}
	b.SetBytes(part * rb)
	row := 0
	for b.Loop() {
		be.matmul(out, part, w, row, part, x.set(f, n, cols))
		if row += part; row+part > rows {
			row = 0
		}
	}
}

func benchBackend(b testing.TB, variant string) *Backend {
	be, err := New(backend.Flash(), backend.Limits{CtxTokens: 4096, Seqs: 1, Slots: 3, Rows: 128, Outs: 1, Tops: 1}, Options{Variant: variant})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = be.Close() })
	return be
}
