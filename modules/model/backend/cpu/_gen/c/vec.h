// One vector of lanes for every instruction set, and the few operations that the kernels are written in. No operation
// fuses a multiplication with an addition: the order and the rounding of sums are the plain loops'.
#pragma once
#include "args.h"

#define KERNEL __attribute__((preserve_none)) void
#define INLINE static inline __attribute__((always_inline))

#if defined(__AVX512F__)
#include <immintrin.h>
#define LANES 16
#define GROUPS 2 // vectors of weight rows in a tile
typedef __m512 vf;
typedef __m512i vi;
INLINE vf f_zero(void) { return _mm512_setzero_ps(); }
INLINE vf f_load(const f32 *p) { return _mm512_loadu_ps(p); }
INLINE void f_store(f32 *p, vf v) { _mm512_storeu_ps(p, v); }
INLINE vf f_set(f32 v) { return _mm512_set1_ps(v); }
INLINE vf f_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
INLINE vf f_add(vf a, vf b) { return _mm512_add_ps(a, b); }
INLINE vf f_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
INLINE vf f_div(vf a, vf b) { return _mm512_div_ps(a, b); }
INLINE vf f_max(vf a, vf b) { return _mm512_max_ps(a, b); }
INLINE vf f_half(const u16 *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p)); }
INLINE vf f_round16(vf a) { return _mm512_cvtph_ps(_mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)); }
INLINE vf f_int(vi a) { return _mm512_cvtepi32_ps(a); }
INLINE vi i_zero(void) { return _mm512_setzero_si512(); }
INLINE vi i_load(const void *p) { return _mm512_loadu_si512(p); }
INLINE void i_store(void *p, vi v) { _mm512_storeu_si512(p, v); }
INLINE vi i_set(i32 v) { return _mm512_set1_epi32(v); }
INLINE vi i_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
INLINE vi i_mul(vi a, vi b) { return _mm512_mullo_epi32(a, b); }
// Weights as unsigned bytes (signed ones carry a bias of 128), activations signed.
#define BIAS 0x80
INLINE vi i_dot4(vi acc, vi w, vi x) { return _mm512_dpbusd_epi32(acc, w, x); }
INLINE vi i_dot2(vi acc, vi w, vi x) { return _mm512_dpwssd_epi32(acc, w, x); }
INLINE vf f_e4m3(const u8 *p) { // times 2^-8; NaN codes read as 448
	__m256i c = _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)p)), m = _mm256_min_epu16(_mm256_and_si256(c, _mm256_set1_epi16(0x7f)), _mm256_set1_epi16(0x7e));
	return _mm512_cvtph_ps(_mm256_or_si256(_mm256_slli_epi16(_mm256_and_si256(c, _mm256_set1_epi16(0x80)), 8), _mm256_slli_epi16(m, 7)));
}
INLINE vf f_abs(vf a) { return _mm512_abs_ps(a); }
INLINE f32 f_top(vf a) { return _mm512_reduce_max_ps(a); }
INLINE i32 i_sum(vi a) { return _mm512_reduce_add_epi32(a); }
INLINE vi i_round(vf a) { return _mm512_cvtps_epi32(a); }
INLINE void i_store8(i8 *p, vi a) { _mm_storeu_si128((void *)p, _mm512_cvtsepi32_epi8(a)); }

