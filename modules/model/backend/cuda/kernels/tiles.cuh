// Quantised weights as the kernels read them: tiles of 16 rows by 256 inputs in the order of mma fragments, so that a warp
// reads a tile with 16-byte loads that coalesce, and one layout serves a single row and a long prompt. repack.cu makes them.
//
// Lane 4g+t of a warp holds rows g and g+8 of the tile and, of every 32 inputs, inputs 8t … 8t+7. dot adds a tile's part
// of the result to out: column 2t (+1) of token group nt is out[nt][0] (1) for row g, out[nt][2] (3) for row g+8.
//
// The row law: within a tile the order of operations is fixed here; callers add tiles in ascending order of input.
// Block sums are exact integers, whatever instruction makes them.
//
// B is a view of the activations with
//
//	bool has(int nt)                       false: no token of the group exists (the whole warp agrees)
//	void values(int nt, uint2 (&x)[8])     of token 8·nt+g: inputs 32j+8t … of the tile, for every j
//	float2 scale8(int nt, int j)           of tokens 8·nt+2t and +1, for a block of 32
//	float2 scale256(int nt)                the same, of the whole tile
//
// A tile is decoded once and then meets one token group after another: straight code without branches inside, whose loads
// the compiler can start together. Blocks past the width have zero weights and some valid activations.
#pragma once
#include "quant.cuh"

// Weight types: numbers of the GGUF format.
enum { T_F32 = 0, T_F16 = 1, T_Q8_0 = 8, T_Q2_K = 10, T_Q4_K = 12, T_IQ2_XXS = 16, T_I32 = 26, T_MXFP4 = 39 };

// An int below 2^22 added to the bits of 1.5·2^23 is that float plus the int: a conversion that costs one addition.
const int MAGIC = 0x4b400000;
DEV float magic_float(int v) { return as_float((u32)v) - 12582912.0f; }

// add_scaled adds (w·x)·c to a block's sums.
DEV void add_scaled(float (&acc)[4], const int (&c)[4], float w0, float w1, float2 x) {
  acc[0] = fma_rn(w0 * x.x, magic_float(c[0]), acc[0]);
  acc[1] = fma_rn(w0 * x.y, magic_float(c[1]), acc[1]);
  acc[2] = fma_rn(w1 * x.x, magic_float(c[2]), acc[2]);
  acc[3] = fma_rn(w1 * x.y, magic_float(c[3]), acc[3]);
}

// blocks8 is the part of a tile whose scales are per block of 32: a[j] are its fragments, w0[j] and w1[j] its scales.
template <int NT, class B> DEV void blocks8(float (&out)[NT][4], const B& b, const u32 (&a)[8][4], const float (&w0)[8], const float (&w1)[8]) {
  UNROLL for (int nt = 0; nt < NT; nt++)
    if (b.has(nt)) {
      uint2 x[8];
      float acc[4] = {};
      b.values(nt, x);
      UNROLL for (int j = 0; j < 8; j++) {
        int c[4] = {MAGIC, MAGIC, MAGIC, MAGIC};
        mma_s8(c, a[j][0], a[j][1], a[j][2], a[j][3], x[j].x, x[j].y);
        add_scaled(acc, c, w0[j], w1[j], b.scale8(nt, j));
      }
      UNROLL for (int i = 0; i < 4; i++) out[nt][i] += acc[i];
    }
}

// OneB is the view of a single token, whose rows of a tile's sums are the column that lanes 4g hold. p and d are of the tile,
// p of this lane: plus 8t.
struct OneB {
  const i8* p;
  const float* d;
  DEVM bool has(int) const { return true; }
  DEVM void values(int, uint2 (&x)[8]) const {
    UNROLL for (int j = 0; j < 8; j++) x[j] = *(const uint2*)(p + 32 * j);
  }
  DEVM float2 scale8(int, int j) const { return {d[j], d[j]}; }
  DEVM float2 scale256(int) const { return {d[0], d[0]}; }
  DEVM uint2 block() const { return *(const uint2*)(p + 32 * (lane_id() / 4)); } // of block g: only(j, …) leaves it in column j alone
  static DEVM u32 only(int j, u32 v) { return lane_id() / 4 == j ? v : 0; }
  static DEVM int sum4(int v) { // over the columns
    v += (int)shfl_xor((u32)v, 1);
    return v + (int)shfl_xor((u32)v, 2);
  }
};

