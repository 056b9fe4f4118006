// Tiles: TILE rows of packed weights to codes with the rows side by side, four of a row in each lane.
#include "unpack.h"

// Dwords 0 ... n-1 of each of the lanes' rows (stride 256 bytes in tmp) to columns of the tile; eight of them lie together,
// and step bytes from the next eight.
#if LANES == 16
// 16 rows by 16 dwords turned on their side.
INLINE void turn16(__m512i r[16]) {
	__m512i t[16];
	EACH(i, 8) {
		t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
		t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
	}
	EACH(i, 4) EACH(h, 2) {
		r[4 * i + 2 * h] = _mm512_unpacklo_epi64(t[4 * i + h], t[4 * i + 2 + h]);
		r[4 * i + 2 * h + 1] = _mm512_unpackhi_epi64(t[4 * i + h], t[4 * i + 2 + h]);
	}
	// r[4i+c]: rows 4i ... 4i+3 of dwords c, 4+c, 8+c, 12+c
	EACH(c, 4) {
		__m512i a = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x44), b = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x44);
		__m512i d = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xee), e = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xee);
		r[c] = _mm512_shuffle_i32x4(a, b, 0x88);
		r[4 + c] = _mm512_shuffle_i32x4(a, b, 0xdd);
		r[8 + c] = _mm512_shuffle_i32x4(d, e, 0x88);
		r[12 + c] = _mm512_shuffle_i32x4(d, e, 0xdd);
	}
}
INLINE void spread(const u8 *tmp, u8 *q, int n, int flip, const int step) {
	for (; n > 0; n -= 16, tmp += 64, q += 2 * step) {
		OPAQUE(tmp);
		__m512i r[16];
		EACH(i, 16) r[i] = _mm512_xor_si512(_mm512_loadu_si512(tmp + 256 * i), _mm512_set1_epi8(flip));
		turn16(r);
		EACH(c, 16) i_store(q + step * (c / 8) + 4 * TILE * (c % 8), r[c]);
	}
}
// The same of four planes (see iq2_mags): dword c of plane q is column 8(c/2) + 2q + c%2.
INLINE void spread_planes(const u8 *tmp, u8 *q, int flip) {
	LOOP (int n = 0; n < 4; n++, tmp += 64, q += 8 * TILE) {
		__m512i r[16];
		EACH(i, 16) r[i] = _mm512_xor_si512(_mm512_loadu_si512(tmp + 256 * i), _mm512_set1_epi8(flip));
		turn16(r);
		EACH(c, 16) i_store(q + 4 * TILE * (8 * (c / 2) + c % 2), r[c]);
	}
}
// Eight dwords of each row (stride 32 bytes) to as many columns, step bytes apart.
INLINE void spread8(const u8 *tmp, u8 *q, const int step) {
	__m512i r[16];
	EACH(i, 16) r[i] = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)(tmp + 32 * i)));
	turn16(r);
	EACH(c, 8) i_store(q + step * c, r[c]);
}
#else
INLINE void spread(const u8 *tmp, u8 *q, int n, int flip, const int step) {
	LOOP (; n > 0; n -= 8) {
		EACH(k, 8) EACH(r, LANES) {
			u32 v = load32(tmp + 256 * r + 4 * k);
			__builtin_memcpy(q + 4 * (TILE * k + r), &v, 4);
		}
		tmp += 32;
		q += step;
	}
}
#endif

#if LANES == 16
// What the next piece of the same row needs comes while activations pass over this one: see tileBytes in product.go.
INLINE void next_piece(const u8 *p, int bytes) {
	EACH(i, (bytes + 63) / 64) _mm_prefetch((const char *)(p + 64 * i), _MM_HINT_T1);
}
#endif

