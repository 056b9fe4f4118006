package cpu

import "golang.org/x/sys/cpu"

// machineVariants are the kernel sets that this machine can run, the fastest first. avx512 wants what Ice Lake and Zen 4
// brought: byte permutations, VNNI and GFNI.
func machineVariants() []variant {
	var v []variant
	c := &cpu.X86
	if c.HasAVX512F && c.HasAVX512BW && c.HasAVX512DQ && c.HasAVX512VL && c.HasAVX512VNNI && c.HasAVX512VBMI && c.HasAVX512BITALG && c.HasAVX512GFNI {
		v = append(v, variant{name: "avx512", lanes: 16, tile: 32, kernels: avx512Kernels})
	}
	if c.HasAVX2 && c.HasFMA && c.HasF16C {
		v = append(v, variant{name: "avx2", lanes: 8, tile: 8, kernels: avx2Kernels})
	}
	return v
}