#elif defined(__AVX2__)
#include <immintrin.h>
#define LANES 8
#define GROUPS 1
typedef __m256 vf;
typedef __m256i vi;
INLINE vf f_zero(void) { return _mm256_setzero_ps(); }
INLINE vf f_load(const f32 *p) { return _mm256_loadu_ps(p); }
INLINE void f_store(f32 *p, vf v) { _mm256_storeu_ps(p, v); }
INLINE vf f_set(f32 v) { return _mm256_set1_ps(v); }
INLINE vf f_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
INLINE vf f_add(vf a, vf b) { return _mm256_add_ps(a, b); }
INLINE vf f_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
INLINE vf f_div(vf a, vf b) { return _mm256_div_ps(a, b); }
INLINE vf f_max(vf a, vf b) { return _mm256_max_ps(a, b); }
INLINE vf f_half(const u16 *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const void *)p)); }
INLINE vf f_round16(vf a) { return _mm256_cvtph_ps(_mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)); }
INLINE vf f_int(vi a) { return _mm256_cvtepi32_ps(a); }
INLINE vi i_zero(void) { return _mm256_setzero_si256(); }
INLINE vi i_load(const void *p) { return _mm256_loadu_si256(p); }
INLINE void i_store(void *p, vi v) { _mm256_storeu_si256(p, v); }
INLINE vi i_set(i32 v) { return _mm256_set1_epi32(v); }
INLINE vi i_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
INLINE vi i_mul(vi a, vi b) { return _mm256_mullo_epi32(a, b); }
// Signed both: the sign moves from the weight to the activation, which is never -128.
#define BIAS 0
INLINE vi i_dot4(vi acc, vi w, vi x) {
	vi t = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
	return _mm256_add_epi32(acc, _mm256_madd_epi16(t, _mm256_set1_epi16(1)));
}
INLINE vi i_dot2(vi acc, vi w, vi x) { return _mm256_add_epi32(acc, _mm256_madd_epi16(w, x)); }
INLINE vf f_e4m3(const u8 *p) { // times 2^-8; NaN codes read as 448
	__m128i c = _mm_cvtepu8_epi16(_mm_loadl_epi64((const void *)p)), m = _mm_min_epu16(_mm_and_si128(c, _mm_set1_epi16(0x7f)), _mm_set1_epi16(0x7e));
	return _mm256_cvtph_ps(_mm_or_si128(_mm_slli_epi16(_mm_and_si128(c, _mm_set1_epi16(0x80)), 8), _mm_slli_epi16(m, 7)));
}
INLINE vf f_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
INLINE f32 f_top(vf a) {
	__m128 t = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
	t = _mm_max_ps(t, _mm_movehl_ps(t, t));
	return _mm_cvtss_f32(_mm_max_ss(t, _mm_movehdup_ps(t)));
}
INLINE i32 i_sum(vi v) {
	__m128i t = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
	t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4e));
	return _mm_cvtsi128_si32(_mm_add_epi32(t, _mm_shuffle_epi32(t, 0xb1)));
}
INLINE vi i_round(vf a) { return _mm256_cvtps_epi32(a); }
INLINE void i_store8(i8 *p, vi a) {
	__m128i t = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
	_mm_storel_epi64((void *)p, _mm_packs_epi16(t, t));
}