DEV u32 word(const uint4& v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }
DEV u32 byte_of(u32 lo, u32 hi, int i) { return (i < 4 ? lo : hi) >> (8 * (i % 4)) & 255; } // byte i of eight

// Where a tile is loaded from: global memory, streamed, or shared memory that copy_tile filled.
struct FromGlobal { DEVM uint4 operator()(const void* p) const { return load16(p); } };
struct FromShared { DEVM uint4 operator()(const void* p) const { return *(const uint4*)p; } };
template <int BYTES> DEV void copy_tile(u8* dst, const u8* src) { // by a warp
  UNROLL for (int i = 0; i < (BYTES + 511) / 512; i++) {
    int at = 512 * i + 16 * lane_id();
    if (at < BYTES) copy16_async(dst + at, src + at);
  }
}

// Q8_0: [block of 32: 8][lane: 32] 16 bytes of values, then [g: 8][block: 8] scale pairs (f16, rows g and g+8).
struct TileQ8_0 {
  static const int TYPE = T_Q8_0, BYTES = 4352;
  static const bool K256 = false, TABLE = false, ONE = false;
  uint4 q[8], s[2];
  template <class L> DEVM void load(const u8* p, int lane, L load16) {
    UNROLL for (int j = 0; j < 8; j++) q[j] = load16(p + 512 * j + 16 * lane);
    s[0] = load16(p + 4096 + 32 * (lane / 4));
    s[1] = load16(p + 4096 + 32 * (lane / 4) + 16);
  }
  template <int NT, class B> DEVM void dot(float (&out)[NT][4], const B& b, const u32*) const {
    u32 a[8][4];
    float w0[8], w1[8];
    UNROLL for (int j = 0; j < 8; j++) {
      UNROLL for (int i = 0; i < 4; i++) a[j][i] = word(q[j], i);
      u32 v = word(s[j / 4], j % 4);
      w0[j] = half_float((u16)v);
      w1[j] = half_float((u16)(v >> 16));
    }
    blocks8(out, b, a, w0, w1);
  }
};

// MXFP4: [4][lane: 32] 16 bytes: words are 8 codes, first input in the low nibble; blocks 0–7 of row g, then of row g+8;
// then [g: 8] exponents of 8 blocks of row g, of row g+8.
struct TileMXFP4 {
  static const int TYPE = T_MXFP4, BYTES = 2176;
  static const bool K256 = false, TABLE = false, ONE = false;
  uint4 q[4], e;
  template <class L> DEVM void load(const u8* p, int lane, L load16) {
    UNROLL for (int j = 0; j < 4; j++) q[j] = load16(p + 512 * j + 16 * lane);
    e = load16(p + 2048 + 16 * (lane / 4));
  }
  static DEVM void decode(u32 w, u32* lo, u32* hi) { // twice the value of each code
    u32 m0 = byte_perm(w << 4, w, 0xd9c8), m1 = byte_perm(w << 4, w, 0xfbea), sel = w & 0x77777777;
    *lo = (byte_perm(0x03020100, 0x0c080604, sel) & ~m0) | (byte_perm(0xfdfeff00, 0xf4f8fafc, sel) & m0);
    *hi = (byte_perm(0x03020100, 0x0c080604, sel >> 16) & ~m1) | (byte_perm(0xfdfeff00, 0xf4f8fafc, sel >> 16) & m1);
  }
  template <int NT, class B> DEVM void dot(float (&out)[NT][4], const B& b, const u32*) const {
    u32 a[8][4];
    float w0[8], w1[8];
    UNROLL for (int j = 0; j < 8; j++) {
      decode(word(q[j / 4], j % 4), &a[j][0], &a[j][2]);
      decode(word(q[2 + j / 4], j % 4), &a[j][1], &a[j][3]);
      w0[j] = pow2((int)byte_of(e.x, e.y, j) - 128);
      w1[j] = pow2((int)byte_of(e.z, e.w, j) - 128);
    }
    blocks8(out, b, a, w0, w1);
  }
};

