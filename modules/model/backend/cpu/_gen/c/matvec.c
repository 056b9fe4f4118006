// One activation row: as many weight rows as there are lanes, side by side. Each row's integer block sum is reduced to its
// lane, and the f32 sum of a lane runs over blocks in ascending order, as in the plain loops.
#include "unpack.h"

// How far ahead the next bytes are fetched where memory is read in order, in two streams or in one.
#define AHEAD 3072
// What the next rows need is fetched while these are multiplied: rows lie one after another, so memory is read in order.
INLINE void fetch(const u8 *w, i64 bytes) {
#if defined(__AVX512F__) || defined(__AVX2__)
	for (i64 i = 0; i < bytes; i += 64) _mm_prefetch((const char *)(w + i), _MM_HINT_T1);
#else
	for (i64 i = 0; i < bytes; i += 64) __builtin_prefetch(w + i, 0, 2);
#endif
}

// Plain weights: a square of rows and elements is turned on its side, then lanes are rows. blocks counts elements.
INLINE void turn(vf *v) {
#if LANES == 16
	__m512 r[16], t[16];
	EACH(i, 8) {
		t[2 * i] = _mm512_unpacklo_ps(v[2 * i], v[2 * i + 1]);
		t[2 * i + 1] = _mm512_unpackhi_ps(v[2 * i], v[2 * i + 1]);
	}
	EACH(i, 4) EACH(h, 2) {
		r[4 * i + 2 * h] = (__m512)_mm512_unpacklo_pd((__m512d)t[4 * i + h], (__m512d)t[4 * i + 2 + h]);
		r[4 * i + 2 * h + 1] = (__m512)_mm512_unpackhi_pd((__m512d)t[4 * i + h], (__m512d)t[4 * i + 2 + h]);
	}
	EACH(c, 4) {
		__m512 a = _mm512_shuffle_f32x4(r[c], r[4 + c], 0x44), b = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0x44);
		__m512 d = _mm512_shuffle_f32x4(r[c], r[4 + c], 0xee), e = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0xee);
		v[c] = _mm512_shuffle_f32x4(a, b, 0x88);
		v[4 + c] = _mm512_shuffle_f32x4(a, b, 0xdd);
		v[8 + c] = _mm512_shuffle_f32x4(d, e, 0x88);
		v[12 + c] = _mm512_shuffle_f32x4(d, e, 0xdd);
	}
#elif LANES == 8
	__m256 r[8], t[8];
	EACH(i, 4) {
		t[2 * i] = _mm256_unpacklo_ps(v[2 * i], v[2 * i + 1]);
		t[2 * i + 1] = _mm256_unpackhi_ps(v[2 * i], v[2 * i + 1]);
	}
	EACH(i, 2) EACH(h, 2) {
		r[4 * i + 2 * h] = (__m256)_mm256_unpacklo_pd((__m256d)t[4 * i + h], (__m256d)t[4 * i + 2 + h]);
		r[4 * i + 2 * h + 1] = (__m256)_mm256_unpackhi_pd((__m256d)t[4 * i + h], (__m256d)t[4 * i + 2 + h]);
	}
	EACH(c, 4) {
		v[c] = _mm256_permute2f128_ps(r[c], r[4 + c], 0x20);
		v[4 + c] = _mm256_permute2f128_ps(r[c], r[4 + c], 0x31);
	}
