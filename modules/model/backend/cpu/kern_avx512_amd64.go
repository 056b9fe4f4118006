// Code generated from _gen by clang 19. DO NOT EDIT.

package cpu

//go:noescape
func avx512_vecF16(a *vecArgs)

//go:noescape
func avx512_vecF32(a *vecArgs)

//go:noescape
func avx512_vecIQ2_XXS(a *vecArgs)

//go:noescape
func avx512_vecMXFP4(a *vecArgs)

//go:noescape
func avx512_vecQ2_K(a *vecArgs)

//go:noescape
func avx512_vecQ4_K(a *vecArgs)

//go:noescape
func avx512_vecQ8_0(a *vecArgs)

//go:noescape
func avx512_tileF16(a *tileArgs)

//go:noescape
func avx512_tileF32(a *tileArgs)

//go:noescape
func avx512_tileIQ2_XXS(a *tileArgs)

//go:noescape
func avx512_tileMXFP4(a *tileArgs)

//go:noescape
func avx512_tileQ2_K(a *tileArgs)

//go:noescape
func avx512_tileQ4_K(a *tileArgs)

//go:noescape
func avx512_tileQ8_0(a *tileArgs)

//go:noescape
func avx512_gemm32(a *gemmArgs)

//go:noescape
func avx512_gemmF32(a *gemmArgs)

//go:noescape
func avx512_gemmIQ2_XXS(a *gemmArgs)

//go:noescape
func avx512_gemmQ2_K(a *gemmArgs)

//go:noescape
func avx512_gemmQ4_K(a *gemmArgs)

//go:noescape
func avx512_attendScores(a *attendArgs)

//go:noescape
func avx512_attendValues(a *attendArgs)

//go:noescape
func avx512_kvRows(a *kvArgs)

//go:noescape
func avx512_hcPost(a *hcArgs)

//go:noescape
func avx512_hcPre(a *hcArgs)

//go:noescape
func avx512_quantQ8_0(a *actArgs)

//go:noescape
func avx512_quantQ8_K(a *actArgs)

//go:noescape
func avx512_expGated(a *expArgs)

//go:noescape
func avx512_expSoftmax(a *expArgs)

// avx512Kernels are the kernels of one variant.
var avx512Kernels = kernels{
	vecF16:       avx512_vecF16,
	vecF32:       avx512_vecF32,
	vecIQ2_XXS:   avx512_vecIQ2_XXS,
	vecMXFP4:     avx512_vecMXFP4,
	vecQ2_K:      avx512_vecQ2_K,
	vecQ4_K:      avx512_vecQ4_K,
	vecQ8_0:      avx512_vecQ8_0,
	tileF16:      avx512_tileF16,
	tileF32:      avx512_tileF32,
	tileIQ2_XXS:  avx512_tileIQ2_XXS,
	tileMXFP4:    avx512_tileMXFP4,
	tileQ2_K:     avx512_tileQ2_K,
	tileQ4_K:     avx512_tileQ4_K,
	tileQ8_0:     avx512_tileQ8_0,
	gemm32:       avx512_gemm32,
	gemmF32:      avx512_gemmF32,
	gemmIQ2_XXS:  avx512_gemmIQ2_XXS,
	gemmQ2_K:     avx512_gemmQ2_K,
	gemmQ4_K:     avx512_gemmQ4_K,
	attendScores: avx512_attendScores,
	attendValues: avx512_attendValues,
	kvRows:       avx512_kvRows,
	hcPost:       avx512_hcPost,
	hcPre:        avx512_hcPre,
	quantQ8_0:    avx512_quantQ8_0,
	quantQ8_K:    avx512_quantQ8_K,
	expGated:     avx512_expGated,
	expSoftmax:   avx512_expSoftmax,
}
