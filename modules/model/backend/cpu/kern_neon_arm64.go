// Code generated from _gen by clang 19. DO NOT EDIT.

package cpu

//go:noescape
func neon_vecF16(a *vecArgs)

//go:noescape
func neon_vecF32(a *vecArgs)

//go:noescape
func neon_vecIQ2_XXS(a *vecArgs)

//go:noescape
func neon_vecMXFP4(a *vecArgs)

//go:noescape
func neon_vecQ2_K(a *vecArgs)

//go:noescape
func neon_vecQ4_K(a *vecArgs)

//go:noescape
func neon_vecQ8_0(a *vecArgs)

//go:noescape
func neon_tileF16(a *tileArgs)

//go:noescape
func neon_tileF32(a *tileArgs)

//go:noescape
func neon_tileIQ2_XXS(a *tileArgs)

//go:noescape
func neon_tileMXFP4(a *tileArgs)

//go:noescape
func neon_tileQ2_K(a *tileArgs)

//go:noescape
func neon_tileQ4_K(a *tileArgs)

//go:noescape
func neon_tileQ8_0(a *tileArgs)

//go:noescape
func neon_gemm32(a *gemmArgs)

//go:noescape
func neon_gemmF32(a *gemmArgs)

//go:noescape
func neon_gemmIQ2_XXS(a *gemmArgs)

//go:noescape
func neon_gemmQ2_K(a *gemmArgs)

//go:noescape
func neon_gemmQ4_K(a *gemmArgs)

//go:noescape
func neon_attendScores(a *attendArgs)

//go:noescape
func neon_attendValues(a *attendArgs)

//go:noescape
func neon_kvRows(a *kvArgs)

//go:noescape
func neon_hcPost(a *hcArgs)

//go:noescape
func neon_hcPre(a *hcArgs)

//go:noescape
func neon_quantQ8_0(a *actArgs)

//go:noescape
func neon_quantQ8_K(a *actArgs)

//go:noescape
func neon_expGated(a *expArgs)

//go:noescape
func neon_expSoftmax(a *expArgs)

// neonKernels are the kernels of one variant.
var neonKernels = kernels{
	vecF16:       neon_vecF16,
	vecF32:       neon_vecF32,
	vecIQ2_XXS:   neon_vecIQ2_XXS,
	vecMXFP4:     neon_vecMXFP4,
	vecQ2_K:      neon_vecQ2_K,
	vecQ4_K:      neon_vecQ4_K,
	vecQ8_0:      neon_vecQ8_0,
	tileF16:      neon_tileF16,
	tileF32:      neon_tileF32,
	tileIQ2_XXS:  neon_tileIQ2_XXS,
	tileMXFP4:    neon_tileMXFP4,
	tileQ2_K:     neon_tileQ2_K,
	tileQ4_K:     neon_tileQ4_K,
	tileQ8_0:     neon_tileQ8_0,
	gemm32:       neon_gemm32,
	gemmF32:      neon_gemmF32,
	gemmIQ2_XXS:  neon_gemmIQ2_XXS,
	gemmQ2_K:     neon_gemmQ2_K,
	gemmQ4_K:     neon_gemmQ4_K,
	attendScores: neon_attendScores,
	attendValues: neon_attendValues,
	kvRows:       neon_kvRows,
	hcPost:       neon_hcPost,
	hcPre:        neon_hcPre,
	quantQ8_0:    neon_quantQ8_0,
	quantQ8_K:    neon_quantQ8_K,
	expGated:     neon_expGated,
	expSoftmax:   neon_expSoftmax,
}
