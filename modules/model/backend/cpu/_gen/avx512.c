// Dot products for AVX-512 with VNNI, 16 weight rows at a time: a vector's lanes are rows, so that the f32 sum of every row
// runs over its blocks in ascending order, without fused multiply-adds, exactly as the plain loops do.
//
// Weights are turned so that vector j holds dword j of all 16 rows; a dword of activations, broadcast, meets all of them
// in one instruction. Turning costs 32 shuffles a 16 × 32 bytes, and is shared by all tokens.
//
// main.go compiles this and writes dot_avx512_amd64.s. A body that touches the stack is refused.
#include <immintrin.h>
typedef unsigned char u8; typedef signed char i8; typedef unsigned short u16; typedef short i16; typedef unsigned u32; typedef int i32; typedef unsigned long long u64;

// Layout mirrored by dotArgs in dot_amd64.go. Activations lie by block: q + blk·qStep + token·(block length), and so on.
struct args {
  const u8 *w; long stride, blocks; // 16 rows, stride bytes apart
  const i8 *q; long qStep;
  const float *d; long dStep;
  const void *s; long sStep;        // sums of activations, in bytes
  long n;                           // tokens
  float *acc;                       // (n, 16) in and out
  const u64 *grid, *signs;          // IQ2_XXS: magnitudes; sign bytes, 0 or 0xff
  u8 *bytes;                        // IQ2_XXS: unpacked, 16 × 256 a block
  u8 *tmp;                          // (n, 16) i32
};
#define GO __attribute__((preserve_none))
#define IN static inline __attribute__((always_inline))

IN __m512i pair(const u8 *a, const u8 *b) { return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const void *)a)), _mm256_loadu_si256((const void *)b), 1); }

// turn makes o[j] = dword j of 16 rows of 32 bytes.
IN void turn(__m512i o[8], const u8 *w, long stride) {
  __m512i t[8];
#pragma unroll
  for (int g = 0; g < 2; g++) {
    const u8 *p = w + 8 * g * stride;
    __m512i a = pair(p, p + 4 * stride), b = pair(p + stride, p + 5 * stride), c = pair(p + 2 * stride, p + 6 * stride), d = pair(p + 3 * stride, p + 7 * stride);
    __m512i ab = _mm512_unpacklo_epi32(a, b), AB = _mm512_unpackhi_epi32(a, b), cd = _mm512_unpacklo_epi32(c, d), CD = _mm512_unpackhi_epi32(c, d);
    t[4 * g] = _mm512_unpacklo_epi64(ab, cd); t[4 * g + 1] = _mm512_unpackhi_epi64(ab, cd);
    t[4 * g + 2] = _mm512_unpacklo_epi64(AB, CD); t[4 * g + 3] = _mm512_unpackhi_epi64(AB, CD);
  }
#pragma unroll
  for (int j = 0; j < 4; j++) {
    o[j] = _mm512_shuffle_i32x4(t[j], t[4 + j], 0x88);
    o[4 + j] = _mm512_shuffle_i32x4(t[j], t[4 + j], 0xdd);
  }
}

IN __m512i quad(const u8 *p, long s) { // rows p, p+4s, p+8s, p+12s: 16 bytes each
  __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)p));
  v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(p + 4 * s)), 1);
  v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(p + 8 * s)), 2);
  return _mm512_inserti32x4(v, _mm_loadu_si128((const void *)(p + 12 * s)), 3);
}
// turn4 makes o[j] = dword j of 16 rows of 16 bytes.
IN void turn4(__m512i o[4], const u8 *w, long s) {
  __m512i a = quad(w, s), b = quad(w + s, s), c = quad(w + 2 * s, s), d = quad(w + 3 * s, s);
  __m512i ab = _mm512_unpacklo_epi32(a, b), AB = _mm512_unpackhi_epi32(a, b), cd = _mm512_unpacklo_epi32(c, d), CD = _mm512_unpackhi_epi32(c, d);
  o[0] = _mm512_unpacklo_epi64(ab, cd); o[1] = _mm512_unpackhi_epi64(ab, cd);
  o[2] = _mm512_unpacklo_epi64(AB, CD); o[3] = _mm512_unpackhi_epi64(AB, CD);
}