#else
	float32x4x2_t a = vtrnq_f32(v[0], v[1]), b = vtrnq_f32(v[2], v[3]);
	v[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
	v[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
	v[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
	v[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
#endif
}

#if LANES == 16
// Sums of the eight dwords in each half: lane i has the low half of v[i], lane 8+i the high half.
INLINE __m512i reduce8(const __m512i v[8]) {
	__m512i t[4], u[2];
	EACH(i, 4) t[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
	EACH(i, 2) u[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(t[2 * i], t[2 * i + 1]), _mm512_unpackhi_epi64(t[2 * i], t[2 * i + 1]));
	const __m512i a = _mm512_set_epi64(13, 12, 5, 4, 9, 8, 1, 0), b = _mm512_set_epi64(15, 14, 7, 6, 11, 10, 3, 2);
	return _mm512_add_epi32(_mm512_permutex2var_epi64(u[0], a, u[1]), _mm512_permutex2var_epi64(u[0], b, u[1]));
}
INLINE __m512i join(__m256i lo, __m256i hi) { return _mm512_inserti64x4(_mm512_castsi256_si512(lo), hi, 1); }
INLINE __m256i fold(__m512i v) { return _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1)); }

KERNEL vecMXFP4(const struct vecArgs *a) {
	const i64 stride = a->stride;
	// biased by 128
	const __m512i table = _mm512_broadcast_i32x4(_mm_set_epi8(116, 120, 122, 124, 125, 126, 127, -128, -116, -120, -122, -124, -125, -126, -127, -128));
	const u8 *p = a->w, *ahead = p + 16 * stride;
	vf acc = f_zero();
	LOOP (i64 b = 0; b < a->blocks; b++) {
		fetch(ahead, 272);
		ahead += 272;
		__m512i y = _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)(a->x + 32 * b))), v[8];
		const u8 *lo = p, *hi = p + 8 * stride;
		EACH(i, 8) {
			__m512i c = join(_mm256_castsi128_si256(_mm_loadu_si128((const void *)(lo + 1))), _mm256_castsi128_si256(_mm_loadu_si128((const void *)(hi + 1))));
			c = _mm512_permutex_epi64(c, 0x44);
			c = _mm512_and_si512(_mm512_mask_srli_epi16(c, 0xff00ff00, c, 4), _mm512_set1_epi8(15));
			v[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_shuffle_epi8(table, c), y);
			lo += stride;
			hi += stride;
			OPAQUE(lo);
			OPAQUE(hi);
		}
		vi sum = _mm512_add_epi32(reduce8(v), _mm512_set1_epi32(a->xn[b]));
		__m128i e = _mm_setzero_si128();
		const u8 *pe = p;
#define ONE(i) e = _mm_insert_epi8(e, *pe, i); pe += stride; OPAQUE(pe);
		ONE(0) ONE(1) ONE(2) ONE(3) ONE(4) ONE(5) ONE(6) ONE(7) ONE(8) ONE(9) ONE(10) ONE(11) ONE(12) ONE(13) ONE(14) ONE(15)
#undef ONE
		__m512i e32 = _mm512_cvtepu8_epi32(e);
		vf d = f_mul(_mm512_castsi512_ps(_mm512_mask_mov_epi32(_mm512_slli_epi32(e32, 23), _mm512_testn_epi32_mask(e32, e32), _mm512_set1_epi32(0x00400000))), f_set(0.5f));
		acc = f_add(acc, f_mul(f_mul(d, f_set(a->xd[b])), f_int(sum)));
		p += 17;
	}
	f_store(a->out, acc);
}

// Activations in the order of the planes: qword g of plane q is qword 4g+q.
INLINE void iq2_planes(const i8 *x, __m512i y[4]) {
	__m512i a = i_load(x), b = i_load(x + 64), c = i_load(x + 128), d = i_load(x + 192);
	EACH(q, 4) {
		__m512i at = _mm512_set_epi64(12 + q, 8 + q, 4 + q, q, 12 + q, 8 + q, 4 + q, q);
		y[q] = join(_mm512_castsi512_si256(_mm512_permutex2var_epi64(a, at, b)), _mm512_castsi512_si256(_mm512_permutex2var_epi64(c, at, d)));
	}
}

INLINE void iq2_columns(const struct vecArgs *a) {
	const u8 *p = a->w, *ahead = p + 16 * a->stride;
	vf acc = f_zero();
	LOOP (i64 b = 0; b < a->blocks; b++) {
		fetch(ahead, 1056);
		ahead += 1056;
		const u8 *row = p;
		u8 *t = a->tmp;
		OPAQUE(a); // or its fields, and the tables, would take registers throughout
		iq2_pass(a->iq2, row, a->stride, t);
		__m512i y[4];
		iq2_planes(a->x + 256 * b, y);
		LOOP (int i = 0; i < 16; i++) {
			__m512i digits = i_load(t + 128 * i), signs = i_load(t + 128 * i + 64), sum[2] = { i_zero(), i_zero() };
			EACH(q, 4) {
				__m512i x = _mm512_mask_sub_epi8(y[q], iq2_negative(signs, q), i_zero(), y[q]);
				sum[q & 1] = i_dot4(sum[q & 1], iq2_mags(digits, q), x);
			}
			__m512i s = _mm512_shuffle_epi32(iq2_scales(i_load(row + 2)), 0xa0); // for both dwords of a group
			i_store(t + 64 * i, i_mul(i_add(sum[0], sum[1]), s));
			row += a->stride;
		}
		__m512i v[8];
		EACH(i, 8) {
			__m512i lo = i_load(t + 64 * i), hi = i_load(t + 64 * (i + 8));
			v[i] = i_add(_mm512_shuffle_i64x2(lo, hi, 0x44), _mm512_shuffle_i64x2(lo, hi, 0xee));
		}
		acc = f_add(acc, f_mul(f_mul(halves16(p, a->stride), f_set(a->xd[b])), f_int(reduce8(v))));
		p += 66;
	}
	f_store(a->out, f_mul(f_set(0.125f), acc));
}