// finish256 adds a block of 256: (d·x)·sum, rounded on its own, as a tile that another warp adds must be.
DEV void finish256(float (&out)[4], const int (&s)[4], float d0, float d1, float2 x) {
  out[0] += d0 * x.x * (float)s[0];
  out[1] += d0 * x.y * (float)s[1];
  out[2] += d1 * x.x * (float)s[2];
  out[3] += d1 * x.y * (float)s[3];
}
// With mins, (d·x)·sum − (dmin·x)·mins; d holds the pairs d, dmin of rows g and g+8.
DEV void finish256(float (&out)[4], const int (&s)[4], const int (&m)[4], uint2 d, float2 x) {
  float d0 = half_float((u16)d.x), d1 = half_float((u16)d.y), m0 = half_float((u16)(d.x >> 16)), m1 = half_float((u16)(d.y >> 16));
  out[0] += d0 * x.x * (float)s[0] - m0 * x.x * (float)m[0];
  out[1] += d0 * x.y * (float)s[1] - m0 * x.y * (float)m[1];
  out[2] += d1 * x.x * (float)s[2] - m1 * x.x * (float)m[2];
  out[3] += d1 * x.y * (float)s[3] - m1 * x.y * (float)m[3];
}

// IQ2_XXS: [lane: 32] grid indices of blocks 0–7, row g then g+8; [lane: 32] signs in the same order, bit 4i + j%4 of word
// j/4 being element i of block j; [g: 8] 4-bit scales (rows g, g+8); [g: 8] d pairs. 1120 bytes against 1056: every sign
// is spelled out.
struct TileIQ2_XXS {
  static const int TYPE = T_IQ2_XXS, BYTES = 1120;
  static const bool K256 = true, TABLE = true, ONE = true;
  uint4 idx, sign;
  uint2 scale;
  u32 d;
  template <class L> DEVM void load(const u8* p, int lane, L load16) {
    idx = load16(p + 16 * lane);
    sign = load16(p + 512 + 16 * lane);
    scale = *(const uint2*)(p + 1024 + 8 * (lane / 4));
    d = *(const u32*)(p + 1088 + 4 * (lane / 4));
  }
  // A table entry is eight nibbles that select a value and leave the lowest bit to the sign.
  static DEVM void decode(u32 entry, u32 signs, u32* lo, u32* hi) {
    u32 sel = entry | (signs & 0x11111111);
    *lo = byte_perm(0xe719f808, 0x0000d52b, sel);
    *hi = byte_perm(0xe719f808, 0x0000d52b, sel >> 16);
  }
  template <int NT, class B> DEVM void dot(float (&out)[NT][4], const B& b, const u32* table) const {
    const u32* mine = table + lane_id();
    u32 a[8][4];
    int s0[8], s1[8];
    UNROLL for (int j = 0; j < 8; j++) {
      s0[j] = 2 * (int)(scale.x >> (4 * j) & 15) + 1;
      s1[j] = 2 * (int)(scale.y >> (4 * j) & 15) + 1;
      decode(mine[32 * byte_of(idx.x, idx.y, j)], (j < 4 ? sign.x : sign.y) >> (j % 4), &a[j][0], &a[j][2]);
      decode(mine[32 * byte_of(idx.z, idx.w, j)], (j < 4 ? sign.z : sign.w) >> (j % 4), &a[j][1], &a[j][3]);
    }
    float d0 = 0.125f * half_float((u16)d), d1 = 0.125f * half_float((u16)(d >> 16));
    UNROLL for (int nt = 0; nt < NT; nt++)
      if (b.has(nt)) {
        uint2 x[8];
        int sum[4] = {};
        b.values(nt, x);
        UNROLL for (int j = 0; j < 8; j++) {
          int c[4];
          mma_s8_zero(c, a[j][0], a[j][1], a[j][2], a[j][3], x[j].x, x[j].y);
          sum[0] += s0[j] * c[0];
          sum[1] += s0[j] * c[1];
          sum[2] += s1[j] * c[2];
          sum[3] += s1[j] * c[3];
        }
        finish256(out[nt], sum, d0, d1, b.scale256(nt));
      }
  }
  // One token: each block has a column of the product to itself, so one chain of products keeps the eight sums apart.
  DEVM void dot_one(float (&out)[2], const OneB& b, const u32* table) const {
    const u32* mine = table + lane_id();
    int c[4] = {}, t = lane_id() % 4;
    uint2 x = b.block();
    UNROLL for (int j = 0; j < 8; j++) {
      u32 a[4];
      decode(mine[32 * byte_of(idx.x, idx.y, j)], (j < 4 ? sign.x : sign.y) >> (j % 4), &a[0], &a[2]);
      decode(mine[32 * byte_of(idx.z, idx.w, j)], (j < 4 ? sign.z : sign.w) >> (j % 4), &a[1], &a[3]);
      mma_s8(c, a[0], a[1], a[2], a[3], OneB::only(j, x.x), OneB::only(j, x.y));
    }
    u32 s0 = scale.x >> (8 * t), s1 = scale.y >> (8 * t); // of blocks 2t, 2t+1
    int r0 = OneB::sum4((2 * (int)(s0 & 15) + 1) * c[0] + (2 * (int)(s0 >> 4 & 15) + 1) * c[1]);
    int r1 = OneB::sum4((2 * (int)(s1 & 15) + 1) * c[2] + (2 * (int)(s1 >> 4 & 15) + 1) * c[3]);
    float d0 = 0.125f * half_float((u16)d), d1 = 0.125f * half_float((u16)(d >> 16)), xs = b.scale256(0).x;
    out[0] += d0 * xs * (float)r0;
    out[1] += d1 * xs * (float)r1;
  }
};