IN __m128i halves8(const u8 *w, long s) {
  __m128i v = _mm_cvtsi32_si128(*(const u16 *)w);
  v = _mm_insert_epi16(v, *(const u16 *)(w + s), 1); v = _mm_insert_epi16(v, *(const u16 *)(w + 2 * s), 2);
  v = _mm_insert_epi16(v, *(const u16 *)(w + 3 * s), 3); v = _mm_insert_epi16(v, *(const u16 *)(w + 4 * s), 4);
  v = _mm_insert_epi16(v, *(const u16 *)(w + 5 * s), 5); v = _mm_insert_epi16(v, *(const u16 *)(w + 6 * s), 6);
  return _mm_insert_epi16(v, *(const u16 *)(w + 7 * s), 7);
}
// halves converts one f16 of each of 16 rows.
IN __m512 halves(const u8 *w, long s) { return _mm512_cvtph_ps(_mm256_inserti128_si256(_mm256_castsi128_si256(halves8(w, s)), halves8(w + 8 * s, s), 1)); }

IN __m512i bc(const i8 *q) { return _mm512_set1_epi32(*(const i32 *)q); }
// dots multiplies 8 turned dwords (unsigned) with 32 activations.
IN __m512i dots(const __m512i v[8], const i8 *q) {
  __m512i a = _mm512_dpbusd_epi32(_mm512_setzero_si512(), v[0], bc(q)), b = _mm512_dpbusd_epi32(_mm512_setzero_si512(), v[1], bc(q + 4));
  a = _mm512_dpbusd_epi32(a, v[2], bc(q + 8)); b = _mm512_dpbusd_epi32(b, v[3], bc(q + 12));
  a = _mm512_dpbusd_epi32(a, v[4], bc(q + 16)); b = _mm512_dpbusd_epi32(b, v[5], bc(q + 20));
  a = _mm512_dpbusd_epi32(a, v[6], bc(q + 24)); b = _mm512_dpbusd_epi32(b, v[7], bc(q + 28));
  return _mm512_add_epi32(a, b);
}
IN __m512 scaled(__m512 dw, float dx, __m512i sum) { return _mm512_mul_ps(_mm512_mul_ps(dw, _mm512_set1_ps(dx)), _mm512_cvtepi32_ps(sum)); }

// go: q8_0: the sums are 128·Σq, i32: weights are made unsigned by adding 128.
GO void q8_0(const struct args *a) {
  const u8 *w = a->w; const i8 *q = a->q; const float *d = a->d; const i32 *s = a->s;
  for (long b = a->blocks; b; b--, w += 34, q += a->qStep, d += a->dStep, s = (const void *)((const u8 *)s + a->sStep)) {
    __m512i v[8];
    turn(v, w + 2, a->stride);
#pragma unroll
    for (int j = 0; j < 8; j++) v[j] = _mm512_xor_si512(v[j], _mm512_set1_epi8((char)0x80));
    __m512 dw = halves(w, a->stride);
    float *acc = a->acc;
    for (long t = 0; t < a->n; t++, acc += 16)
      _mm512_storeu_ps(acc, _mm512_add_ps(_mm512_loadu_ps(acc), scaled(dw, d[t], _mm512_sub_epi32(dots(v, q + 32 * t), _mm512_set1_epi32(s[t])))));
  }
}