// Rows that lie one after another are read in order, 16 blocks at a time: of one row, of half a long one, of two short ones.
// What a core fetches by itself is faster than what it is told to fetch.
INLINE int in_order(const struct vecArgs *a, i64 bytes) {
	return a->stride == bytes * a->blocks && (a->blocks % 16 == 0 || 16 % a->blocks == 0);
}
// In tmp are one unit's sums (1 KiB), the row's activations, their scales, and the products. in_order_scales fills the scales, those of
// a short row again and again, and returns the place of the products.
INLINE f32 *in_order_scales(const struct vecArgs *a) {
	f32 *t = (f32 *)(a->tmp + 1024 + 256 * a->blocks);
	i64 b = 0;
	LOOP (i64 i = 0; i < a->blocks || i < 16; i++) {
		t[i] = a->xd[b];
		if (++b == a->blocks) b = 0;
	}
	return t + 16 + a->blocks;
}
// The scales of the 16 blocks before block at.
INLINE vf in_order_scale(const struct vecArgs *a, i64 at) {
	return f_load((const f32 *)(a->tmp + 1024 + 256 * a->blocks) + (at < 16 ? 0 : at - 16));
}
// The products of 16 rows' blocks (row, block), turned on their side, to the rows' sums.
INLINE vf in_order_sums(const f32 *from, i64 blocks, u8 *t) {
	vf acc = f_zero();
	LOOP (i64 left = blocks; left > 0; left -= 16) {
		vf v[16];
		const f32 *p = from;
		EACH(k, 16) {
			v[k] = f_load(p);
			p += blocks;
			OPAQUE(p);
		}
		turn(v);
		EACH(k, 16) f_store((f32 *)(t + 64 * k), v[k]);
		LOOP (i64 k = 0; k < (left < 16 ? left : 16); k++) acc = f_add(acc, f_load((const f32 *)(t + 64 * k)));
		from += 16;
	}
	return acc;
}

// Activations of two blocks in the order of the digits: byte i of plane k is value k of grid index i.
INLINE void iq2_activations(const i8 *x, u8 *y) {
	__m512i z[8], t[8];
	EACH(i, 8) z[i] = _mm512_permutexvar_epi8(_mm512_load_si512(iq2_turn), i_load(x + 64 * i)); // qword k: value k of eight indices
	EACH(i, 4) {
		t[2 * i] = _mm512_unpacklo_epi64(z[2 * i], z[2 * i + 1]);
		t[2 * i + 1] = _mm512_unpackhi_epi64(z[2 * i], z[2 * i + 1]);
	}
	EACH(h, 2) { // lane c of t[2i+h]: value 2c+h of indices 16i ... 16i+15
		__m512i a = _mm512_shuffle_i64x2(t[h], t[2 + h], 0x44), b = _mm512_shuffle_i64x2(t[4 + h], t[6 + h], 0x44);
		__m512i c = _mm512_shuffle_i64x2(t[h], t[2 + h], 0xee), d = _mm512_shuffle_i64x2(t[4 + h], t[6 + h], 0xee);
		i_store(y + 64 * h, _mm512_shuffle_i64x2(a, b, 0x88));
		i_store(y + 64 * (2 + h), _mm512_shuffle_i64x2(a, b, 0xdd));
		i_store(y + 64 * (4 + h), _mm512_shuffle_i64x2(c, d, 0x88));
		i_store(y + 64 * (6 + h), _mm512_shuffle_i64x2(c, d, 0xdd));
	}
}

// The integer sums of two blocks' groups of 32, a dword each, times their scales.
INLINE __m512i iq2_pair(const u8 *p, const u8 *y, const i32 *xn, struct iq2Halves r) {
	struct iq2Codes c = iq2_codes(p, r);
	__m512i acc[2] = { i_load(xn), i_zero() };
	EACH(k, 8) acc[k & 1] = i_dot4(acc[k & 1], iq2_values(c, k), i_load(y + 64 * k));
	return i_mul(i_add(acc[0], acc[1]), c.scales);
}

