// Code generated from _gen by clang 19. DO NOT EDIT.

package cpu

//go:noescape
func avx2_vecF16(a *vecArgs)

//go:noescape
func avx2_vecF32(a *vecArgs)

//go:noescape
func avx2_vecIQ2_XXS(a *vecArgs)

//go:noescape
func avx2_vecMXFP4(a *vecArgs)

//go:noescape
func avx2_vecQ2_K(a *vecArgs)

//go:noescape
func avx2_vecQ4_K(a *vecArgs)

//go:noescape
func avx2_vecQ8_0(a *vecArgs)

//go:noescape
func avx2_tileF16(a *tileArgs)

//go:noescape
func avx2_tileF32(a *tileArgs)

//go:noescape
func avx2_tileIQ2_XXS(a *tileArgs)

//go:noescape
func avx2_tileMXFP4(a *tileArgs)

//go:noescape
func avx2_tileQ2_K(a *tileArgs)

//go:noescape
func avx2_tileQ4_K(a *tileArgs)

//go:noescape
func avx2_tileQ8_0(a *tileArgs)

//go:noescape
func avx2_gemm32(a *gemmArgs)

//go:noescape
func avx2_gemmF32(a *gemmArgs)

//go:noescape
func avx2_gemmIQ2_XXS(a *gemmArgs)

//go:noescape
func avx2_gemmQ2_K(a *gemmArgs)

//go:noescape
func avx2_gemmQ4_K(a *gemmArgs)

//go:noescape
func avx2_attendScores(a *attendArgs)

//go:noescape
func avx2_attendValues(a *attendArgs)

//go:noescape
func avx2_kvRows(a *kvArgs)

//go:noescape
func avx2_hcPost(a *hcArgs)

//go:noescape
func avx2_hcPre(a *hcArgs)

//go:noescape
func avx2_quantQ8_0(a *actArgs)

//go:noescape
func avx2_quantQ8_K(a *actArgs)

//go:noescape
func avx2_expGated(a *expArgs)

//go:noescape
func avx2_expSoftmax(a *expArgs)

// avx2Kernels are the kernels of one variant.
var avx2Kernels = kernels{
	vecF16:       avx2_vecF16,
	vecF32:       avx2_vecF32,
	vecIQ2_XXS:   avx2_vecIQ2_XXS,
	vecMXFP4:     avx2_vecMXFP4,
	vecQ2_K:      avx2_vecQ2_K,
	vecQ4_K:      avx2_vecQ4_K,
	vecQ8_0:      avx2_vecQ8_0,
	tileF16:      avx2_tileF16,
	tileF32:      avx2_tileF32,
	tileIQ2_XXS:  avx2_tileIQ2_XXS,
	tileMXFP4:    avx2_tileMXFP4,
	tileQ2_K:     avx2_tileQ2_K,
	tileQ4_K:     avx2_tileQ4_K,
	tileQ8_0:     avx2_tileQ8_0,
	gemm32:       avx2_gemm32,
	gemmF32:      avx2_gemmF32,
	gemmIQ2_XXS:  avx2_gemmIQ2_XXS,
	gemmQ2_K:     avx2_gemmQ2_K,
	gemmQ4_K:     avx2_gemmQ4_K,
	attendScores: avx2_attendScores,
	attendValues: avx2_attendValues,
	kvRows:       avx2_kvRows,
	hcPost:       avx2_hcPost,
	hcPre:        avx2_hcPre,
	quantQ8_0:    avx2_quantQ8_0,
	quantQ8_K:    avx2_quantQ8_K,
	expGated:     avx2_expGated,
	expSoftmax:   avx2_expSoftmax,
}
