package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
)

// TestProduct: the products of every variant and weight type have the plain loops' bits, whatever the length of the rows, in
// every way that the variant reads them, and with a last vector that is not whole.
func TestProduct(t *testing.T) {
	types := []gguf.Type{gguf.TypeQ8_0, gguf.TypeF16, gguf.TypeF32, gguf.TypeIQ2_XXS, gguf.TypeQ2_K, gguf.TypeQ4_K, gguf.TypeMXFP4}
	plain := benchBackend(t, "generic")
	for _, v := range Variants() {
		if v == "generic" {
			continue
		}
		be := benchBackend(t, v)
		for _, typ := range types {
			for _, cols := range []int{256, 512, 768, 1024, 2048, 2560, 4096, 4352, 8192} {
				for _, n := range []int{1, 2, 5} {
					name := fmt.Sprintf("%s, %v, %d columns, %d rows", v, typ, cols, n)
					w, x := randomWeight(t, typ, 75, cols), randomRows(n, cols)
					want, got := make([]float32, n*75), make([]float32, n*75)
					plain.matmul(want, 75, w, 0, 75, (&acts{}).set(x, n, cols))
					be.matmul(got, 75, w, 0, 75, (&acts{}).set(x, n, cols))
					for i := range want {
						if math.Float32bits(want[i]) != math.Float32bits(got[i]) {
							t.Errorf("%s: result %d: want %g, got %g", name, i, want[i], got[i])
							break
						}
					}
				}
			}
		}
	}
}

// randomWeight has random codes, and scales between 2^-15 and 2.
func randomWeight(t testing.TB, typ gguf.Type, rows, cols int) *weight {
	t.Helper()
	rb, err := typ.RowBytes(cols)
	if err != nil {
		t.Fatal(err)
	}
	data, r := make([]byte, rows*int(rb)), rand.New(rand.NewPCG(uint64(cols), uint64(typ)))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	half := func(at int) { data[at+1] = data[at+1]&0x80 | data[at+1]&0x3f }
	switch typ {
	case gguf.TypeF16:
		for i := 0; i < len(data); i += 2 {
			half(i)
		}
	case gguf.TypeF32:
		for i := 0; i < len(data); i += 4 {
			data[i+3] = data[i+3]&0x80 | 0x3e
		}
	case gguf.TypeQ8_0:
		for i := 0; i < len(data); i += 34 {
			half(i)
		}
	case gguf.TypeIQ2_XXS:
		for i := 0; i < len(data); i += 66 {
			half(i)
		}
	case gguf.TypeQ2_K:
		for i := 0; i < len(data); i += 84 {
			half(i + 80)
			half(i + 82)
		}
	case gguf.TypeQ4_K:
		for i := 0; i < len(data); i += 144 {
			half(i)
			half(i + 2)
		}
	case gguf.TypeMXFP4:
		for i := 0; i < len(data); i += 17 {
			data[i] = 100 + data[i]&31
		}
	}
	return &weight{"w", typ, rows, cols, int(rb), data}
}

func randomRows(n, cols int) []float32 {
	x, r := make([]float32, n*cols), rand.New(rand.NewPCG(uint64(n), uint64(cols)))
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}