// n blocks of 32 of every row: eight at a time, the rest one by one. (The last ones write a block beyond: the tile has room.)
#define TILE32(name, bytes, eight, code) \
	INLINE void name##_blocks(const struct tileArgs *a, i64 b, const int n) { \
		const u8 *row = a->w + bytes * b; \
		u8 *d = a->tile + T32_BYTES * b + T32_D; \
		u8 *t = a->tmp; \
		LOOP (int r = 0; r < LANES; r++) { \
			const u8 *p = row; \
			LOOP (int k = 0; k < n; k++) { \
				code; \
				p += bytes; \
				t += 32; \
				d += T32_BYTES; \
				OPAQUE(d); \
			} \
			row += a->stride; \
			t += 256 - 32 * n; \
			d -= T32_BYTES * n - 4; \
			OPAQUE(row); \
			OPAQUE(t); \
		} \
		spread(a->tmp, a->tile + T32_BYTES * b, 8 * n, BIAS, T32_BYTES); \
	} \
	KERNEL name(const struct tileArgs *a) { \
		i64 b = 0; \
		for (; b + 8 <= a->blocks; b += 8) eight; \
		for (; b < a->blocks; b++) name##_blocks(a, b, 1); \
	}

#if LANES == 16
// Eight blocks of every row, from whole vectors.
INLINE void q8_eight(const struct tileArgs *a, i64 b) {
	const __m512i at = _mm512_castsi128_si512(_mm_set_epi16(55, 38, 21, 4, 51, 34, 17, 0)); // scales: words 17 apart
	const u8 *p = a->w + 34 * b;
	u8 *t = a->tmp, *d = t + 4096;
	LOOP (int r = 0; r < 16; r++) {
		__m512i z[5];
		EACH(i, 4) z[i] = i_load(p + 64 * i);
		z[4] = _mm512_castsi128_si512(_mm_loadu_si128((const void *)(p + 256)));
		EACH(i, 4) i_store(t + 64 * i, _mm512_permutex2var_epi8(z[i], _mm512_load_si512(q8_pairs[i]), z[i + 1]));
		__m128i lo = _mm512_castsi512_si128(_mm512_permutex2var_epi16(z[0], at, z[1]));
		__m128i hi = _mm512_castsi512_si128(_mm512_permutex2var_epi16(z[2], at, z[3]));
		_mm256_storeu_ps((f32 *)d, _mm256_cvtph_ps(_mm_blend_epi16(lo, hi, 0xf0)));
		p += a->stride;
		t += 256;
		d += 32;
	}
	spread(a->tmp, a->tile + T32_BYTES * b, 64, BIAS, T32_BYTES);
	spread8(a->tmp + 4096, a->tile + T32_BYTES * b + T32_D, T32_BYTES);
}
#else
#define q8_eight(a, b) tileQ8_0_blocks(a, b, 8)
#endif

TILE32(tileQ8_0, 34, q8_eight(a, b), {
	*(b16 *)t = *(const b16 *)(p + 2);
	*(b16 *)(t + 16) = *(const b16 *)(p + 18);
	*(f32 *)d = half(p);
})

TILE32(tileMXFP4, 17, tileMXFP4_blocks(a, b, 8), {
	mx_codes(p, t);
	*(f32 *)d = mxscale(*p);
})