// go: mxfp4: the sums are 128·Σq; codes map to doubled values plus 12, so 12·Σq is taken off.
GO void mxfp4(const struct args *a) {
  const u8 *w = a->w; const i8 *q = a->q; const float *d = a->d; const i32 *s = a->s;
  const __m512i lut = _mm512_broadcast_i32x4(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0)), low = _mm512_set1_epi8(15);
  for (long b = a->blocks; b; b--, w += 17, q += a->qStep, d += a->dStep, s = (const void *)((const u8 *)s + a->sStep)) {
    __m512i v[8];
    turn4(v, w + 1, a->stride);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      v[4 + j] = _mm512_shuffle_epi8(lut, _mm512_and_si512(_mm512_srli_epi16(v[j], 4), low));
      v[j] = _mm512_shuffle_epi8(lut, _mm512_and_si512(v[j], low));
    }
    __m512i x = _mm512_cvtepu16_epi32(_mm256_inserti128_si256(_mm256_castsi128_si256(halves8(w, a->stride)), halves8(w + 8 * a->stride, a->stride), 1));
    x = _mm512_and_si512(x, _mm512_set1_epi32(255));
    __m512i norm = _mm512_slli_epi32(_mm512_sub_epi32(x, _mm512_set1_epi32(1)), 23), sub = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), x);
    __m512 dw = _mm512_castsi512_ps(_mm512_mask_mov_epi32(norm, _mm512_cmplt_epu32_mask(x, _mm512_set1_epi32(2)), sub));
    float *acc = a->acc;
    for (long t = 0; t < a->n; t++, acc += 16) {
      __m512i off = _mm512_mullo_epi32(_mm512_srai_epi32(_mm512_set1_epi32(s[t]), 7), _mm512_set1_epi32(12));
      _mm512_storeu_ps(acc, _mm512_add_ps(_mm512_loadu_ps(acc), scaled(dw, d[t], _mm512_sub_epi32(dots(v, q + 32 * t), off))));
    }
  }
}

// half2 adds the products of half a q2_k block to the tokens' integer sums.
IN void half2(const struct args *a, const u8 *w, const i8 *q, __m512i s0, __m512i s1) {
  const __m512i three = _mm512_set1_epi8(3), nib = _mm512_set1_epi32(15);
  __m512i v[8];
  turn(v, w, a->stride);
  u8 *o = a->tmp;
  for (long t = 0; t < a->n; t++, q += 256, o += 64) {
    __m512i isum = _mm512_loadu_si512(o);
    // hides that the shifted weights are the same for every token: kept, they would not fit the registers
    __asm__("" : "+v"(v[0]), "+v"(v[1]), "+v"(v[2]), "+v"(v[3]), "+v"(v[4]), "+v"(v[5]), "+v"(v[6]), "+v"(v[7]), "+v"(s0), "+v"(s1));
#pragma unroll
    for (int k = 0; k < 4; k++)
#pragma unroll
      for (int g = 0; g < 2; g++) {
        const i8 *p = q + 32 * k + 16 * g;
        __m512i x = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_and_si512(_mm512_srli_epi16(v[4 * g], 2 * k), three), bc(p));
        x = _mm512_dpbusd_epi32(x, _mm512_and_si512(_mm512_srli_epi16(v[4 * g + 1], 2 * k), three), bc(p + 4));
        x = _mm512_dpbusd_epi32(x, _mm512_and_si512(_mm512_srli_epi16(v[4 * g + 2], 2 * k), three), bc(p + 8));
        x = _mm512_dpbusd_epi32(x, _mm512_and_si512(_mm512_srli_epi16(v[4 * g + 3], 2 * k), three), bc(p + 12));
        int j = 2 * k + g;
        isum = _mm512_add_epi32(isum, _mm512_madd_epi16(x, _mm512_and_si512(_mm512_srli_epi32(j < 4 ? s0 : s1, 8 * (j & 3)), nib)));
      }
    _mm512_storeu_si512(o, isum);
  }
}

IN void zero(u8 *tmp, long n) { for (; n; n--, tmp += 64) _mm512_storeu_si512(tmp, _mm512_setzero_si512()); }