// Q2_K: [2][lane: 32] 16 bytes of codes of row g, of row g+8: quad q of the lane's 16 quads is bits 2(q%4) of the bytes of
// word q/4, and block j has quads 2j and 2j+1; [g: 8][half: 2] scale bytes of 8 blocks, row g then g+8; [g: 8] d, dmin pairs.
// Codes times 4-bit scales fit int8, so a tile is one chain of products.
struct TileQ2_K {
  static const int TYPE = T_Q2_K, BYTES = 1344;
  static const bool K256 = true, TABLE = false, ONE = false;
  uint4 q[2], s;
  uint2 d;
  template <class L> DEVM void load(const u8* p, int lane, L load16) {
    q[0] = load16(p + 16 * lane);
    q[1] = load16(p + 512 + 16 * lane);
    s = load16(p + 1024 + 16 * (2 * (lane / 4) + (lane % 4) / 2));
    d = *(const uint2*)(p + 1280 + 8 * (lane / 4));
  }
  static DEVM u32 quad(const uint4& v, int q) { return word(v, q / 4) >> (2 * (q % 4)) & 0x03030303; }
  template <int NT, class B> DEVM void dot(float (&out)[NT][4], const B& b, const u32*) const {
    u32 a[8][4], m[8][2];
    UNROLL for (int j = 0; j < 8; j++) {
      u32 c0 = byte_of(s.x, s.y, j), c1 = byte_of(s.z, s.w, j), s0 = c0 & 15, s1 = c1 & 15;
      m[j][0] = (c0 >> 4) * 0x01010101;
      m[j][1] = (c1 >> 4) * 0x01010101;
      a[j][0] = quad(q[0], 2 * j) * s0;
      a[j][1] = quad(q[1], 2 * j) * s1;
      a[j][2] = quad(q[0], 2 * j + 1) * s0;
      a[j][3] = quad(q[1], 2 * j + 1) * s1;
    }
    UNROLL for (int nt = 0; nt < NT; nt++)
      if (b.has(nt)) {
        uint2 x[8];
        int sum[4] = {}, mins[4] = {};
        b.values(nt, x);
        UNROLL for (int j = 0; j < 8; j++) {
          mma_s8(sum, a[j][0], a[j][1], a[j][2], a[j][3], x[j].x, x[j].y);
          mma_s8(mins, m[j][0], m[j][1], m[j][0], m[j][1], x[j].x, x[j].y);
        }
        finish256(out[nt], sum, mins, d, b.scale256(nt));
      }
  }
};