// tileIQ2_XXS: blocks of 256. The factor 1/8 of the format goes into the scale, where it rounds nothing.
#if LANES == 16
KERNEL tileIQ2_XXS(const struct tileArgs *a) {
	const u8 *p = a->w;
	u8 *tile = a->tile;
	LOOP (i64 b = a->blocks; b > 0; b--) {
		const u8 *row = p;
		u8 *t = a->tmp, *s = t + 4096, *mid = s + 512;
		OPAQUE(a);
		iq2_pass(a->iq2, row, a->stride, mid);
		LOOP (int r = 0; r < 16; r++) {
			next_piece(row + 2 * 66, 66);
			__m512i digits = i_load(mid), signs = i_load(mid + 64);
			EACH(q, 4) {
				__m512i m = iq2_mags(digits, q);
				i_store(t + 64 * q, _mm512_mask_sub_epi8(m, iq2_negative(signs, q), i_zero(), m));
			}
			_mm256_storeu_si256((void *)s, _mm512_cvtepi64_epi32(iq2_scales(i_load(row + 2))));
			row += a->stride;
			t += 256;
			s += 32;
			mid += 128;
		}
		f_store((f32 *)(tile + T256_D), f_mul(f_set(0.125f), halves16(p, a->stride)));
		spread_planes(a->tmp, tile, BIAS);
		spread8(a->tmp + 4096, tile + T256_S, 4 * TILE);
		p += 66;
		tile += T256_BYTES;
	}
}
#else
KERNEL tileIQ2_XXS(const struct tileArgs *a) {
	u8 *tile = a->tile;
	for (i64 b = 0; b < a->blocks; b++) {
		const u8 *p = a->w + 66 * b;
		u8 *t = a->tmp;
		LOOP (int r = 0; r < LANES; r++) {
			LOOP (int j = 0; j < 8; j++) iq2_group(p + 2 + 8 * j, t + 32 * j, a->iq2);
			((f32 *)(tile + T256_D))[r] = 0.125f * half(p);
			i32 *s = (i32 *)(tile + T256_S) + r;
			LOOP (int j = 0; j < 8; j++) {
				*s = iq2_scale(p, j);
				s += TILE;
				OPAQUE(s);
			}
			p += a->stride;
			t += 256;
			OPAQUE(p);
			OPAQUE(t);
		}
		spread(a->tmp, tile, 64, BIAS, 32 * TILE);
		tile += T256_BYTES;
	}
}
#endif

// tileQ2_K: blocks of 256, the codes already times their scales.
#if LANES == 16
KERNEL tileQ2_K(const struct tileArgs *a) {
	const u8 *p = a->w;
	u8 *tile = a->tile;
	LOOP (i64 b = a->blocks; b > 0; b--) {
		const u8 *row = p;
		u8 *t = a->tmp, *m = t + 4096;
		LOOP (int r = 0; r < 16; r++) {
			next_piece(row + 2 * 84, 84);
			__m128i s = _mm_loadu_si128((const void *)row), mask = _mm_set1_epi8(15);
			__m512i sc = _mm512_castsi128_si512(_mm_and_si128(s, mask)), bits = i_load(row + 16);
			_mm256_storeu_si256((void *)m, _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(s, 4), mask)));
			EACH(k, 4) {
				const int at = 0x20002 * k;
				__m512i group = _mm512_set_epi32(at + 0x90009, at + 0x90009, at + 0x90009, at + 0x90009, at + 0x80008, at + 0x80008, at + 0x80008,
					at + 0x80008, at + 0x10001, at + 0x10001, at + 0x10001, at + 0x10001, at, at, at, at);
				__m512i c = _mm512_and_si512(_mm512_srli_epi16(bits, 2 * k), _mm512_set1_epi8(3));
				c = _mm512_mullo_epi16(c, _mm512_maskz_permutexvar_epi8(0x5555555555555555, group, sc)); // at most 45 each
				_mm256_storeu_si256((void *)(t + 32 * k), _mm512_castsi512_si256(c));
				_mm256_storeu_si256((void *)(t + 128 + 32 * k), _mm512_extracti64x4_epi64(c, 1));
			}
			row += a->stride;
			t += 256;
			m += 32;
		}
		f_store((f32 *)(tile + T256_D), halves16(p + 80, a->stride));
		f_store((f32 *)(tile + T256_DM), halves16(p + 82, a->stride));
		spread(a->tmp, tile, 64, 0, 32 * TILE);
		spread8(a->tmp + 4096, tile + T256_MN, 4 * TILE);
		p += 84;
		tile += T256_BYTES;
	}
}
#else
KERNEL tileQ2_K(const struct tileArgs *a) {
	u8 *tile = a->tile;
	for (i64 b = 0; b < a->blocks; b++) {
		const u8 *p = a->w + 84 * b;
		u8 *t = a->tmp;
		LOOP (int r = 0; r < LANES; r++) {
			q2_codes(p, t);
			((f32 *)(tile + T256_D))[r] = half(p + 80);
			((f32 *)(tile + T256_DM))[r] = half(p + 82);
			i16 *m = (i16 *)(tile + T256_MN) + 2 * r;
			LOOP (int j = 0; j < 8; j++) {
				m[0] = p[2 * j] >> 4;
				m[1] = p[2 * j + 1] >> 4;
				m += 2 * TILE;
				OPAQUE(m);
			}
			p += a->stride;
			t += 256;
			OPAQUE(p);
			OPAQUE(t);
		}
		spread(a->tmp, tile, 64, 0, 32 * TILE);
		tile += T256_BYTES;
	}
}
#endif

