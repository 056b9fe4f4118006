package cpu

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/cpu"

	"github.com/ds4-go/ds4/modules/gguf"
)

// Kernels of dot_avx512_amd64.s; see _gen/avx512.c.

//go:noescape
func avx512_q8_0(a *dotArgs)

//go:noescape
func avx512_mxfp4(a *dotArgs)

//go:noescape
func avx512_q2_k(a *dotArgs)

//go:noescape
func avx512_q4_k(a *dotArgs)

//go:noescape
func avx512_iq2_xxs_unpack(a *dotArgs)

//go:noescape
func avx512_iq2_xxs(a *dotArgs)

//go:noescape
func avx512_f16(a *dotArgs)

//go:noescape
func avx512_scores(a *dotArgs)

//go:noescape
func avx512_values(a *dotArgs)

func machineVariants() []string {
	if c := &cpu.X86; c.HasAVX512F && c.HasAVX512BW && c.HasAVX512DQ && c.HasAVX512VL && c.HasAVX512VNNI {
		return []string{"avx512"}
	}
	return nil
}

func newVariant(name string) *variant {
	if name != "avx512" {
		return &variant{name: name}
	}
	return &variant{name: name, scores: avx512_scores, values: avx512_values, tiles: map[gguf.Type]kernel{
		gguf.TypeF16:     tileF16,
		gguf.TypeQ8_0:    func(t *tile) { t.blocks32(avx512_q8_0) },
		gguf.TypeMXFP4:   func(t *tile) { t.blocks32(avx512_mxfp4) },
		gguf.TypeQ2_K:    func(t *tile) { t.blocks256(avx512_q2_k, ptr(t.x.pk2), 32) },
		gguf.TypeQ4_K:    func(t *tile) { t.blocks256(avx512_q4_k, ptr(t.x.pk4), 16) },
		gguf.TypeIQ2_XXS: tileIQ2XXS,
	}}
}

// start fills the arguments that all kernels share.
func (t *tile) start() *dotArgs {
	a := &t.mem.args
	*a = dotArgs{w: &t.w.data[t.row*t.w.rowBytes], stride: t.w.rowBytes, n: t.n, acc: &t.acc[0]}
	return a
}

func tileF16(t *tile) {
	a := t.start()
	a.blocks, a.d, a.dStep = t.x.cols/16, &t.x.pf[16*t.at], 16*t.x.n
	avx512_f16(a)
}

func (t *tile) blocks32(kernel func(*dotArgs)) {
	a, n := t.start(), t.x.n
	a.blocks = t.x.cols / 32
	a.q, a.qStep = &t.x.p8[32*t.at], 32*n
	a.d, a.dStep = &t.x.p8d[t.at], n
	a.s, a.sStep = ptr(t.x.p8s[t.at:]), 4*n
	kernel(a)
}

// blocks256 runs a kernel of the K-quants; sums has sumBytes for each block of each token.
func (t *tile) blocks256(kernel func(*dotArgs), sums *byte, sumBytes int) {
	a, n := t.start(), t.x.n
	a.blocks = t.x.cols / 256
	a.q, a.qStep = &t.x.pk[256*t.at], 256*n
	a.d, a.dStep = &t.x.pkd[t.at], n
	a.s, a.sStep = (*byte)(unsafe.Add(unsafe.Pointer(sums), sumBytes*t.at)), sumBytes*n
	a.tmp = ptr(grow(&t.mem.sums, 16*t.n))
	kernel(a)
}

// signBytes expands the seven sign bits of IQ2_XXS: 0xff for each element that is negative.
var signBytes = sync.OnceValue(func() *[128]uint64 {
	var t [128]uint64
	for i, s := range gguf.IQ2XXSSigns() {
		for j := range 8 {
			if s>>j&1 != 0 {
				t[i] |= 0xff << (8 * j)
			}
		}
	}
	return &t
})

// tileIQ2XXS unpacks all blocks of the tile first, then multiplies block by block.
func tileIQ2XXS(t *tile) {
	t.blocks256(func(a *dotArgs) {
		blocks := a.blocks
		a.bytes = ptr(grow(&t.mem.bytes, blocks*256*tileRows))
		a.grid, a.signs = &gguf.IQ2XXSGrid()[0], &signBytes()[0]
		avx512_iq2_xxs_unpack(a)
		for i := range blocks {
			avx512_iq2_xxs(a)
			if i == blocks-1 {
				break // no pointer may pass the end
			}
			a.w = (*byte)(unsafe.Add(unsafe.Pointer(a.w), 66))
			a.bytes = (*byte)(unsafe.Add(unsafe.Pointer(a.bytes), 256*tileRows))
			a.q = (*int8)(unsafe.Add(unsafe.Pointer(a.q), a.qStep))
			a.d = (*float32)(unsafe.Add(unsafe.Pointer(a.d), 4*a.dStep))
			a.s = (*byte)(unsafe.Add(unsafe.Pointer(a.s), a.sStep))
		}
		for i := range t.acc {
			t.acc[i] *= 0.125
		}
	}, ptr(t.x.pkiq), 32)
}
