package gguf_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"path/filepath"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
)

// golden is a safetensors file: u64 n, n bytes of JSON, arrays. A test fails
// on a name or a type that the file lacks.
type golden struct {
	t     testing.TB
	index map[string]goldenArray
	data  []byte
}

type goldenArray struct {
	DType   string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets [2]int `json:"data_offsets"`
}

func readGolden(t testing.TB, name string) *golden {
	t.Helper()
	raw := readFile(t, filepath.Join(sharedData(t, "quant-golden"), name+".safetensors"))
	n := binary.LittleEndian.Uint64(raw)
	g := &golden{t: t, index: map[string]goldenArray{}, data: raw[8+n:]}
	if err := json.Unmarshal(raw[8:8+n], &g.index); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *golden) raw(name, dtype string) []byte {
	g.t.Helper()
	a, ok := g.index[name]
	if !ok || a.DType != dtype {
		g.t.Fatalf("golden array %q: want %s, got %q", name, dtype, a.DType)
	}
	return g.data[a.Offsets[0]:a.Offsets[1]]
}

func (g *golden) f32(name string) []float32 {
	g.t.Helper()
	return numbers[float32](g.t, g.raw(name, "F32"))
}

func (g *golden) u16(name string) []uint16 {
	g.t.Helper()
	return numbers[uint16](g.t, g.raw(name, "U16"))
}

func numbers[T gguf.Number](t testing.TB, b []byte) []T {
	t.Helper()
	v, err := gguf.Numbers[T](b)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// sameBits compares floats bit for bit, so that -0 and NaN count.
func sameBits(t testing.TB, what string, want, got []float32) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%s: want %d values, got %d", what, len(want), len(got))
	}
	for i := range want {
		if math.Float32bits(want[i]) != math.Float32bits(got[i]) {
			t.Fatalf("%s[%d]: want %g (%08x), got %g (%08x)", what, i,
				want[i], math.Float32bits(want[i]), got[i], math.Float32bits(got[i]))
		}
	}
}

func sameBytes(t testing.TB, what string, want, got []byte) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%s: want %d bytes, got %d", what, len(want), len(got))
	}
	diff, first := 0, -1
	for i := range want {
		if want[i] != got[i] {
			if diff++; first < 0 {
				first = i
			}
		}
	}
	if diff > 0 {
		t.Fatalf("%s: %d of %d bytes differ, first at %d: want %02x, got %02x", what, diff, len(want), first, want[first], got[first])
	}
}