// go: q2_k: the sums are i16 over 16 activations, of every four in the order 0, 2, 1, 3.
GO void q2_k(const struct args *a) {
  const u8 *w = a->w; const i8 *q = a->q; const float *d = a->d; const u8 *s = a->s;
  const __m512i nibs = _mm512_set1_epi32(0x000f000f);
  for (long b = a->blocks; b; b--, w += 84, q += a->qStep, d += a->dStep, s += a->sStep) {
    __m512i sc[4];
    turn4(sc, w, a->stride);
    zero(a->tmp, a->n);
    half2(a, w + 16, q, sc[0], sc[1]);
    half2(a, w + 48, q + 128, sc[2], sc[3]);
    __m512 dw = halves(w + 80, a->stride), dm = halves(w + 82, a->stride);
    float *acc = a->acc; const u8 *z = s, *o = a->tmp;
    for (long t = 0; t < a->n; t++, acc += 16, z += 32, o += 64) {
      __m512i msum = _mm512_setzero_si512();
#pragma unroll
      for (int j = 0; j < 4; j++) {
        msum = _mm512_add_epi32(msum, _mm512_madd_epi16(_mm512_and_si512(_mm512_srli_epi32(sc[j], 4), nibs), bc((const i8 *)z + 8 * j)));
        msum = _mm512_add_epi32(msum, _mm512_madd_epi16(_mm512_and_si512(_mm512_srli_epi32(sc[j], 12), nibs), bc((const i8 *)z + 8 * j + 4)));
      }
      _mm512_storeu_ps(acc, _mm512_add_ps(_mm512_loadu_ps(acc), _mm512_sub_ps(scaled(dw, d[t], _mm512_loadu_si512(o)), scaled(dm, d[t], msum))));
    }
  }
}

// quarter4 adds the products of 64 values of a q4_k block: low nibbles with scale lo, high nibbles with scale hi.
IN void quarter4(const struct args *a, const u8 *w, const i8 *q, __m512i lo, __m512i hi) {
  const __m512i low = _mm512_set1_epi8(15);
  __m512i v[8];
  turn(v, w, a->stride);
  u8 *o = a->tmp;
  for (long t = 0; t < a->n; t++, q += 256, o += 64) {
    __m512i x[8], isum = _mm512_loadu_si512(o);
#pragma unroll
    for (int j = 0; j < 8; j++) x[j] = _mm512_and_si512(v[j], low);
    isum = _mm512_add_epi32(isum, _mm512_mullo_epi32(dots(x, q), lo));
#pragma unroll
    for (int j = 0; j < 8; j++) x[j] = _mm512_and_si512(_mm512_srli_epi16(v[j], 4), low);
    isum = _mm512_add_epi32(isum, _mm512_mullo_epi32(dots(x, q + 32), hi));
    _mm512_storeu_si512(o, isum);
  }
}
IN __m512i byteOf(__m512i v, int k) { return _mm512_and_si512(_mm512_srli_epi32(v, 8 * k), _mm512_set1_epi32(255)); }

// go: q4_k: the sums are i16 over 32 activations, of every four in the order 0, 2, 1, 3.
GO void q4_k(const struct args *a) {
  const u8 *w = a->w; const i8 *q = a->q; const float *d = a->d; const u8 *s = a->s;
  const __m512i low = _mm512_set1_epi8(15), two = _mm512_set1_epi8(3), six = _mm512_set1_epi8(63), bytes = _mm512_set1_epi32(0x00ff00ff);
  for (long b = a->blocks; b; b--, w += 144, q += a->qStep, d += a->dStep, s += a->sStep) {
    __m512i u[4];
    turn4(u, w, a->stride); // d and dmin, then S[0..3], S[4..7], S[8..11]
    __m512i m0 = _mm512_and_si512(u[2], six), m1 = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(u[3], 4), low), _mm512_slli_epi16(_mm512_and_si512(_mm512_srli_epi16(u[2], 6), two), 4));
    __m512i c0 = _mm512_and_si512(u[1], six), c1 = _mm512_or_si512(_mm512_and_si512(u[3], low), _mm512_slli_epi16(_mm512_and_si512(_mm512_srli_epi16(u[1], 6), two), 4));
    zero(a->tmp, a->n);
    quarter4(a, w + 16, q, byteOf(c0, 0), byteOf(c0, 1));
    quarter4(a, w + 48, q + 64, byteOf(c0, 2), byteOf(c0, 3));
    quarter4(a, w + 80, q + 128, byteOf(c1, 0), byteOf(c1, 1));
    quarter4(a, w + 112, q + 192, byteOf(c1, 2), byteOf(c1, 3));
    __m512 dw = halves(w, a->stride), dm = halves(w + 2, a->stride);
    float *acc = a->acc; const i8 *z = (const i8 *)s; const u8 *o = a->tmp;
    for (long t = 0; t < a->n; t++, acc += 16, z += 16, o += 64) {
      __m512i msum = _mm512_madd_epi16(_mm512_and_si512(m0, bytes), bc(z));
      msum = _mm512_add_epi32(msum, _mm512_madd_epi16(_mm512_and_si512(_mm512_srli_epi32(m0, 8), bytes), bc(z + 4)));
      msum = _mm512_add_epi32(msum, _mm512_madd_epi16(_mm512_and_si512(m1, bytes), bc(z + 8)));
      msum = _mm512_add_epi32(msum, _mm512_madd_epi16(_mm512_and_si512(_mm512_srli_epi32(m1, 8), bytes), bc(z + 12)));
      _mm512_storeu_ps(acc, _mm512_add_ps(_mm512_loadu_ps(acc), _mm512_sub_ps(scaled(dw, d[t], _mm512_loadu_si512(o)), scaled(dm, d[t], msum))));
    }
  }
}