INLINE void iq2_rows(const struct vecArgs *a) {
	f32 *out = in_order_scales(a);
	LOOP (i64 i = 0; i < a->blocks / 2; i++) iq2_activations(a->x + 512 * i, a->tmp + 1024 + 512 * i);
	const u8 *p = a->w;
	i64 at = 0;
	LOOP (i64 n = a->blocks; n > 0; n--) {
		OPAQUE(a); // its fields are read where they are used: they would not fit the registers
		u8 *t = a->tmp;
		const struct iq2Halves r = iq2_load_halves(a->iq2);
		LOOP (int i = 0; i < 8; i++) {
			if (at == a->blocks) at = 0;
			EACH(k, 2) prefetch(p + 2 * AHEAD + 64 * k);
			i_store(t, iq2_pair(p, a->tmp + 1024 + 256 * at, a->xn + 8 * at, r));
			p += 132;
			t += 64;
			at += 2;
		}
		__m512i v[8];
		EACH(i, 8) v[i] = i_load(a->tmp + 64 * i);
		vi sum = _mm512_permutexvar_epi32(_mm512_set_epi32(15, 7, 14, 6, 13, 5, 12, 4, 11, 3, 10, 2, 9, 1, 8, 0), reduce8(v));
		f_store(out, f_mul(f_mul(halves16(p - 1056, 66), in_order_scale(a, at)), f_int(sum)));
		out += 16;
	}
	f_store(a->out, f_mul(f_set(0.125f), in_order_sums(out - 16 * a->blocks, a->blocks, a->tmp)));
}

KERNEL vecIQ2_XXS(const struct vecArgs *a) {
	if (in_order(a, 66) && a->blocks % 2 == 0) iq2_rows(a);
	else iq2_columns(a);
}

// Block sums and sums of minimums of 16 rows, from a pair of vectors of eight for each row.
INLINE void reduce_pairs(const u8 *t, vi *sum, vi *low) {
	__m512i v[8], u;
	EACH(i, 8) v[i] = _mm512_loadu_si512(t + 64 * i);
	u = reduce8(v);
	EACH(i, 8) v[i] = _mm512_loadu_si512(t + 512 + 64 * i);
	__m512i h = reduce8(v);
	*sum = _mm512_shuffle_i64x2(u, h, 0x44);
	*low = _mm512_shuffle_i64x2(u, h, 0xee);
}

// One block: its sums in the low half, eight dwords, and the sums of its minimums in the high half.
INLINE void q2_activations(const i8 *x, __m512i y[4]) {
	EACH(k, 4) y[k] = join(_mm256_loadu_si256((const void *)(x + 32 * k)), _mm256_loadu_si256((const void *)(x + 128 + 32 * k)));
}
INLINE __m512i q2_block(const u8 *row, const __m512i y[4], __m256i xs) {
	__m128i s = _mm_loadu_si128((const void *)row), mask = _mm_set1_epi8(15);
	__m512i sc = _mm512_castsi128_si512(_mm_and_si128(s, mask)), bits = _mm512_loadu_si512(row + 16), sum = _mm512_setzero_si512();
	__m256i low = _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(s, 4), mask)), xs);
	EACH(k, 4) {
		__m512i c = _mm512_and_si512(_mm512_srli_epi16(bits, 2 * k), _mm512_set1_epi8(3));
		__m512i at = _mm512_set_epi32(9 + 2 * k, 9 + 2 * k, 9 + 2 * k, 9 + 2 * k, 8 + 2 * k, 8 + 2 * k, 8 + 2 * k, 8 + 2 * k,
			1 + 2 * k, 1 + 2 * k, 1 + 2 * k, 1 + 2 * k, 2 * k, 2 * k, 2 * k, 2 * k);
		sum = _mm512_dpwssd_epi32(sum, _mm512_dpbusd_epi32(_mm512_setzero_si512(), c, y[k]), _mm512_maskz_permutexvar_epi8(0x1111111111111111, at, sc));
	}
	return join(fold(sum), low);
}
INLINE void q4_activations(const i8 *x, __m512i y[4]) { // groups 0 and 2, 1 and 3, 4 and 6, 5 and 7
	EACH(k, 4) {
		const i8 *at = x + 128 * (k / 2) + 32 * (k & 1);
		y[k] = join(_mm256_loadu_si256((const void *)at), _mm256_loadu_si256((const void *)(at + 64)));
	}
}
INLINE __m512i q4_block(const u8 *row, const __m512i y[4], __m256i xs) {
	__m128i both = q4_both(row);
	__m512i sc = _mm512_castsi128_si512(both), sum = _mm512_setzero_si512();
	__m256i low = _mm256_madd_epi16(_mm256_cvtepu8_epi16(_mm_unpackhi_epi8(both, both)), xs);
	EACH(k, 4) {
		__m512i c = _mm512_loadu_si512(row + 16 + 64 * (k / 2));
		c = _mm512_and_si512(k & 1 ? _mm512_srli_epi16(c, 4) : c, _mm512_set1_epi8(15));
		const int g = 4 * (k / 2) + (k & 1);
		__m512i at = _mm512_set_epi32(g + 2, g + 2, g + 2, g + 2, g + 2, g + 2, g + 2, g + 2, g, g, g, g, g, g, g, g);
		sum = _mm512_dpwssd_epi32(sum, _mm512_dpbusd_epi32(_mm512_setzero_si512(), c, y[k]), _mm512_maskz_permutexvar_epi8(0x1111111111111111, at, sc));
	}
	return join(fold(sum), low);
}
INLINE vf k_products(vi sum, vi low, vf d, vf dm, vf yd) { return f_sub(f_mul(f_mul(yd, d), f_int(sum)), f_mul(f_mul(yd, dm), f_int(low))); }