// Q4_K: [4][lane: 32] 16 bytes: words of blocks 0–7 of row g, then of row g+8, low nibbles the first four inputs; [g: 8] 8
// scales of row g, of g+8, 8 mins of row g, of g+8 (bytes); [g: 8] d, dmin pairs.
struct TileQ4_K {
  static const int TYPE = T_Q4_K, BYTES = 2368;
  static const bool K256 = true, TABLE = false, ONE = true;
  uint4 q[4], s, m;
  uint2 d;
  template <class L> DEVM void load(const u8* p, int lane, L load16) {
    UNROLL for (int j = 0; j < 4; j++) q[j] = load16(p + 512 * j + 16 * lane);
    s = load16(p + 2048 + 32 * (lane / 4));
    m = load16(p + 2048 + 32 * (lane / 4) + 16);
    d = *(const uint2*)(p + 2304 + 8 * (lane / 4));
  }
  template <int NT, class B> DEVM void dot(float (&out)[NT][4], const B& b, const u32*) const {
    u32 a[8][4], n[8][2];
    int s0[8], s1[8];
    UNROLL for (int j = 0; j < 8; j++) {
      u32 w0 = word(q[j / 4], j % 4), w1 = word(q[2 + j / 4], j % 4);
      a[j][0] = w0 & 0x0f0f0f0f;
      a[j][1] = w1 & 0x0f0f0f0f;
      a[j][2] = w0 >> 4 & 0x0f0f0f0f;
      a[j][3] = w1 >> 4 & 0x0f0f0f0f;
      s0[j] = (int)byte_of(s.x, s.y, j);
      s1[j] = (int)byte_of(s.z, s.w, j);
      n[j][0] = byte_of(m.x, m.y, j) * 0x01010101;
      n[j][1] = byte_of(m.z, m.w, j) * 0x01010101;
    }
    UNROLL for (int nt = 0; nt < NT; nt++)
      if (b.has(nt)) {
        uint2 x[8];
        int sum[4] = {}, mins[4] = {};
        b.values(nt, x);
        UNROLL for (int j = 0; j < 8; j++) {
          int c[4];
          mma_s8_zero(c, a[j][0], a[j][1], a[j][2], a[j][3], x[j].x, x[j].y);
          sum[0] += s0[j] * c[0];
          sum[1] += s0[j] * c[1];
          sum[2] += s1[j] * c[2];
          sum[3] += s1[j] * c[3];
          mma_s8(mins, n[j][0], n[j][1], n[j][0], n[j][1], x[j].x, x[j].y);
        }
        finish256(out[nt], sum, mins, d, b.scale256(nt));
      }
  }
  DEVM void dot_one(float (&out)[2], const OneB& b, const u32*) const {
    int c[4] = {}, n[4] = {}, t = lane_id() % 4;
    uint2 x = b.block();
    UNROLL for (int j = 0; j < 8; j++) {
      u32 w0 = word(q[j / 4], j % 4), w1 = word(q[2 + j / 4], j % 4), x0 = OneB::only(j, x.x), x1 = OneB::only(j, x.y);
      mma_s8(c, w0 & 0x0f0f0f0f, w1 & 0x0f0f0f0f, w0 >> 4 & 0x0f0f0f0f, w1 >> 4 & 0x0f0f0f0f, x0, x1);
      mma_s8(n, 0x01010101, 0x01010101, 0x01010101, 0x01010101, x0, x1); // sums of the activations
    }
    auto two = [&](u32 lo, u32 hi) { return (t < 2 ? lo : hi) >> (16 * (t & 1)); }; // of blocks 2t, 2t+1
    u32 s0 = two(s.x, s.y), s1 = two(s.z, s.w), m0 = two(m.x, m.y), m1 = two(m.z, m.w);
    int r[4] = {OneB::sum4((int)(s0 & 255) * c[0] + (int)(s0 >> 8 & 255) * c[1]), 0, OneB::sum4((int)(s1 & 255) * c[2] + (int)(s1 >> 8 & 255) * c[3]), 0};
    int k[4] = {OneB::sum4((int)(m0 & 255) * n[0] + (int)(m0 >> 8 & 255) * n[1]), 0, OneB::sum4((int)(m1 & 255) * n[2] + (int)(m1 >> 8 & 255) * n[3]), 0};
    float o[4] = {out[0], 0, out[1], 0};
    finish256(o, r, k, d, b.scale256(0));
    out[0] = o[0];
    out[1] = o[2];
  }
};

