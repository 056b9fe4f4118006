// Tiles: TILE rows of packed weights to codes with the rows side by side, four of a row in each lane.
#include "unpack.h"

// Dwords 0 ... n-1 of each of the lanes' rows (stride 256 bytes in tmp) to columns of the tile; eight of them lie together,
// and step bytes from the next eight.
#if LANES == 16
INLINE void spread(const u8 *tmp, u8 *q, int n, int flip, const int step) {
	for (; n > 0; n -= 16, tmp += 64, q += 2 * step) {
		OPAQUE(tmp);
		__m512i r[16], t[16];
		EACH(i, 16) r[i] = _mm512_xor_si512(_mm512_loadu_si512(tmp + 256 * i), _mm512_set1_epi8(flip));
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
			i_store(q + 4 * TILE * c, _mm512_shuffle_i32x4(a, b, 0x88));
			i_store(q + 4 * TILE * (4 + c), _mm512_shuffle_i32x4(a, b, 0xdd));
			i_store(q + step + 4 * TILE * c, _mm512_shuffle_i32x4(d, e, 0x88));
			i_store(q + step + 4 * TILE * (4 + c), _mm512_shuffle_i32x4(d, e, 0xdd));
		}
	}
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

// n blocks of 32 of every row: eight at a time, the rest one by one. (The last ones write a block beyond: the tile has room.)
#define TILE32(name, bytes, code) \
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
		for (; b + 8 <= a->blocks; b += 8) name##_blocks(a, b, 8); \
		for (; b < a->blocks; b++) name##_blocks(a, b, 1); \
	}

TILE32(tileQ8_0, 34, {
	*(b16 *)t = *(const b16 *)(p + 2);
	*(b16 *)(t + 16) = *(const b16 *)(p + 18);
	*(f32 *)d = half(p);
})

TILE32(tileMXFP4, 17, {
	mx_codes(p, t);
	*(f32 *)d = mxscale(*p);
})

// tileIQ2_XXS: blocks of 256. The factor 1/8 of the format goes into the scale, where it rounds nothing.
KERNEL tileIQ2_XXS(const struct tileArgs *a) {
	u8 *tile = a->tile;
#if LANES == 16
	struct iq2Regs tab = iq2_load(a->iq2);
#endif
	for (i64 b = 0; b < a->blocks; b++) {
		const u8 *p = a->w + 66 * b;
		u8 *t = a->tmp;
		LOOP (int r = 0; r < LANES; r++) {
#if LANES == 16
			const struct iq2Index *k = &iq2_index;
			OPAQUE(k);
			__m512i z = _mm512_loadu_si512(p + 2), digits = iq2_digits(tab, z, k), signs = iq2_signs(z);
			EACH(q, 4) {
				__m512i m = iq2_mags(digits, q, k);
				i_store(t + 64 * q, _mm512_mask_sub_epi8(m, iq2_negative(signs, q, k), _mm512_setzero_si512(), m));
			}
#else
			LOOP (int j = 0; j < 8; j++) iq2_group(p + 2 + 8 * j, t + 32 * j, a->iq2);
#endif
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

// tileQ2_K: blocks of 256, the codes already times their scales.
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

// tileQ4_K: blocks of 256.
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