// go: iq2_xxs_unpack: writes the signed magnitudes plus 64 of all blocks to bytes: (blocks, 16 rows, 256).
GO void iq2_xxs_unpack(const struct args *a) {
  const u8 *w = a->w; u8 *o = a->bytes; const u64 *grid = a->grid, *signs = a->signs; long next = a->stride - 64;
  const __m256i off = _mm256_set1_epi8(64);
#pragma clang loop unroll(disable)
  for (long b = a->blocks; b; b--, w += 66) {
    const u8 *p = w + 2;
#pragma clang loop unroll(disable)
    for (int r = 16; r; r--, p += next)
#pragma clang loop unroll(disable)
      for (int g = 8; g; g--, p += 8, o += 32) {
        u32 t = *(const u32 *)(p + 4);
        __m256i m = _mm256_set_epi64x(grid[p[3]], grid[p[2]], grid[p[1]], grid[p[0]]);
        __m256i n = _mm256_set_epi64x(signs[t >> 21 & 127], signs[t >> 14 & 127], signs[t >> 7 & 127], signs[t & 127]);
        _mm256_storeu_si256((void *)o, _mm256_add_epi8(_mm256_sub_epi8(_mm256_xor_si256(m, n), n), off));
      }
  }
}

// go: iq2_xxs: one block, after iq2_xxs_unpack. The sums are 64·Σq over 32 activations, i32. The caller multiplies by 1/8
// at the end.
GO void iq2_xxs(const struct args *a) {
  const u8 *e = a->w + 8, *v0 = a->bytes; long at = 0; // e: the top of a group's t, whose upper nibble is the scale
  zero(a->tmp, a->n);
#pragma clang loop unroll(disable)
  for (; at < 256; e += 8, at += 32, v0 += 32) {
    __m512i v[8];
    turn(v, v0, 256);
    __m512i ls = _mm512_cvtepu16_epi32(_mm256_inserti128_si256(_mm256_castsi128_si256(halves8(e, a->stride)), halves8(e + 8 * a->stride, a->stride), 1));
    ls = _mm512_or_si512(_mm512_slli_epi32(_mm512_srli_epi32(ls, 12), 1), _mm512_set1_epi32(1));
    const i8 *y = a->q + at; const u8 *z = (const u8 *)a->s + at / 8; u8 *c = a->tmp;
#pragma clang loop unroll(disable)
    for (long t = a->n; t; t--, y += 256, z += 32, c += 64) {
      __m512i x = _mm512_sub_epi32(dots(v, y), _mm512_set1_epi32(*(const i32 *)z));
      _mm512_storeu_si512(c, _mm512_add_epi32(_mm512_loadu_si512(c), _mm512_mullo_epi32(x, ls)));
    }
  }
  __m512 dw = halves(a->w, a->stride);
  float *acc = a->acc; const u8 *c = a->tmp; const float *d = a->d;
#pragma clang loop unroll(disable)
  for (long t = a->n; t; t--, acc += 16, c += 64, d++)
    _mm512_storeu_ps(acc, _mm512_add_ps(_mm512_loadu_ps(acc), scaled(dw, *d, _mm512_loadu_si512(c))));
}