// dot_one adds the sums of one token, rows g and g+8, in lanes 4g: with the tile's own way for one token, if it has one.
template <class W> DEV void dot_one(float (&out)[2], const W& w, const OneB& b, const u32* table) {
  if constexpr (W::ONE) {
    w.dot_one(out, b, table);
  } else {
    float v[1][4] = {{out[0], 0, out[1], 0}};
    w.dot(v, b, table);
    out[0] = v[0][0];
    out[1] = v[0][2];
  }
}

// Activations in global memory, for few tokens. Tokens past the count repeat the last one: nobody takes their results.
template <int NT> struct GlobalB {
  const i8* q;
  const float* d;
  int cols, tokens;
  int k, last;                                  // first input of the tile, and its last block of 32
  int row[NT], col[NT][2];                      // of this lane: its token's row, and the rows of its two columns
  template <class AT> DEVM void prepare(AT at) { // at(n) is the row of token n
    int g = lane_id() / 4, t = lane_id() % 4;
    UNROLL for (int nt = 0; nt < NT; nt++) {
      row[nt] = at(min_i(8 * nt + g, tokens - 1));
      col[nt][0] = at(min_i(8 * nt + 2 * t, tokens - 1));
      col[nt][1] = at(min_i(8 * nt + 2 * t + 1, tokens - 1));
    }
  }
  DEVM bool has(int nt) const { return nt == 0 || 8 * nt < tokens; }
  DEVM void values(int nt, uint2 (&x)[8]) const {
    const i8* p = q + (u64)row[nt] * cols + k + 8 * (lane_id() % 4);
    UNROLL for (int j = 0; j < 8; j++) x[j] = *(const uint2*)(p + 32 * min_i(j, last));
  }
  DEVM float2 scale8(int nt, int j) const {
    int at = k / 32 + min_i(j, last);
    return {d[(u64)col[nt][0] * (cols / 32) + at], d[(u64)col[nt][1] * (cols / 32) + at]};
  }
  DEVM float2 scale256(int nt) const {
    return {d[(u64)col[nt][0] * (cols / 256) + k / 256], d[(u64)col[nt][1] * (cols / 256) + k / 256]};
  }
};