// Both formats, by memory's order or block by block over all rows; d and dm are where their scales lie.
#define KVEC16(name, bytes, block, activations, at_d, at_dm) \
	INLINE void name##_rows(const struct vecArgs *a) { \
		f32 *out = in_order_scales(a); \
		LOOP (i64 i = 0; i < a->blocks; i++) { \
			__m512i y[4]; \
			activations(a->x + 256 * i, y); \
			EACH(k, 4) i_store(a->tmp + 1024 + 256 * i + 64 * k, y[k]); \
		} \
		const u8 *p = a->w; \
		i64 at = 0; \
		LOOP (i64 n = a->blocks; n > 0; n--) { \
			OPAQUE(a); \
			LOOP (i64 t = 0; t < 1024; t += 64) { \
				if (at == a->blocks) at = 0; \
				EACH(k, bytes / 64) prefetch(p + 2 * AHEAD + 64 * k); \
				__m512i y[4]; \
				EACH(k, 4) y[k] = i_load(a->tmp + 1024 + 256 * at + 64 * k); \
				i_store(a->tmp + t, block(p, y, _mm256_loadu_si256((const void *)(a->xs + 16 * at)))); \
				p += bytes; \
				at++; \
			} \
			vi sum, low; \
			reduce_pairs(a->tmp, &sum, &low); \
			const u8 *first = p - 16 * bytes; \
			f_store(out, k_products(sum, low, halves16(first + at_d, bytes), halves16(first + at_dm, bytes), in_order_scale(a, at))); \
			out += 16; \
		} \
		f_store(a->out, in_order_sums(out - 16 * a->blocks, a->blocks, a->tmp)); \
	} \
	INLINE void name##_columns(const struct vecArgs *a) { \
		const u8 *p = a->w; \
		vf acc = f_zero(); \
		LOOP (i64 b = 0; b < a->blocks; b++) { \
			__m512i y[4]; \
			activations(a->x + 256 * b, y); \
			__m256i xs = _mm256_loadu_si256((const void *)(a->xs + 16 * b)); \
			const u8 *row = p; \
			u8 *t = a->tmp; \
			LOOP (int i = 0; i < 16; i++) { \
				i_store(t + 64 * i, block(row, y, xs)); \
				row += a->stride; \
				OPAQUE(row); \
			} \
			vi sum, low; \
			reduce_pairs(t, &sum, &low); \
			acc = f_add(acc, k_products(sum, low, halves16(p + at_d, a->stride), halves16(p + at_dm, a->stride), f_set(a->xd[b]))); \
			p += bytes; \
		} \
		f_store(a->out, acc); \
	} \
	KERNEL name(const struct vecArgs *a) { \
		if (in_order(a, bytes)) name##_rows(a); \
		else name##_columns(a); \
	}

KVEC16(vecQ2_K, 84, q2_block, q2_activations, 80, 82)
KVEC16(vecQ4_K, 144, q4_block, q4_activations, 0, 2)