// tileQ4_K: blocks of 256.
#if LANES == 16
KERNEL tileQ4_K(const struct tileArgs *a) {
	const u8 *p = a->w;
	u8 *tile = a->tile;
	LOOP (i64 b = a->blocks; b > 0; b--) {
		const u8 *row = p;
		u8 *t = a->tmp, *s = t + 4096;
		LOOP (int r = 0; r < 16; r++) {
			next_piece(row + 2 * 144, 144);
			__m128i mn = _mm_cvtsi64_si128(q4_mins(row));
			_mm256_storeu_si256((void *)s, _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(q4_scales(row))));
			_mm256_storeu_si256((void *)(s + 512), _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(mn, mn)));
			EACH(k, 4) { // groups 0 and 2, 1 and 3, 4 and 6, 5 and 7
				__m512i c = i_load(row + 16 + 64 * (k / 2));
				c = _mm512_and_si512(k & 1 ? _mm512_srli_epi16(c, 4) : c, _mm512_set1_epi8(15));
				u8 *to = t + 128 * (k / 2) + 32 * (k & 1);
				_mm256_storeu_si256((void *)to, _mm512_castsi512_si256(c));
				_mm256_storeu_si256((void *)(to + 64), _mm512_extracti64x4_epi64(c, 1));
			}
			row += a->stride;
			t += 256;
			s += 32;
		}
		f_store((f32 *)(tile + T256_D), halves16(p, a->stride));
		f_store((f32 *)(tile + T256_DM), halves16(p + 2, a->stride));
		spread(a->tmp, tile, 64, 0, 32 * TILE);
		spread8(a->tmp + 4096, tile + T256_S, 4 * TILE);
		spread8(a->tmp + 4608, tile + T256_MN, 4 * TILE);
		p += 144;
		tile += T256_BYTES;
	}
}
#else
KERNEL tileQ4_K(const struct tileArgs *a) {
	u8 *tile = a->tile;
	for (i64 b = 0; b < a->blocks; b++) {
		const u8 *p = a->w + 144 * b;
		u8 *t = a->tmp;
		LOOP (int r = 0; r < LANES; r++) {
			q4_codes(p, t);
			((f32 *)(tile + T256_D))[r] = half(p);
			((f32 *)(tile + T256_DM))[r] = half(p + 2);
			u64 sc = q4_scales(p);
			i32 *s = (i32 *)(tile + T256_S) + r;
			LOOP (int j = 0; j < 8; j++) {
				*s = sc >> (8 * j) & 255;
				s += TILE;
				OPAQUE(s);
			}
			u64 mn = q4_mins(p);
			i16 *m = (i16 *)(tile + T256_MN) + 2 * r;
			LOOP (int j = 0; j < 8; j++) {
				m[0] = mn >> (8 * j) & 255;
				m[1] = mn >> (8 * j) & 255;
				m += 2 * TILE;
				OPAQUE(m);
			}
			p += a->stride;
			t += 256;
			OPAQUE(p);
			OPAQUE(t);
		}
		spread(a->tmp, tile, 64, 0, 32 * TILE);
		tile += T256_BYTES;
	}
}
#endif

