package cpu

import (
	"fmt"

	"github.com/ds4-go/ds4/modules/gguf"
)

// A variant's kernels keep the oracle's order of sums: lanes are weight rows (or heads, or components), and every lane's f32
// sum runs in ascending order. So their bits are the plain loops' own, whatever the number of rows and threads.

// kernels are the functions of one variant; see _gen.
type kernels struct {
	vecF16, vecF32, vecQ8_0, vecMXFP4, vecQ2_K, vecQ4_K, vecIQ2_XXS        func(*vecArgs)
	tileF16, tileF32, tileQ8_0, tileMXFP4, tileQ2_K, tileQ4_K, tileIQ2_XXS func(*tileArgs)
	gemm32, gemmF32, gemmQ2_K, gemmQ4_K, gemmIQ2_XXS                       func(*gemmArgs)
	quantQ8_0, quantQ8_K                                                   func(*actArgs)
	attendScores, attendValues                                             func(*attendArgs)
	kvRows                                                                 func(*kvArgs)
	hcPre, hcPost                                                          func(*hcArgs)
	expGated, expSoftmax                                                   func(*expArgs)
}

// variant is a set of kernels with its sizes. The zero lanes of "generic" mean the plain loops.
type variant struct {
	name  string
	lanes int // weight rows that a vector holds
	tile  int // weight rows of a tile, a multiple of lanes
	kernels
	ops map[gguf.Type]*product
}

// product is how one weight type is multiplied.
type product struct {
	vec  func(*vecArgs)
	tile func(*tileArgs)
	gemm func(*gemmArgs)

	block      int // weights of a block; 1 for F16 and F32
	blockBytes int // bytes of a block
	tileBytes  int // bytes of a tile's record for a block, for each of the tile's rows
	few        int // up to so many activation rows are multiplied one by one
}

// Records of tiles and batches, in bytes for each row: see _gen/c/args.h.
const (
	tile32Bytes   = 36
	tile256Bytes  = 328
	tilePlain     = 4
	batch32Bytes  = 40
	batch256Bytes = 324
)

// Variants lists the kernel sets that this machine can run, the fastest first. "generic" is the plain loops.
func Variants() []string {
	var names []string
	for _, v := range machineVariants() {
		names = append(names, v.name)
	}
	return append(names, generic)
}

const generic = "generic"

// pick finds a variant by name, or the fastest.
func pick(name string) (*variant, error) {
	all := machineVariants()
	if name == "" && len(all) > 0 {
		name = all[0].name
	}
	for _, v := range all {
		if v.name == name {
			v.products()
			return &v, nil
		}
	}
	if name == "" || name == generic {
		return &variant{name: generic}, nil
	}
	return nil, fmt.Errorf("cpu: variant %q: want one of %v", name, Variants())
}

func (v *variant) products() {
	few := func(avx512 int) int { // from the kernels' times on Zen 5; the others were not measured so closely
		if v.lanes == maxLanes {
			return avx512
		}
		return 3
	}
	v.ops = map[gguf.Type]*product{
		gguf.TypeF16:     {v.vecF16, v.tileF16, v.gemmF32, 1, 2, tilePlain, few(1)},
		gguf.TypeF32:     {v.vecF32, v.tileF32, v.gemmF32, 1, 4, tilePlain, few(1)},
		gguf.TypeQ8_0:    {v.vecQ8_0, v.tileQ8_0, v.gemm32, 32, 34, tile32Bytes, few(4)},
		gguf.TypeMXFP4:   {v.vecMXFP4, v.tileMXFP4, v.gemm32, 32, 17, tile32Bytes, few(2)},
		gguf.TypeQ2_K:    {v.vecQ2_K, v.tileQ2_K, v.gemmQ2_K, 256, 84, tile256Bytes, few(3)},
		gguf.TypeQ4_K:    {v.vecQ4_K, v.tileQ4_K, v.gemmQ4_K, 256, 144, tile256Bytes, few(3)},
		gguf.TypeIQ2_XXS: {v.vecIQ2_XXS, v.tileIQ2_XXS, v.gemmIQ2_XXS, 256, 66, tile256Bytes, few(2)},
	}
}

// op returns the kernels for a weight of which rows are wanted, nil where the plain loops must do.
func (v *variant) op(w *weight, rows int) *product {
	p := v.ops[w.typ]
	if p == nil || rows < v.lanes || p.block == 1 && w.cols%v.lanes != 0 {
		return nil
	}
	return p
}

// worker is what a kernel needs beside registers. Backends keep them in a pool.
type worker struct {
	vec    vecArgs
	til    tileArgs
	gem    gemmArgs
	act    actArgs
	kv     kvArgs
	att    attendArgs
	hc     hcArgs
	exp    expArgs
	with   [2]float32
	top    [maxLanes]float32
	inv    [maxLanes]float32
	tmp    []byte
	tile   []byte
	acc    []float32
	up     []float32
	scores []float32
	values []float32
	turned []float32
	rows   [][]byte
	ptrs   []*byte
}

// iq2 is the codebook of IQ2_XXS in the forms that kernels read.
var iq2 = func() *iq2Tables {
	t := &iq2Tables{grid: *gguf.IQ2XXSGrid()}
	for i, s := range gguf.IQ2XXSSigns() {
		for j := range 8 {
			if s>>j&1 != 0 {
				t.signs[i] |= 0xff << (8 * j)
			}
		}
	}
	for i, g := range t.grid {
		for j := range 8 { // 8, 25, 43 are digits 0, 1, 2
			t.codes[i] |= uint16((g >> (8 * j) & 255) / 17 << (2 * j))
		}
		t.digits[i], t.digits[256+i] = uint8(t.codes[i]), uint8(t.codes[i]>>8)
	}
	return t
}()
