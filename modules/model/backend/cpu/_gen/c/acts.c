// Activations to integers, and the mixing of streams.
#include "vec.h"

KERNEL quantQ8_0(const struct actArgs *a) {
	const f32 *x = a->x;
	i8 *q = a->q;
	LOOP (i64 b = 0; b < a->blocks; b++, x += 32, q += 32) {
		vf top = f_zero();
		EACH(k, 32 / LANES) top = f_max(top, f_abs(f_load(x + LANES * k)));
		f32 d = f_top(top) / 127, inv = d != 0 ? 1 / d : 0;
		vi sum = i_zero();
		EACH(k, 32 / LANES) {
			vi v = i_round(f_mul(f_load(x + LANES * k), f_set(inv)));
			sum = i_add(sum, v);
			i_store8(q + LANES * k, v);
		}
		a->d[b] = d;
		a->xn[b] = -128 * i_sum(sum);
	}
}

KERNEL quantQ8_K(const struct actArgs *a) {
	const f32 *x = a->x;
	i8 *q = a->q;
	i32 *xn = a->xn;
	i16 *xs = a->xs;
	LOOP (i64 b = 0; b < a->blocks; b++, x += 256) {
		vf top = f_zero();
		EACH(k, 256 / LANES) top = f_max(top, f_abs(f_load(x + LANES * k)));
		f32 m = f_top(top), ext = m;
		i64 i = 0; // the sign is that of the first extreme value
		while (i < 255 && x[i] != m && x[i] != -m) i++;
		ext = x[i];
		f32 inv = -127 / ext;
		int none = m == 0 || inv - inv != 0; // nothing there, or too small to divide by
		if (none) inv = 0;
		a->d[b] = none ? 0 : 1 / inv;
		LOOP (int j = 0; j < 8; j++) {
			i32 half[2];
			EACH(h, 2) {
				vi sum = i_zero();
				EACH(k, 16 / LANES) {
					vi v = i_round(f_mul(f_set(inv), f_load(x + 32 * j + 16 * h + LANES * k)));
					sum = i_add(sum, v);
					i_store8(q + 16 * h + LANES * k, v);
				}
				xs[h] = half[h] = i_sum(sum);
			}
			*xn = -128 * (half[0] + half[1]);
			q += 32;
			xs += 2;
			xn++;
		}
	}
}

// hcPost: stream t becomes y*post[t] + sum over s of comb[s][t] * stream s.
KERNEL hcPost(const struct hcArgs *a) {
	f32 *h = a->hc;
	const f32 *y = a->y;
	const i64 w = a->width;
	LOOP (i64 n = a->n; n > 0; n -= LANES) {
		const f32 *mix = a->mix;
		OPAQUE(mix);
		vf in[4], v = f_load(y);
		EACH(s, 4) in[s] = f_load(h + s * w);
		EACH(t, 4) {
			vf out = f_mul(v, f_set(mix[4 + t]));
			EACH(s, 4) out = f_add(out, f_mul(f_set(mix[8 + 4 * s + t]), in[s]));
			f_store(h + t * w, out);
		}
		h += LANES;
		y += LANES;
	}
}

// hcPre: the sum of the streams, weighted by pre.
KERNEL hcPre(const struct hcArgs *a) {
	const f32 *h = a->hc;
	f32 *x = a->x;
	const i64 w = a->width;
	LOOP (i64 n = a->n; n > 0; n -= LANES) {
		vf acc = f_zero();
		EACH(s, 4) acc = f_add(acc, f_mul(f_load(h + s * w), f_set(a->mix[s])));
		f_store(x, acc);
		h += LANES;
		x += LANES;
	}
}
