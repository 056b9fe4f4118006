// One block of 256 packed weights to bytes: codes of one sign where the format has minimums, signed ones otherwise.
#pragma once
#include "vec.h"

typedef u8 b16 __attribute__((vector_size(16), aligned(1)));
typedef u16 w8 __attribute__((vector_size(16), aligned(2)));

INLINE b16 lookup(b16 table, b16 index) {
#if defined(__aarch64__)
	return (b16)vqtbl1q_u8((uint8x16_t)table, (uint8x16_t)index);
#else
	return (b16)_mm_shuffle_epi8((__m128i)table, (__m128i)index);
#endif
}

// A group of 32 signed weights: a sign byte is 0 or 255, and no magnitude is 0, so nothing carries from byte to byte.
INLINE void iq2_group(const u8 *p, u8 *dst, const struct iq2Tables *tab) {
	u32 t = load32(p + 4);
	EACH(l, 4) {
		u64 s = tab->signs[t & 127], v = (tab->grid[p[l]] ^ s) + (s & 0x0101010101010101);
		__builtin_memcpy(dst + 8 * l, &v, 8);
		t >>= 7;
		OPAQUE(t);
	}
}
INLINE u32 iq2_scale(const u8 *p, int g) { return 2 * (load32(p + 6 + 8 * g) >> 28) + 1; }

// Q2_K codes times their scale: at most 45, so two products in 16 bits do not meet.
INLINE void q2_codes(const u8 *p, u8 *dst) {
	EACH(j, 16) {
		w8 c = *(const w8 *)(p + 16 + 32 * (j / 8) + 16 * (j & 1));
		*(w8 *)(dst + 16 * j) = (c >> (u16)(2 * (j / 2 % 4)) & 0x0303) * (u16)(p[j] & 15);
	}
}

INLINE void q4_codes(const u8 *p, u8 *dst) {
	EACH(j, 8) {
		b16 c = *(const b16 *)(p + 16 + 16 * j);
		*(b16 *)(dst + 64 * (j / 2) + 16 * (j & 1)) = c & 15;
		*(b16 *)(dst + 64 * (j / 2) + 16 * (j & 1) + 32) = c >> 4;
	}
}
// The eight 6-bit scales and minimums of a Q4_K block, a byte each.
INLINE u64 q4_scales(const u8 *p) {
	u32 a = load32(p + 4), c = load32(p + 12);
	return (a & 0x3f3f3f3f) | (u64)((c & 0x0f0f0f0f) | (a >> 6 & 0x03030303) << 4) << 32;
}
INLINE u64 q4_mins(const u8 *p) {
	u32 b = load32(p + 8), c = load32(p + 12);
	return (b & 0x3f3f3f3f) | (u64)((c >> 4 & 0x0f0f0f0f) | (b >> 6 & 0x03030303) << 4) << 32;
}

INLINE void mx_codes(const u8 *p, u8 *dst) { // 32
	const b16 table = {0, 1, 2, 3, 4, 6, 8, 12, 0, 255, 254, 253, 252, 250, 248, 244};
	b16 c = *(const b16 *)(p + 1);
	*(b16 *)dst = lookup(table, c & 15);
	*(b16 *)(dst + 16) = lookup(table, c >> 4);
}

#if LANES == 16
// q4_scales and, behind it, q4_mins.
INLINE __m128i q4_both(const u8 *p) {
	__m128i v = _mm_loadu_si128((const void *)p);
	__m128i low = _mm_srlv_epi32(_mm_shuffle_epi32(v, 0xf9), _mm_set_epi32(4, 0, 0, 0)); // words 1, 2, 3, 3
	__m128i high = _mm_srli_epi32(_mm_shuffle_epi32(v, 0x99), 2);                         // words 1, 2, 1, 2
	low = _mm_and_si128(low, _mm_set_epi32(0x0f0f0f0f, 0x0f0f0f0f, 0x3f3f3f3f, 0x3f3f3f3f));
	high = _mm_and_si128(high, _mm_set_epi32(0x30303030, 0x30303030, 0, 0));
	return _mm_shuffle_epi32(_mm_or_si128(low, high), 0xd8);
}
// The f16 at p of 16 rows.
INLINE __m512 halves16(const u8 *p, i64 stride) {
	__m128i a = _mm_setzero_si128(), b = a;
#define ONE(v, i) v = _mm_insert_epi16(v, load16(p), i); p += stride; OPAQUE(p);
	ONE(a, 0) ONE(a, 1) ONE(a, 2) ONE(a, 3) ONE(a, 4) ONE(a, 5) ONE(a, 6) ONE(a, 7)
	ONE(b, 0) ONE(b, 1) ONE(b, 2) ONE(b, 3) ONE(b, 4) ONE(b, 5) ONE(b, 6) ONE(b, 7)
#undef ONE
	return _mm512_cvtph_ps(_mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1));
}

