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
// Codes of IQ2_XXS without a table in memory: grid indices pick two-bit digits from eight registers, digits pick
// magnitudes, and signs come as masks.
struct iq2Regs { __m512i t[8]; };
INLINE struct iq2Regs iq2_load(const struct iq2Tables *tab) {
	struct iq2Regs r;
	EACH(i, 8) r.t[i] = _mm512_loadu_si512(tab->codes + 32 * i);
	return r;
}
// Index vectors, read from memory where they are used: with the tables they would not fit the registers. A caller makes
// the pointer opaque in its loop.
struct iq2Index {
	u8 first[64];    // the grid indices, a word each
	u16 word[4][32]; // every word four times, eight words a vector
	u8 byte[4][64];  // sign bytes eight times: four of each of two groups
	u32 pair[4][16]; // scales: the upper dword of group 2q and of group 2q+1
};
#define F(g) 8 * g, 0, 8 * g + 1, 0, 8 * g + 2, 0, 8 * g + 3, 0
#define W(i) i, i, i, i
#define B(i) i, i, i, i, i, i, i, i
#define V(q) { W(8 * q), W(8 * q + 1), W(8 * q + 2), W(8 * q + 3), W(8 * q + 4), W(8 * q + 5), W(8 * q + 6), W(8 * q + 7) }
#define S(q) { B(16 * q), B(16 * q + 1), B(16 * q + 2), B(16 * q + 3), B(16 * q + 8), B(16 * q + 9), B(16 * q + 10), B(16 * q + 11) }
#define P(q) { B(4 * q), B(4 * q + 2) }
static const struct iq2Index iq2_index __attribute__((aligned(64))) = {
	{ F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7) }, { V(0), V(1), V(2), V(3) }, { S(0), S(1), S(2), S(3) }, { P(0), P(1), P(2), P(3) },
};

INLINE __m512i iq2_digits(struct iq2Regs r, __m512i z, const struct iq2Index *k) { // 32 words: the digits of each grid index
	__m512i i = _mm512_maskz_permutexvar_epi8(0x5555555555555555, _mm512_load_si512(k->first), z);
	__mmask32 b6 = _mm512_test_epi16_mask(i, _mm512_set1_epi16(64)), b7 = _mm512_test_epi16_mask(i, _mm512_set1_epi16(128));
	__m512i lo = _mm512_mask_mov_epi16(_mm512_permutex2var_epi16(r.t[0], i, r.t[1]), b6, _mm512_permutex2var_epi16(r.t[2], i, r.t[3]));
	__m512i hi = _mm512_mask_mov_epi16(_mm512_permutex2var_epi16(r.t[4], i, r.t[5]), b6, _mm512_permutex2var_epi16(r.t[6], i, r.t[7]));
	return _mm512_mask_mov_epi16(lo, b7, hi);
}
// Sign bytes: qword g has the four of group g in its low half. The matrix keeps seven bits and adds their parity.
INLINE __m512i iq2_signs(__m512i z) {
	__m512i s = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x352e2720352e2720), z);
	return _mm512_gf2p8affine_epi64_epi8(s, _mm512_set1_epi64(0x010204081020407f), 0);
}
INLINE __m512i iq2_mags(__m512i digits, const int q, const struct iq2Index *k) { // 64 magnitudes: elements 64q ...
	__m512i d = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(0x0e0c0a0806040200), _mm512_permutexvar_epi16(_mm512_load_si512(k->word[q]), digits));
	return _mm512_permutexvar_epi8(d, _mm512_set1_epi32(0x002b1908)); // by the low two bits; digit 3 does not occur
}
INLINE __mmask64 iq2_negative(__m512i signs, const int q, const struct iq2Index *k) {
	return _mm512_test_epi8_mask(_mm512_permutexvar_epi8(_mm512_load_si512(k->byte[q]), signs), _mm512_set1_epi64(0x8040201008040201));
}
INLINE __m512i iq2_scales(__m512i z, const int q, const struct iq2Index *k) { // upper 16 bits of every lane are 0
	return _mm512_permutexvar_epi32(_mm512_load_si512(k->pair[q]), _mm512_or_si512(_mm512_srli_epi64(z, 59), _mm512_set1_epi64(1)));
}
#endif