#else // 8 or 4 lanes: every row's block goes to bytes, and is multiplied from there

#if LANES == 8
INLINE vi dot32(vi acc, const u8 *w, const i8 *x) { return i_dot4(acc, i_load(w), i_load(x)); }
INLINE vi reduce(const vi *v) {
	vi t[4];
	EACH(i, 4) t[i] = _mm256_hadd_epi32(v[2 * i], v[2 * i + 1]);
	t[0] = _mm256_hadd_epi32(t[0], t[1]);
	t[2] = _mm256_hadd_epi32(t[2], t[3]);
	return i_add(_mm256_permute2x128_si256(t[0], t[2], 0x20), _mm256_permute2x128_si256(t[0], t[2], 0x31));
}
INLINE vi mins16(const i16 *m, const i16 *xs) { return _mm256_madd_epi16(i_load(m), i_load(xs)); }
#else
INLINE vi dot32(vi acc, const u8 *w, const i8 *x) { return i_dot4(i_dot4(acc, i_load(w), i_load(x)), i_load(w + 16), i_load(x + 16)); }
INLINE vi reduce(const vi *v) { return vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3])); }
INLINE vi mins16(const i16 *m, const i16 *xs) {
	int16x8_t a = vld1q_s16(m), b = vld1q_s16(m + 8), c = vld1q_s16(xs), d = vld1q_s16(xs + 8);
	vi t = vmlal_high_s16(vmull_s16(vget_low_s16(a), vget_low_s16(c)), a, c);
	return vmlal_high_s16(vmlal_s16(t, vget_low_s16(b), vget_low_s16(d)), b, d);
}
#endif

INLINE vf halves(const u8 *p, i64 stride) {
	f32 d[LANES];
	vf v;
	EACH(i, LANES) {
		d[i] = half(p);
		p += stride;
		OPAQUE(p);
	}
	EACH(i, LANES) v[i] = d[i];
	return v;
}

// Blocks of 32: the integer sums of a block of every row, then one step of every lane's f32 sum.
#define VEC(name, bytes, per, row_code, step, last) \
	KERNEL name(const struct vecArgs *a) { \
		const i64 stride = a->stride; \
		const u8 *p = a->w, *ahead = p + LANES * stride; \
		vf acc = f_zero(); \
		LOOP (i64 b = 0; b < a->blocks; b++) { \
			fetch(ahead, LANES * bytes); \
			ahead += LANES * bytes; \
			const i8 *x = a->x + per * b; \
			const u8 *row = p; \
			u8 *t = a->tmp, *sum_at = t + 1024, *low_at = t + 2048; \
			(void)t; \
			(void)low_at; \
			LOOP (int i = 0; i < LANES; i++) { \
				row_code; \
				row += stride; \
				sum_at += 4 * LANES; \
				low_at += 4 * LANES; \
				OPAQUE(row); \
			} \
			vi v[LANES]; \
			EACH(i, LANES) v[i] = i_load(a->tmp + 1024 + 4 * LANES * i); \
			vi sum = reduce(v); \
			step; \
			p += bytes; \
		} \
		f_store(a->out, last); \
	}

VEC(vecQ8_0, 34, 32, { i_store(sum_at, dot32(i_zero(), row + 2, x)); },
	acc = f_add(acc, f_mul(f_mul(halves(p, stride), f_set(a->xd[b])), f_int(sum))), acc)

VEC(vecMXFP4, 17, 32, {
	mx_codes(row, t);
	*(f32 *)low_at = mxscale(*row);
	i_store(sum_at, dot32(i_zero(), t, x));
}, {
	vf d;
	EACH(i, LANES) d[i] = *(const f32 *)(a->tmp + 2048 + 4 * LANES * i);
	acc = f_add(acc, f_mul(f_mul(d, f_set(a->xd[b])), f_int(sum)));
}, acc)

// K-quants take two passes: the integer sums and the scales of every block of every row, then the f32 sums of the lanes.
struct ksum { i32 sum[LANES], low[LANES]; f32 d[LANES], dm[LANES]; };