// go: f16: blocks of 16 values; activations are f32 by block of 16: d + blk·dStep + token·16.
GO void f16(const struct args *a) {
  const u8 *w = a->w; const float *d = a->d;
  for (long b = a->blocks; b; b--, w += 32, d += a->dStep) {
    __m512i v[8]; __m512 f[16];
    turn(v, w, a->stride);
#pragma unroll
    for (int j = 0; j < 8; j++) {
      f[2 * j] = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v[j]));
      f[2 * j + 1] = _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(v[j], 16)));
    }
    float *acc = a->acc; const float *x = d;
    for (long t = 0; t < a->n; t++, acc += 16, x += 16) {
      __m512 s = _mm512_loadu_ps(acc);
#pragma unroll
      for (int j = 0; j < 16; j++) s = _mm512_add_ps(s, _mm512_mul_ps(f[j], _mm512_set1_ps(x[j])));
      _mm512_storeu_ps(acc, s);
    }
  }
}

// go: scores: 16 KV rows, turned (w: blocks × 16 f32, blocks values), against n queries (d, dStep apart): acc gets the dot products.
GO void scores(const struct args *a) {
  const float *x = a->d; float *o = a->acc; long t = a->n, step = a->dStep;
#pragma clang loop unroll(disable)
  for (; t >= 4; t -= 4, x += 4 * step, o += 64) {
    const float *k = (const float *)a->w, *y = x, *z = x + 2 * step;
    __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
#pragma clang loop unroll(disable)
    for (long i = a->blocks; i; i--, k += 16, y++, z++) {
      __m512 v = _mm512_loadu_ps(k);
      s0 = _mm512_add_ps(s0, _mm512_mul_ps(v, _mm512_set1_ps(*y))); s1 = _mm512_add_ps(s1, _mm512_mul_ps(v, _mm512_set1_ps(y[step])));
      s2 = _mm512_add_ps(s2, _mm512_mul_ps(v, _mm512_set1_ps(*z))); s3 = _mm512_add_ps(s3, _mm512_mul_ps(v, _mm512_set1_ps(z[step])));
    }
    _mm512_storeu_ps(o, s0); _mm512_storeu_ps(o + 16, s1); _mm512_storeu_ps(o + 32, s2); _mm512_storeu_ps(o + 48, s3);
  }
#pragma clang loop unroll(disable)
  for (; t; t--, x += step, o += 16) {
    const float *k = (const float *)a->w, *y = x;
    __m512 s = _mm512_setzero_ps();
#pragma clang loop unroll(disable)
    for (long i = a->blocks; i; i--, k += 16, y++) s = _mm512_add_ps(s, _mm512_mul_ps(_mm512_loadu_ps(k), _mm512_set1_ps(*y)));
    _mm512_storeu_ps(o, s);
  }
}

// go: values: acc (64 floats a piece, blocks pieces) += Σ over n rows of d[row]·w (rows stride bytes apart), rows in order.
GO void values(const struct args *a) {
  float *acc = a->acc; const u8 *w = a->w;
  for (long b = a->blocks; b; b--, acc += 64, w += 256) {
    __m512 s0 = _mm512_loadu_ps(acc), s1 = _mm512_loadu_ps(acc + 16), s2 = _mm512_loadu_ps(acc + 32), s3 = _mm512_loadu_ps(acc + 48);
    const u8 *p = w;
    for (long t = 0; t < a->n; t++, p += a->stride) {
      __m512 x = _mm512_set1_ps(a->d[t]); const float *k = (const float *)p;
      s0 = _mm512_add_ps(s0, _mm512_mul_ps(x, _mm512_loadu_ps(k))); s1 = _mm512_add_ps(s1, _mm512_mul_ps(x, _mm512_loadu_ps(k + 16)));
      s2 = _mm512_add_ps(s2, _mm512_mul_ps(x, _mm512_loadu_ps(k + 32))); s3 = _mm512_add_ps(s3, _mm512_mul_ps(x, _mm512_loadu_ps(k + 48)));
    }
    _mm512_storeu_ps(acc, s0); _mm512_storeu_ps(acc + 16, s1); _mm512_storeu_ps(acc + 32, s2); _mm512_storeu_ps(acc + 48, s3);
  }
}