// Activations of up to eight tokens in shared memory, whole rows, zero up to a multiple of 256 inputs: see stage_rows.
struct RowsB {
  const u8* p;          // of this lane's token
  const float *d0, *d1; // scales of its two columns
  int k;                // first input of the tile, counted from the rows' start
  DEVM void prepare(u8* room, int width, int tokens) {
    const float* d = (const float*)(room + tokens * row_bytes(width));
    p = room + min_i(lane_id() / 4, tokens - 1) * row_bytes(width) + 8 * (lane_id() % 4);
    d0 = d + min_i(2 * (lane_id() % 4), tokens - 1) * row_scales(width);
    d1 = d + min_i(2 * (lane_id() % 4) + 1, tokens - 1) * row_scales(width);
  }
  static DEVM int row_bytes(int width) { return (width + 255) / 256 * 256 + 32; } // eight-byte reads of eight rows meet no bank twice
  static DEVM int row_scales(int width) { return (width + 255) / 256 * 8 + 4; }
  DEVM bool has(int) const { return true; }
  DEVM void values(int, uint2 (&x)[8]) const {
    UNROLL for (int j = 0; j < 8; j++) x[j] = *(const uint2*)(p + k + 32 * j);
  }
  DEVM float2 scale8(int, int j) const { return {d0[k / 32 + j], d1[k / 32 + j]}; }
  DEVM float2 scale256(int) const { return {0, 0}; } // of Q8_0 alone
};
template <int THREADS> DEV void stage_rows(u8* room, const i8* q, const float* d, int cols, int k0, int width, int tokens) {
  int stride = RowsB::row_bytes(width), d_stride = RowsB::row_scales(width), padded = (width + 255) / 256 * 256;
  float* s = (float*)(room + tokens * stride);
  for (int n = 0; n < tokens; n++) {
    for (int i = 16 * threadIdx.x; i < padded; i += 16 * THREADS) {
      uint4 v = {0, 0, 0, 0};
      if (i < width) v = *(const uint4*)(q + (u64)n * cols + k0 + i);
      *(uint4*)(room + n * stride + i) = v;
    }
    for (int i = threadIdx.x; i < padded / 32; i += THREADS) s[n * d_stride + i] = 32 * i < width ? d[(u64)n * (cols / 32) + k0 / 32 + i] : 0.0f;
  }
}

// Activations of 8·NT tokens by 256 inputs in shared memory. Rows are 288 bytes apart: eight-byte reads meet no bank twice.
const int B_STRIDE = 288;
template <int NT> struct SharedB {
  static const int BYTES = 8 * NT * B_STRIDE + 8 * NT * 8 * 4;
  const u8* p;
  int tokens;
  DEVM bool has(int nt) const { return 8 * nt < tokens; }
  DEVM void values(int nt, uint2 (&x)[8]) const {
    const u8* r = p + (8 * nt + lane_id() / 4) * B_STRIDE + 8 * (lane_id() % 4);
    UNROLL for (int j = 0; j < 8; j++) x[j] = *(const uint2*)(r + 32 * j);
  }
  DEVM float2 scale8(int nt, int j) const { return ((const float2*)(p + 8 * NT * B_STRIDE))[(j * 8 * NT + 8 * nt) / 2 + lane_id() % 4]; }
  DEVM float2 scale256(int nt) const { return ((const float2*)(p + 8 * NT * B_STRIDE))[4 * nt + lane_id() % 4]; }
};

// stage copies a tile of activations to shared memory; row(n) is the row of token n. Past the tokens and the width it
// leaves zeros, for the token groups that exist.
template <int NT, int THREADS, bool K256, class ROW> DEV void stage(u8* dst, const i8* q, const float* d, int cols, int k, int width, int tokens, ROW row) {
  int in = min_i(256, width) / 16, padded = (tokens + 7) & ~7;
  for (int i = threadIdx.x; i < padded * 16; i += THREADS) {
    int n = i / 16, c = i % 16;
    if (n < tokens && c < in)
      copy16_async(dst + n * B_STRIDE + 16 * c, q + (u64)row(n) * cols + k + 16 * c);
    else
      *(uint4*)(dst + n * B_STRIDE + 16 * c) = {0, 0, 0, 0};
  }
  float* s = (float*)(dst + 8 * NT * B_STRIDE);
  for (int i = threadIdx.x; i < 8 * NT * (K256 ? 1 : 8); i += THREADS) {
    int n = i % (8 * NT), j = i / (8 * NT);
    if (n < tokens && (K256 || 2 * j < in))
      copy4_async(s + j * 8 * NT + n, K256 ? d + (u64)row(n) * (cols / 256) + k / 256 : d + (u64)row(n) * (cols / 32) + k / 32 + j);
    else
      s[j * 8 * NT + n] = 0;
  }
}

// copy_table fills shared memory with the IQ2_XXS selectors, one copy a bank.
template <int THREADS> DEV void copy_table(u32* dst, const u32* table) {
  for (int i = threadIdx.x; i < 256 * 32; i += THREADS) dst[i] = table[i / 32];
}