// The weights of two blocks of 34 bytes, as bytes of the pair of vectors that pair i of 16 blocks lies in.
#define V8(n) n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7
#define V32(n) V8(n), V8(n + 8), V8(n + 16), V8(n + 24)
#define PAIR(i) { V32(4 * i + 2), V32(4 * i + 36) }
static const u8 q8_pairs[8][64] __attribute__((aligned(64))) = { PAIR(0), PAIR(1), PAIR(2), PAIR(3), PAIR(4), PAIR(5), PAIR(6), PAIR(7) };

// Codes of IQ2_XXS without a table in memory: grid indices pick two-bit digits from eight registers, digits pick
// magnitudes, and signs come as masks. Every qword of a vector belongs to one group of 32 weights, so no value crosses to
// another: plane q has the weights 8q ... 8q+7 of each of the eight groups.
struct iq2Regs { __m512i t[8]; };
INLINE struct iq2Regs iq2_load(const struct iq2Tables *tab) {
	struct iq2Regs r;
	EACH(i, 8) r.t[i] = _mm512_loadu_si512(tab->codes + 32 * i);
	return r;
}
#define F(g) 8 * g, 0, 8 * g + 1, 0, 8 * g + 2, 0, 8 * g + 3, 0
static const u8 iq2_first[64] __attribute__((aligned(64))) = { F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7) };

// Digits of the grid entries: a word for each of a group's four.
INLINE __m512i iq2_digits(struct iq2Regs r, __m512i z) {
	__m512i i = _mm512_maskz_permutexvar_epi8(0x5555555555555555, _mm512_load_si512(iq2_first), z);
	__mmask32 b6 = _mm512_test_epi16_mask(i, _mm512_set1_epi16(64)), b7 = _mm512_test_epi16_mask(i, _mm512_set1_epi16(128));
	__m512i lo = _mm512_mask_mov_epi16(_mm512_permutex2var_epi16(r.t[0], i, r.t[1]), b6, _mm512_permutex2var_epi16(r.t[2], i, r.t[3]));
	__m512i hi = _mm512_mask_mov_epi16(_mm512_permutex2var_epi16(r.t[4], i, r.t[5]), b6, _mm512_permutex2var_epi16(r.t[6], i, r.t[7]));
	return _mm512_mask_mov_epi16(lo, b7, hi);
}
// Sign bytes of a group, in the low half of its qword. The matrix keeps seven bits and adds their parity.
INLINE __m512i iq2_signs(__m512i z) {
	__m512i s = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x352e2720352e2720), z);
	return _mm512_gf2p8affine_epi64_epi8(s, _mm512_set1_epi64(0x010204081020407f), 0);
}
// Digits and signs of the block at row + 2 of 16 rows, 128 bytes each: a pass of its own, since the way from an index to a
// product is long, and a core looks at few rows at a time.
INLINE void iq2_pass(const struct iq2Tables *from, const u8 *row, i64 stride, u8 *t) {
	const struct iq2Regs tab = iq2_load(from);
	LOOP (int i = 0; i < 16; i++) {
		__m512i z = _mm512_loadu_si512(row + 2);
		i_store(t, iq2_digits(tab, z));
		i_store(t + 64, iq2_signs(z));
		row += stride;
		t += 128;
	}
}
INLINE __m512i iq2_mags(__m512i digits, const int q) { // of plane q
	__m512i d = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x0e0c0a0806040200 + 0x1010101010101010 * q), digits);
	return _mm512_permutexvar_epi8(d, _mm512_set1_epi32(0x002b1908)); // by the low two bits; digit 3 does not occur
}
INLINE __mmask64 iq2_negative(__m512i signs, const int q) {
	return _mm512_bitshuffle_epi64_mask(signs, _mm512_set1_epi64(0x0706050403020100 + 0x0808080808080808 * q));
}
INLINE __m512i iq2_scales(__m512i z) { // of each group, a qword
	return _mm512_or_si512(_mm512_srli_epi64(z, 59), _mm512_set1_epi64(1));
}