// Plain rows to (elements, TILE) f32; blocks is a multiple of LANES.
#if LANES == 16
INLINE void spread_f32(vf *in, f32 *d) {
	__m512 r[16], t[16];
	EACH(i, 8) {
		t[2 * i] = _mm512_unpacklo_ps(in[2 * i], in[2 * i + 1]);
		t[2 * i + 1] = _mm512_unpackhi_ps(in[2 * i], in[2 * i + 1]);
	}
	EACH(i, 4) EACH(h, 2) {
		r[4 * i + 2 * h] = (__m512)_mm512_unpacklo_pd((__m512d)t[4 * i + h], (__m512d)t[4 * i + 2 + h]);
		r[4 * i + 2 * h + 1] = (__m512)_mm512_unpackhi_pd((__m512d)t[4 * i + h], (__m512d)t[4 * i + 2 + h]);
	}
	EACH(c, 4) {
		__m512 a = _mm512_shuffle_f32x4(r[c], r[4 + c], 0x44), b = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0x44);
		__m512 e = _mm512_shuffle_f32x4(r[c], r[4 + c], 0xee), f = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0xee);
		f_store(d + TILE * c, _mm512_shuffle_f32x4(a, b, 0x88));
		f_store(d + TILE * (4 + c), _mm512_shuffle_f32x4(a, b, 0xdd));
		f_store(d + TILE * (8 + c), _mm512_shuffle_f32x4(e, f, 0x88));
		f_store(d + TILE * (12 + c), _mm512_shuffle_f32x4(e, f, 0xdd));
	}
}
#elif LANES == 8
INLINE void spread_f32(vf *in, f32 *d) {
	__m256 r[8], t[8];
	EACH(i, 4) {
		t[2 * i] = _mm256_unpacklo_ps(in[2 * i], in[2 * i + 1]);
		t[2 * i + 1] = _mm256_unpackhi_ps(in[2 * i], in[2 * i + 1]);
	}
	EACH(i, 2) EACH(h, 2) {
		r[4 * i + 2 * h] = (__m256)_mm256_unpacklo_pd((__m256d)t[4 * i + h], (__m256d)t[4 * i + 2 + h]);
		r[4 * i + 2 * h + 1] = (__m256)_mm256_unpackhi_pd((__m256d)t[4 * i + h], (__m256d)t[4 * i + 2 + h]);
	}
	EACH(c, 4) {
		f_store(d + TILE * c, _mm256_permute2f128_ps(r[c], r[4 + c], 0x20));
		f_store(d + TILE * (4 + c), _mm256_permute2f128_ps(r[c], r[4 + c], 0x31));
	}
}
#else
INLINE void spread_f32(vf *in, f32 *d) {
	EACH(r, LANES) EACH(c, LANES) d[TILE * c + r] = in[r][c];
}
#endif

KERNEL tileF16(const struct tileArgs *a) {
	for (i64 i = 0; i < a->blocks; i += LANES) {
		vf v[LANES];
		const u8 *p = a->w + 2 * i;
		EACH(r, LANES) {
			OPAQUE(p);
			v[r] = f_half((const u16 *)p);
			p += a->stride;
		}
		spread_f32(v, (f32 *)a->tile + TILE * i);
	}
}

KERNEL tileF32(const struct tileArgs *a) {
	for (i64 i = 0; i < a->blocks; i += LANES) {
		vf v[LANES];
		const u8 *p = a->w + 4 * i;
		EACH(r, LANES) {
			OPAQUE(p);
			v[r] = f_load((const f32 *)p);
			p += a->stride;
		}
		spread_f32(v, (f32 *)a->tile + TILE * i);
	}
}
