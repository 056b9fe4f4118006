// Attention over unpacked rows, one query row at a time. Scores: lanes are heads, and every dot product runs over the
// components in ascending order. Values: lanes are components, and every sum runs over the rows in ascending order.
#include "vec.h"

// kvRows: values as attention sees them, each an f16.
KERNEL kvRows(const struct kvArgs *a) {
	f32 *out = a->out;
	const u8 **rows = a->rows;
	for (i64 n = a->n; n > 0; n--) {
		const u8 *p = *rows, *e = p + a->nope + 2 * a->rope;
		LOOP (i64 i = a->nope; i > 0; i -= 64) {
			int exp = *(const i8 *)e;
			if (exp > 100) exp = 100; // from 30 on all but zero is infinite in f16
			vf scale = (vf)i_set((exp + 8 + 127) << 23);
			EACH(k, 64 / LANES) f_store(out + LANES * k, f_round16(f_mul(f_e4m3(p + LANES * k), scale)));
			p += 64;
			out += 64;
			e++;
			OPAQUE(out);
		}
		LOOP (i64 i = a->rope; i > 0; i -= LANES) {
			f_store(out, f_half((const u16 *)p));
			p += 2 * LANES;
			out += LANES;
		}
		rows++;
	}
}

INLINE void scores(const struct attendArgs *a, const f32 *kv, f32 *s, const int T) {
	const i64 d = a->dim;
	const f32 *q = a->q, *kv4 = kv + 4 * d;
	vf acc[8];
	EACH(t, T) acc[t] = f_zero();
	LOOP (i64 c = d; c > 0; c--) {
		vf v = f_load(q);
		EACH(t, T) acc[t] = f_add(acc[t], f_mul(v, f_set(t < 4 ? kv[t * d] : kv4[(t - 4) * d])));
		q += TILE;
		kv++;
		kv4++;
	}
	vf scale = f_set(*a->scale);
	EACH(t, T) f_store(s + LANES * t, f_mul(acc[t], scale));
}

KERNEL attendScores(const struct attendArgs *a) {
	const f32 *kv = a->kv;
	f32 *s = a->s;
	i64 n = a->n;
	for (; n >= 8; n -= 8) {
		scores(a, kv, s, 8);
		kv += 8 * a->dim;
		s += 8 * LANES;
	}
	for (; n > 0; n--) {
		scores(a, kv, s, 1);
		kv += a->dim;
		s += LANES;
	}
}

// VALUES vectors of components at a time.
#if LANES == 4
#define VALUES 4
#else
#define VALUES 1
#endif

KERNEL attendValues(const struct attendArgs *a) {
	const i64 d = a->dim;
	LOOP (i64 c = 0; c < d; c += VALUES * LANES) {
		vf acc[LANES][VALUES];
		EACH(h, LANES) EACH(k, VALUES) acc[h][k] = f_zero();
		const f32 *kv = a->kv + c, *s = a->s;
		LOOP (i64 n = a->n; n > 0; n--) {
			EACH(k, VALUES) {
				vf v = f_load(kv + LANES * k);
				EACH(h, LANES) acc[h][k] = f_add(acc[h][k], f_mul(v, f_set(s[h])));
			}
			kv += d;
			s += LANES;
		}
		f32 *o = a->o + c;
		EACH(h, LANES) {
			EACH(k, VALUES) f_store(o + LANES * k, acc[h][k]);
			o += d;
			OPAQUE(o);
		}
	}
}