// Two blocks at once: byte i of a vector belongs to grid index i, so that its dwords are groups.
struct iq2Halves { __m512i t[8]; }; // the digits of every grid entry: the low four in four registers, the high four in four
INLINE struct iq2Halves iq2_load_halves(const struct iq2Tables *tab) {
	struct iq2Halves r;
	EACH(i, 8) r.t[i] = i_load(tab->digits + 64 * i);
	return r;
}
struct iq2Codes {
	__m512i digits[2]; // 0 ... 3 of each index and 4 ... 7, two bits each
	__m512i signs[2];  // of the same, where iq2_values wants them
	__m512i scales;    // of each group
};
INLINE struct iq2Codes iq2_codes(const u8 *p, struct iq2Halves r) {
	const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
	const __m512i odd = _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
	__m512i z0 = i_load(p + 2), z1 = i_load(p + 68);
	__m512i index = _mm512_permutex2var_epi32(z0, even, z1), rest = _mm512_permutex2var_epi32(z0, odd, z1);
	__mmask64 high = _mm512_movepi8_mask(index);
	struct iq2Codes c;
	EACH(h, 2) c.digits[h] = _mm512_mask_mov_epi8(_mm512_permutex2var_epi8(r.t[4 * h], index, r.t[4 * h + 1]), high,
		_mm512_permutex2var_epi8(r.t[4 * h + 2], index, r.t[4 * h + 3]));
	__m512i s = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x352e2720150e0700), rest);
	// Rows of a matrix from bit 0 up: signs 1, 2, 3, 0 (5, 6, 7, 4) at bits 1 ... 4; sign 7 is the parity of the others.
	c.signs[0] = _mm512_gf2p8affine_epi64_epi8(s, _mm512_set1_epi64(0x0002040801000000), 0);
	c.signs[1] = _mm512_gf2p8affine_epi64_epi8(s, _mm512_set1_epi64(0x0020407f10000000), 0);
	c.scales = _mm512_or_si512(_mm512_srli_epi32(rest, 27), i_set(1));
	return c;
}
#define V1(c, digit, sign) 128 + ((c) >> (sign) & 1 ? -1 : 1) * ((c) >> (digit) & 2 ? 43 : (c) >> (digit) & 1 ? 25 : 8)
#define VV4(c, d, s) V1(c, d, s), V1(c + 1, d, s), V1(c + 2, d, s), V1(c + 3, d, s)
#define VV16(c, d, s) VV4(c, d, s), VV4(c + 4, d, s), VV4(c + 8, d, s), VV4(c + 12, d, s)
#define VV64(d, s) { VV16(0, d, s), VV16(16, d, s), VV16(32, d, s), VV16(48, d, s) }
static const u8 iq2_value[4][64] __attribute__((aligned(64))) = { VV64(0, 4), VV64(2, 1), VV64(4, 2), VV64(4, 3) };
// Value k of every index, biased by 128. Six bits choose it: of these its digit lies at bit 0, 2 or 4, its sign elsewhere.
INLINE __m512i iq2_values(struct iq2Codes c, const int k) {
	const int sign = k % 4 ? k % 4 : 4;
	__m512i d = k % 4 == 3 ? _mm512_srli_epi16(c.digits[k / 4], 2) : c.digits[k / 4];
	__m512i code = _mm512_ternarylogic_epi32(_mm512_set1_epi8(1 << sign), c.signs[k / 4], d, 0xca);
	return _mm512_permutexvar_epi8(code, _mm512_load_si512(iq2_value[k % 4]));
}
#define T(k) k, k + 8, k + 16, k + 24, k + 32, k + 40, k + 48, k + 56
static const u8 iq2_turn[64] __attribute__((aligned(64))) = { T(0), T(1), T(2), T(3), T(4), T(5), T(6), T(7) };
#endif