#define KVEC(name, bytes, code, mins, last) \
	KERNEL name(const struct vecArgs *a) { \
		const u8 *p = a->w; \
		fetch(p + LANES * a->stride, LANES * a->stride); \
		f32 *k = (f32 *)(a->tmp + 1024); \
		LOOP (int r = 0; r < LANES; r++) { \
			const i8 *x = a->x; \
			LOOP (i64 b = a->blocks; b > 0; b--) { \
				u8 *t = a->tmp; \
				vi s = i_zero(); \
				code; \
				*(i32 *)k = i_sum(s); \
				p += bytes; \
				x += 256; \
				k += sizeof(struct ksum) / 4; \
				OPAQUE(p); \
				OPAQUE(x); \
				OPAQUE(k); \
			} \
			p += a->stride - bytes * a->blocks; \
			k -= sizeof(struct ksum) / 4 * a->blocks - 1; \
			OPAQUE(p); \
			OPAQUE(k); \
		} \
		vf acc = f_zero(); \
		const struct ksum *at = (const struct ksum *)(a->tmp + 1024); \
		LOOP (i64 b = 0; b < a->blocks; b++, at++) { \
			vf yd = f_set(a->xd[b]), v = f_mul(f_mul(yd, f_load(at->d)), f_int(i_load(at->sum))); \
			if (mins) v = f_sub(v, f_mul(f_mul(yd, f_load(at->dm)), f_int(i_load(at->low)))); \
			acc = f_add(acc, v); \
		} \
		f_store(a->out, last); \
	}

KVEC(vecIQ2_XXS, 66, {
	k[2 * LANES] = half(p);
	p += 2;
	LOOP (int j = 0; j < 8; j++) {
		iq2_group(p, t, a->iq2);
		s = i_add(s, i_mul(dot32(i_zero(), t, x), i_set(2 * (load32(p + 4) >> 28) + 1)));
		p += 8;
		x += 32;
		OPAQUE(p);
		OPAQUE(x);
	}
	p -= 66;
	x -= 256;
}, 0, f_mul(f_set(0.125f), acc))

KVEC(vecQ2_K, 84, {
	q2_codes(p, t);
	EACH(j, 8) s = dot32(s, t + 32 * j, x + 32 * j);
	i16 *m = (i16 *)(t + 512);
	LOOP (int j = 0; j < 16; j++) m[j] = p[j] >> 4;
	*(i32 *)(k + LANES) = i_sum(mins16(m, a->xs + 16 * (a->blocks - b)));
	k[2 * LANES] = half(p + 80);
	k[3 * LANES] = half(p + 82);
}, 1, acc)

KVEC(vecQ4_K, 144, {
	q4_codes(p, t);
	u64 sc = q4_scales(p);
	LOOP (int j = 0; j < 8; j++) {
		s = i_add(s, i_mul(dot32(i_zero(), t + 32 * j, x + 32 * j), i_set(sc & 255)));
		sc >>= 8;
	}
	i16 *m = (i16 *)(t + 512);
	u64 mn = q4_mins(p);
	LOOP (int j = 0; j < 8; j++) {
		m[2 * j] = m[2 * j + 1] = mn & 255;
		mn >>= 8;
	}
	*(i32 *)(k + LANES) = i_sum(mins16(m, a->xs + 16 * (a->blocks - b)));
	k[2 * LANES] = half(p);
	k[3 * LANES] = half(p + 2);
}, 1, acc)
#endif

#if LANES == 16
// Rows of other lengths: block by block over all rows.
INLINE void q8_columns(const struct vecArgs *a) {
	const i64 stride = a->stride;
	const u8 *p = a->w, *ahead = p + 16 * stride;
	vf acc = f_zero();
	LOOP (i64 b = 0; b < a->blocks; b++) {
		fetch(ahead, 544);
		ahead += 544;
		__m512i y = _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)(a->x + 32 * b))), v[8];
		const u8 *lo = p, *hi = p + 8 * stride;
		EACH(i, 8) {
			__m512i q = join(_mm256_loadu_si256((const void *)(lo + 2)), _mm256_loadu_si256((const void *)(hi + 2)));
			v[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_xor_si512(q, _mm512_set1_epi8(BIAS)), y);
			lo += stride;
			hi += stride;
			OPAQUE(lo);
			OPAQUE(hi);
		}
		vi sum = _mm512_add_epi32(reduce8(v), _mm512_set1_epi32(a->xn[b]));
		acc = f_add(acc, f_mul(f_mul(halves16(p, stride), f_set(a->xd[b])), f_int(sum)));
		p += 34;
	}
	f_store(a->out, acc);
}

