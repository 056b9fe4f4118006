// Exponentials of f32, computed in f64 and rounded once as the plain loops do. What is computed here may differ from their f64 by some
// units of its last place; a value that lies so close to the middle of two f32 that this could show is left to the caller.
#include "vec.h"

#define HALF (LANES / 2)
typedef double vd __attribute__((vector_size(8 * HALF)));
typedef i64 vl __attribute__((vector_size(8 * HALF)));
typedef float vh __attribute__((vector_size(4 * HALF)));
typedef float vg __attribute__((vector_size(4 * LANES)));
typedef i32 vm __attribute__((vector_size(4 * LANES)));

// Constants are read where they are used: they would not fit the registers.
static const struct constants {
	double magic, inverse, high, low, one, series[12]; // 1/13! ... 1/2!
	i64 dropped, middle, near;
	f32 least, nothing;
} constants = {
	0x1.8p52, 0x1.71547652b82fep0, 0x1.62e42feep-1, 0x1.a39ef35793c76p-33, 1,
	{ 1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0, 1.0 / 362880.0, 1.0 / 40320.0, 1.0 / 5040.0, 1.0 / 720.0,
		1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5 },
	0x1fffffff, 0x10000000 - 32, ~63l, // 64 places around the middle of what f32 drops
	-87, -105,
};

// e^x for x in [-87, 0], and in doubt the lanes that are too close.
INLINE vd exp_half(vd x, vl *doubt) {
	const struct constants *c = &constants;
	OPAQUE(c);
	vd t = x * c->inverse + c->magic; // its low bits are the power of two
	vd k = t - c->magic;
	vd r = x - k * c->high - k * c->low;
	vd p = r * c->series[0] + c->series[1];
	EACH(i, 10) p = p * r + c->series[2 + i];
	p = p * r + c->one;
	p = p * r + c->one;
	vl bits = (vl)p + ((vl)t << 52);
	*doubt |= (((bits & c->dropped) - c->middle) & c->near) == 0;
	return (vd)bits;
}

// e^x for x <= 0. Below -105 it rounds to 0; what is not normal, and what is not a number, is in doubt.
INLINE vg exp_vector(vg x, int *doubt) {
	const struct constants *c = &constants;
	OPAQUE(c);
	vm zero = x < c->nothing, bad = ~((x <= 0.0f) & ((x >= c->least) | zero));
	vg in = (vg)((vm)x & ~(zero | bad));
	vl d = {0};
#if LANES == 16
	vh lo = __builtin_shufflevector(in, in, 0, 1, 2, 3, 4, 5, 6, 7), hi = __builtin_shufflevector(in, in, 8, 9, 10, 11, 12, 13, 14, 15);
#elif LANES == 8
	vh lo = __builtin_shufflevector(in, in, 0, 1, 2, 3), hi = __builtin_shufflevector(in, in, 4, 5, 6, 7);
#else
	vh lo = __builtin_shufflevector(in, in, 0, 1), hi = __builtin_shufflevector(in, in, 2, 3);
#endif
	lo = __builtin_convertvector(exp_half(__builtin_convertvector(lo, vd), &d), vh);
	hi = __builtin_convertvector(exp_half(__builtin_convertvector(hi, vd), &d), vh);
#if LANES == 16
	vg e = __builtin_shufflevector(lo, hi, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#elif LANES == 8
	vg e = __builtin_shufflevector(lo, hi, 0, 1, 2, 3, 4, 5, 6, 7);
#else
	vg e = __builtin_shufflevector(lo, hi, 0, 1, 2, 3);
#endif
#if defined(__aarch64__)
	*doubt = (int)vmaxvq_u32(vorrq_u32((uint32x4_t)d, (uint32x4_t)bad));
#else
	*doubt = __builtin_reduce_or(d) != 0 || __builtin_reduce_or(bad) != 0;
#endif
	return (vg)((vm)e & ~zero);
}

INLINE vg load(const f32 *p) { vg v; __builtin_memcpy(&v, p, sizeof v); return v; }
INLINE void store(f32 *p, vg v) { __builtin_memcpy(p, &v, sizeof v); }
INLINE vg choose(vm where, vg a, vg b) { return (vg)(((vm)a & where) | ((vm)b & ~where)); }

// out = silu(min(x, clamp)) * clamped u * weight.
KERNEL expGated(struct expArgs *a) {
	LOOP (; a->done < a->n; a->done += LANES) {
		OPAQUE(a);
		vg x = load(a->x + a->done), clamp = (vg){0} + a->with[0];
		x = choose(x > clamp, clamp, x);
		vm up = x >= 0.0f;
		int doubt;
		vg e = exp_vector(choose(up, -x, x), &doubt);
		if (doubt) return;
		x *= choose(up, (vg){0} + 1.0f, e) / (1.0f + e);
		OPAQUE(a);
		vg u = load(a->u + a->done), least = (vg){0} - a->with[0];
		clamp = (vg){0} + a->with[0];
		u = choose(u < least, least, u);
		u = choose(u > clamp, clamp, u);
		store(a->out + a->done, x * u * ((vg){0} + a->with[1]));
	}
}

// Scores (n, lanes) less the greatest, to their exponentials; these are added to out (lanes).
KERNEL expSoftmax(struct expArgs *a) {
	vg top = load(a->with), sum = load(a->out);
	LOOP (; a->done < a->n; a->done++) {
		int doubt;
		vg e = exp_vector(load(a->x + LANES * a->done) - top, &doubt);
		if (doubt) break;
		store(a->x + LANES * a->done, e);
		sum += e;
	}
	store(a->out, sum);
}
