// Many activation rows: one unpacked tile of weight rows (lanes) times a batch of T activation rows. Integer block sums
// are exact; the f32 sum of a lane runs over blocks in ascending order, as in the plain loops.
#include "vec.h"

INLINE void rows32(const struct gemmArgs *a, const int T) {
	const u8 *w = a->tile, *x = a->x;
	vf acc[4][GROUPS];
	EACH(t, T) EACH(g, GROUPS) acc[t][g] = a->first ? f_zero() : f_load(a->out + (t * GROUPS + g) * LANES);
	const u8 *ahead = a->next;
	LOOP (i64 b = a->blocks; b > 0; b--) {
		LOOP (i64 r = a->nextRows; r > 0; r--) {
			LOOP (i64 i = 0; i < a->nextBytes; i += 64) prefetch(ahead + i);
			ahead += a->nextStride;
		}
		vi sum[4][GROUPS];
		EACH(t, T) EACH(g, GROUPS) sum[t][g] = BIAS ? i_set(load32(x + X32_SUM(T) + 4 * t)) : i_zero();
		EACH(k, 8) {
			vi c[GROUPS];
			EACH(g, GROUPS) c[g] = i_load(w + 4 * (k * TILE + g * LANES));
			EACH(t, T) {
				vi v = i_set(load32(x + 32 * t + 4 * k));
				EACH(g, GROUPS) sum[t][g] = i_dot4(sum[t][g], c[g], v);
			}
		}
		EACH(g, GROUPS) {
			vf d = f_load((const f32 *)(w + T32_D) + g * LANES);
			EACH(t, T) acc[t][g] = f_add(acc[t][g], f_mul(f_mul(d, f_set(((const f32 *)(x + X32_D(T)))[t])), f_int(sum[t][g])));
		}
		w += T32_BYTES;
		x += X32_BYTES(T);
	}
	EACH(t, T) EACH(g, GROUPS) f_store(a->out + (t * GROUPS + g) * LANES, acc[t][g]);
}

// gemm32: blocks of 32 with one scale, Q8_0 and MXFP4.
KERNEL gemm32(const struct gemmArgs *a) {
	if (a->n == 4) rows32(a, 4);
	else if (a->n == 2) rows32(a, 2);
	else rows32(a, 1);
}

// AVX2 has too few registers for a loop that is unrolled.
#if LANES == 8
#define STEPS(k, n) LOOP (int k = 0; k < n; k++)
#else
#define STEPS(k, n) EACH(k, n)
#endif

// NEON has too few free registers for both vectors of a tile at once.
#define PASS (LANES == 4 ? 1 : GROUPS)

// Blocks of 256. scaled: 32 codes share an integer scale. mins: a minimum for every 16 codes. bias: codes are signed.
INLINE void columns256(const struct gemmArgs *a, int at, const int T, const int scaled, const int mins, const int bias) {
	const u8 *w = a->tile + 4 * LANES * at, *x = a->x;
	f32 *to = a->out + LANES * at;
	int first = a->first;
	LOOP (i64 b = a->blocks; b > 0; b--) {
		vi sum[4][PASS];
		EACH(t, T) EACH(g, PASS) sum[t][g] = i_zero();
		LOOP (int j = 0; j < 8; j++) {
			const u8 *wj = w + 32 * TILE * j, *xj = x + 32 * j, *nj = x + 4 * T * j, *sj = w + 4 * TILE * j;
			vi part[4][PASS];
			EACH(t, T) EACH(g, PASS) part[t][g] = bias ? i_set(load32(nj + X256_SUM(T) + 4 * t)) : scaled ? i_zero() : sum[t][g];
			STEPS(k, 8) {
				vi c[PASS];
				EACH(g, PASS) c[g] = i_load(wj + 4 * (k * TILE + g * LANES));
				EACH(t, T) {
					vi v = i_set(load32(xj + 256 * t + 4 * k));
					EACH(g, PASS) part[t][g] = i_dot4(part[t][g], c[g], v);
				}
			}
			EACH(g, PASS) {
				vi s = scaled ? i_load(sj + T256_S + 4 * g * LANES) : i_zero();
				EACH(t, T) sum[t][g] = scaled ? i_add(sum[t][g], i_mul(part[t][g], s)) : part[t][g];
			}
		}
		EACH(g, PASS) {
			vi low[4];
			EACH(t, T) low[t] = i_zero();
			if (mins)
				LOOP (int k = 0; k < 8; k++) {
					vi m = i_load(w + T256_MN + 4 * (k * TILE + g * LANES));
					EACH(t, T) low[t] = i_dot2(low[t], m, i_set(load32(x + X256_SUM16(T) + 4 * (k * T + t))));
				}
			vf d = f_load((const f32 *)(w + T256_D) + g * LANES);
			EACH(t, T) {
				vf yd = f_set(((const f32 *)(x + X256_D(T)))[t]), v = f_mul(f_mul(yd, d), f_int(sum[t][g]));
				if (mins) v = f_sub(v, f_mul(f_mul(yd, f_load((const f32 *)(w + T256_DM) + g * LANES)), f_int(low[t])));
				f32 *out = to + (t * GROUPS + g) * LANES;
				f_store(out, f_add(first ? f_zero() : f_load(out), v));
			}
		}
		first = 0;
		w += T256_BYTES;
		x += X256_BYTES(T);
	}
}

#define GEMM256(name, scaled, mins, bias) \
	KERNEL name(const struct gemmArgs *a) { \
		LOOP (int at = 0; at < GROUPS; at += PASS) { \
			if (a->n == 4) columns256(a, at, 4, scaled, mins, bias); \
			else if (a->n == 2) columns256(a, at, 2, scaled, mins, bias); \
			else columns256(a, at, 1, scaled, mins, bias); \
		} \
	}

GEMM256(gemmIQ2_XXS, 1, 0, BIAS)
GEMM256(gemmQ2_K, 0, 1, 0)
GEMM256(gemmQ4_K, 1, 1, 0)

// Plain f32 activations times an f32 tile (F16 and F32 weights).
INLINE const f32 *rowsF32(const struct gemmArgs *a, const f32 *x, f32 *out, const int T) {
	const i64 c = a->cols;
	const f32 *x1 = x + 4 * c;
	vf acc[8][GROUPS];
	EACH(t, T) EACH(g, GROUPS) acc[t][g] = a->first ? f_zero() : f_load(out + (t * GROUPS + g) * LANES);
	const f32 *d = (const f32 *)a->tile;
	LOOP (i64 i = a->blocks; i > 0; i--, d += TILE, x++, x1++) {
		vf w[GROUPS];
		EACH(g, GROUPS) w[g] = f_load(d + g * LANES);
		EACH(t, T) {
			vf v = f_set(t < 4 ? x[t * c] : x1[(t - 4) * c]);
			EACH(g, GROUPS) acc[t][g] = f_add(acc[t][g], f_mul(w[g], v));
		}
	}
	EACH(t, T) EACH(g, GROUPS) f_store(out + (t * GROUPS + g) * LANES, acc[t][g]);
	return x + (T - 1) * c + (c - a->blocks);
}

// gemmF32: an f32 tile (F16 and F32 weights).
KERNEL gemmF32(const struct gemmArgs *a) {
	const int T = LANES == 16 ? 8 : 4;
	i64 n = a->n;
	const f32 *x = a->xf;
	f32 *out = a->out;
	for (; n >= T; n -= T, out += T * TILE) x = rowsF32(a, x, out, T);
	for (; n > 0; n--, out += TILE) x = rowsF32(a, x, out, 1);
}