// The f16 scales of 16 blocks: words 17 apart, four from each pair of vectors.
INLINE __m512 q8_scales(const __m512i z[8]) {
	const __m512i at = _mm512_castsi256_si512(_mm256_set_epi16(63, 46, 29, 12, 59, 42, 25, 8, 55, 38, 21, 4, 51, 34, 17, 0));
	__m256i d[4];
	EACH(i, 4) d[i] = _mm512_castsi512_si256(_mm512_permutex2var_epi16(z[2 * i], at, z[2 * i + 1]));
	return _mm512_cvtph_ps(_mm256_blend_epi32(_mm256_blend_epi32(d[0], d[1], 0x0c), _mm256_blend_epi32(d[2], d[3], 0xc0), 0xf0));
}

// The products of 16 blocks of one row. Whole vectors are loaded and the blocks picked from them: loads of each block's own
// bytes would cross lines half of the time, and loads are what there are too many of.
INLINE __m512 q8_products(const u8 *p, const i8 *x, const i32 *xn, const f32 *xd) {
	const __m512i even = _mm512_set_epi32(15, 7, 14, 6, 13, 5, 12, 4, 11, 3, 10, 2, 9, 1, 8, 0);
	__m512i v[8], z[9];
	EACH(i, 8) z[i] = _mm512_loadu_si512(p + 64 * i);
	z[8] = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)(p + 512)));
	EACH(i, 8) {
		__m512i q = _mm512_permutex2var_epi8(z[i], _mm512_load_si512(q8_pairs[i]), z[i + 1]);
		v[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_xor_si512(q, _mm512_set1_epi8(BIAS)), _mm512_loadu_si512(x + 64 * i));
	}
	vi sum = _mm512_add_epi32(_mm512_permutexvar_epi32(even, reduce8(v)), i_load(xn));
	return f_mul(f_mul(q8_scales(z), f_load(xd)), f_int(sum));
}

// Rows of whole runs of 16 blocks are read one after another, so that memory is read in order, in two halves side by side:
// one stream alone does not keep a core's reads in flight. First every block's product, then, 16 rows by 16 blocks turned
// on their side, the f32 sums.
INLINE void q8_rows(const struct vecArgs *a) {
	const u8 *p = a->w;
	u8 *t = a->tmp;
	i64 left = 8 * a->stride - AHEAD; // of a half to be fetched, what follows is the next 16 rows'
	LOOP (int r = 0; r < 8; r++) {
		LOOP (i64 b = 0; b < a->blocks; b += 16) {
			const u8 *row = p, *ahead = p + AHEAD + (left > 0 ? 0 : 8 * a->stride);
			LOOP (int k = 0; k < 2; k++) {
				OPAQUE(a); // its fields are read where they are used: they would not fit the registers
				EACH(i, 9) prefetch(ahead + 64 * i);
				f_store((f32 *)t, q8_products(row, a->x + 32 * b, a->xn + b, a->xd + b));
				row += 8 * a->stride;
				ahead += 8 * a->stride;
				t += 512;
			}
			p += 544;
			left -= 544;
		}
		p += a->stride - 34 * a->blocks;
		t += 64 - 64 * a->blocks;
	}
	t = a->tmp;
	vf acc = f_zero();
	LOOP (i64 b = a->blocks; b > 0; b -= 16) {
		vf v[16];
		EACH(k, 16) v[k] = f_load((const f32 *)(t + 64 * k));
		turn(v);
		EACH(k, 16) acc = f_add(acc, v[k]);
		t += 1024;
	}
	f_store(a->out, acc);
}

KERNEL vecQ8_0(const struct vecArgs *a) {
	if (a->blocks % 16 == 0) q8_rows(a);
	else q8_columns(a);
}
#endif

#define VECF(name, bytes, loadv) \
	KERNEL name(const struct vecArgs *a) { \
		const u8 *w = a->w; \
		vf acc = f_zero(); \
		LOOP (i64 i = 0; i < a->blocks; i += LANES) { \
			vf v[LANES]; \
			const u8 *p = w + bytes * i; \
			EACH(k, LANES) { \
				if (i * bytes % 64 == 0) prefetch(p + 512); \
				v[k] = loadv; \
				p += a->stride; \
				OPAQUE(p); \
			} \
			turn(v); \
			EACH(k, LANES) acc = f_add(acc, f_mul(v[k], f_set(a->xf[i + k]))); \
		} \
		f_store(a->out, acc); \
	}

VECF(vecF16, 2, f_half((const u16 *)p))
VECF(vecF32, 4, f_load((const f32 *)p))