#elif defined(__aarch64__)
#include <arm_neon.h>
#define LANES 4
#define GROUPS 2
typedef float32x4_t vf;
typedef int32x4_t vi;
INLINE vf f_zero(void) { return vdupq_n_f32(0); }
INLINE vf f_load(const f32 *p) { return vld1q_f32(p); }
INLINE void f_store(f32 *p, vf v) { vst1q_f32(p, v); }
INLINE vf f_set(f32 v) { return vdupq_n_f32(v); }
INLINE vf f_mul(vf a, vf b) { return vmulq_f32(a, b); }
INLINE vf f_add(vf a, vf b) { return vaddq_f32(a, b); }
INLINE vf f_sub(vf a, vf b) { return vsubq_f32(a, b); }
INLINE vf f_div(vf a, vf b) { return vdivq_f32(a, b); }
INLINE vf f_max(vf a, vf b) { return vmaxq_f32(a, b); }
INLINE vf f_half(const u16 *p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
INLINE vf f_round16(vf a) { return vcvt_f32_f16(vcvt_f16_f32(a)); }
INLINE vf f_int(vi a) { return vcvtq_f32_s32(a); }
INLINE vi i_zero(void) { return vdupq_n_s32(0); }
INLINE vi i_load(const void *p) { return vreinterpretq_s32_u8(vld1q_u8(p)); }
INLINE void i_store(void *p, vi v) { vst1q_u8(p, vreinterpretq_u8_s32(v)); }
INLINE vi i_set(i32 v) { return vdupq_n_s32(v); }
INLINE vi i_add(vi a, vi b) { return vaddq_s32(a, b); }
INLINE vi i_mul(vi a, vi b) { return vmulq_s32(a, b); }
#define BIAS 0
INLINE vi i_dot4(vi acc, vi w, vi x) { return vdotq_s32(acc, vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(x)); }
INLINE vi i_dot2(vi acc, vi w, vi x) {
	int16x8_t a = vreinterpretq_s16_s32(w), b = vreinterpretq_s16_s32(x);
	return vaddq_s32(acc, vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b)));
}
INLINE vf f_e4m3(const u8 *p) { // times 2^-8; NaN codes read as 448
	uint16x4_t c = vget_low_u16(vmovl_u8(vcreate_u8(*(const u32 *)p))), m = vmin_u16(vand_u16(c, vdup_n_u16(0x7f)), vdup_n_u16(0x7e));
	return vcvt_f32_f16(vreinterpret_f16_u16(vorr_u16(vshl_n_u16(vand_u16(c, vdup_n_u16(0x80)), 8), vshl_n_u16(m, 7))));
}
INLINE vf f_abs(vf a) { return vabsq_f32(a); }
INLINE f32 f_top(vf a) { return vmaxvq_f32(a); }
INLINE i32 i_sum(vi a) { return vaddvq_s32(a); }
INLINE vi i_round(vf a) { return vcvtnq_s32_f32(a); }
INLINE void i_store8(i8 *p, vi a) {
	int16x4_t t = vqmovn_s32(a);
	u32 v = vget_lane_u32(vreinterpret_u32_s8(vqmovn_s16(vcombine_s16(t, t))), 0);
	__builtin_memcpy(p, &v, 4);
}
#endif

INLINE void prefetch(const u8 *w) {
#if defined(__AVX512F__) || defined(__AVX2__)
	_mm_prefetch((const char *)w, _MM_HINT_T0);
#else
	__builtin_prefetch(w, 0, 3);
#endif
}

#define TILE (LANES * GROUPS)

#define EACH(i, n) _Pragma("unroll") for (int i = 0; i < n; i++)
#define LOOP _Pragma("clang loop unroll(disable)") for

// Records of tiles and batches: see args.h.
#define T32_D (32 * TILE)
#define T32_BYTES (36 * TILE)
#define T256_S (256 * TILE)
#define T256_MN (288 * TILE)
#define T256_D (320 * TILE)
#define T256_DM (324 * TILE)
#define T256_BYTES (328 * TILE)
#define X32_D(n) (32 * (n))
#define X32_SUM(n) (36 * (n))
#define X32_BYTES(n) (40 * (n))
#define X256_SUM(n) (256 * (n))
#define X256_SUM16(n) (288 * (n))
#define X256_D(n) (320 * (n))
#define X256_BYTES(n) (324 * (n))

// OPAQUE keeps the compiler from deriving addresses ahead of time: it would run out of registers and touch the stack.
#define OPAQUE(p) __asm__ volatile("" : "+r"(p))

INLINE u16 load16(const void *p) { u16 v; __builtin_memcpy(&v, p, sizeof v); return v; }
INLINE u32 load32(const void *p) { u32 v; __builtin_memcpy(&v, p, sizeof v); return v; }
INLINE u64 load64(const void *p) { u64 v; __builtin_memcpy(&v, p, sizeof v); return v; }
#if defined(__aarch64__)
INLINE f32 half(const void *p) { u16 h = load16(p); __fp16 f; __builtin_memcpy(&f, &h, 2); return f; }
#else
INLINE f32 half(const void *p) { return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(load16(p)))); }
#endif
// The scale of an MXFP4 block, whose codes are doubled: half of 2^(e-127).
INLINE f32 mxscale(u8 e) { u32 b = e ? (u32)e << 23 : 0x00400000; f32 f; __builtin_memcpy(&f, &b, 4); return 0.5f * f; }
