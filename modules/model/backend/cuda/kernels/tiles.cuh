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
//	bool has(int nt)                              false: no token of the group exists (the whole warp agrees)
//	uint2 q8(int nt, int j)                       8 values of token 8·nt+g at input 32j+8t
//	float2 scale8(int nt, int j), scale256(int nt) of tokens 8·nt+2t and +1
#pragma once
#include "quant.cuh"

// Weight types: numbers of the GGUF format.
enum { T_F32 = 0, T_F16 = 1, T_Q8_0 = 8, T_Q2_K = 10, T_Q4_K = 12, T_IQ2_XXS = 16, T_I32 = 26, T_MXFP4 = 39 };

// An int below 2^22 added to the bits of 1.5·2^23 is that float plus the int: a conversion that costs one addition.
const int MAGIC = 0x4b400000;
DEV float magic_float(int v) { return as_float((u32)v) - 12582912.0f; }

template <int NT> DEV void add_scaled(float (&acc)[NT][4], int nt, const int (&c)[4], float w0, float w1, float2 x) {
  acc[nt][0] = fma_rn(w0 * x.x, magic_float(c[0]), acc[nt][0]);
  acc[nt][1] = fma_rn(w0 * x.y, magic_float(c[1]), acc[nt][1]);
  acc[nt][2] = fma_rn(w1 * x.x, magic_float(c[2]), acc[nt][2]);
  acc[nt][3] = fma_rn(w1 * x.y, magic_float(c[3]), acc[nt][3]);
}

// Q8_0: [block of 32: 8][lane: 32] 16 bytes of values, then [g: 8][block: 8] scale pairs (f16, rows g and g+8).
struct TileQ8_0 {
  static const int TYPE = T_Q8_0, BYTES = 4352;
  static const bool K256 = false, TABLE = false;
  uint4 q[8], s[2];
  DEVM void load(const u8* p, int lane) {
    UNROLL for (int j = 0; j < 8; j++) q[j] = load16(p + 512 * j + 16 * lane);
    s[0] = load16(p + 4096 + 32 * (lane / 4));
    s[1] = load16(p + 4096 + 32 * (lane / 4) + 16);
  }
  DEVM u32 scales(int j) const {
    const uint4& v = s[j / 4];
    return j % 4 == 0 ? v.x : j % 4 == 1 ? v.y : j % 4 == 2 ? v.z : v.w;
  }
  template <int NT, class B> DEVM void dot(float (&out)[NT][4], const B& b, int blocks, const u32*) const {
    float acc[NT][4] = {};
    UNROLL for (int j = 0; j < 8; j++) {
      if (j < blocks) {
        float w0 = half_float((u16)scales(j)), w1 = half_float((u16)(scales(j) >> 16));
        UNROLL for (int nt = 0; nt < NT; nt++)
          if (b.has(nt)) {
            uint2 x = b.q8(nt, j);
            int c[4] = {MAGIC, MAGIC, MAGIC, MAGIC};
            mma_s8(c, q[j].x, q[j].y, q[j].z, q[j].w, x.x, x.y);
            add_scaled(acc, nt, c, w0, w1, b.scale8(nt, j));
          }
      }
    }
    UNROLL for (int nt = 0; nt < NT; nt++) UNROLL for (int i = 0; i < 4; i++) out[nt][i] += acc[nt][i];
  }
};

// MXFP4: [4][lane: 32] 16 bytes: words are 8 codes, first input in the low nibble; blocks 0–7 of row g, then of row g+8;
// then [g: 8] exponents of 8 blocks of row g, of row g+8.
struct TileMXFP4 {
  static const int TYPE = T_MXFP4, BYTES = 2176;
  static const bool K256 = false, TABLE = false;
  uint4 q[4], e;
  DEVM void load(const u8* p, int lane) {
    UNROLL for (int j = 0; j < 4; j++) q[j] = load16(p + 512 * j + 16 * lane);
    e = load16(p + 2048 + 16 * (lane / 4));
  }
  static DEVM u32 word(const uint4& lo, const uint4& hi, int j) {
    const uint4& v = j < 4 ? lo : hi;
    return j % 4 == 0 ? v.x : j % 4 == 1 ? v.y : j % 4 == 2 ? v.z : v.w;
  }
  static DEVM void decode(u32 w, u32* lo, u32* hi) { // twice the value of each code
    u32 m0 = byte_perm(w << 4, w, 0xd9c8), m1 = byte_perm(w << 4, w, 0xfbea), sel = w & 0x77777777;
    *lo = (byte_perm(0x03020100, 0x0c080604, sel) & ~m0) | (byte_perm(0xfdfeff00, 0xf4f8fafc, sel) & m0);
    *hi = (byte_perm(0x03020100, 0x0c080604, sel >> 16) & ~m1) | (byte_perm(0xfdfeff00, 0xf4f8fafc, sel >> 16) & m1);
  }
  template <int NT, class B> DEVM void dot(float (&out)[NT][4], const B& b, int blocks, const u32*) const {
    float acc[NT][4] = {};
    UNROLL for (int j = 0; j < 8; j++) {
      u32 a0, a1, a2, a3;
      decode(word(q[0], q[1], j), &a0, &a2);
      decode(word(q[2], q[3], j), &a1, &a3);
      float w0 = pow2((int)((j < 4 ? e.x : e.y) >> (8 * (j % 4)) & 255) - 128);
      float w1 = pow2((int)((j < 4 ? e.z : e.w) >> (8 * (j % 4)) & 255) - 128);
      UNROLL for (int nt = 0; nt < NT; nt++)
        if (b.has(nt)) {
          uint2 x = b.q8(nt, j);
          int c[4] = {MAGIC, MAGIC, MAGIC, MAGIC};
          mma_s8(c, a0, a1, a2, a3, x.x, x.y);
          add_scaled(acc, nt, c, w0, w1, b.scale8(nt, j));
        }
    }
    UNROLL for (int nt = 0; nt < NT; nt++) UNROLL for (int i = 0; i < 4; i++) out[nt][i] += acc[nt][i];
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
  static const bool K256 = true, TABLE = true;
  uint4 idx, sign;
  uint2 scale;
  u32 d;
  DEVM void load(const u8* p, int lane) {
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
  template <int NT, class B> DEVM void dot(float (&out)[NT][4], const B& b, int, const u32* table) const {
    int sum[NT][4] = {};
    const u32* mine = table + lane_id();
    UNROLL for (int j = 0; j < 8; j++) {
      u32 i0 = (j < 4 ? idx.x : idx.y) >> (8 * (j % 4)) & 255, i1 = (j < 4 ? idx.z : idx.w) >> (8 * (j % 4)) & 255;
      u32 a0, a1, a2, a3;
      decode(mine[32 * i0], (j < 4 ? sign.x : sign.y) >> (j % 4), &a0, &a2);
      decode(mine[32 * i1], (j < 4 ? sign.z : sign.w) >> (j % 4), &a1, &a3);
      int s0 = 2 * (int)(scale.x >> (4 * j) & 15) + 1, s1 = 2 * (int)(scale.y >> (4 * j) & 15) + 1;
      UNROLL for (int nt = 0; nt < NT; nt++)
        if (b.has(nt)) {
          uint2 x = b.q8(nt, j);
          int c[4] = {};
          mma_s8(c, a0, a1, a2, a3, x.x, x.y);
          sum[nt][0] += s0 * c[0];
          sum[nt][1] += s0 * c[1];
          sum[nt][2] += s1 * c[2];
          sum[nt][3] += s1 * c[3];
        }
    }
    float d0 = 0.125f * half_float((u16)d), d1 = 0.125f * half_float((u16)(d >> 16));
    UNROLL for (int nt = 0; nt < NT; nt++)
      if (b.has(nt)) finish256(out[nt], sum[nt], d0, d1, b.scale256(nt));
  }
};

// Q2_K: [2][lane: 32] 16 bytes of codes of row g, of row g+8: quad q of the lane's 16 quads is bits 2(q%4) of the bytes of
// word q/4, and block j has quads 2j and 2j+1; [g: 8][half: 2] scale bytes of 8 blocks, row g then g+8; [g: 8] d, dmin pairs.
// Codes times 4-bit scales fit int8, so a tile is one chain of products.
struct TileQ2_K {
  static const int TYPE = T_Q2_K, BYTES = 1344;
  static const bool K256 = true, TABLE = false;
  uint4 q[2], s;
  uint2 d;
  DEVM void load(const u8* p, int lane) {
    q[0] = load16(p + 16 * lane);
    q[1] = load16(p + 512 + 16 * lane);
    s = load16(p + 1024 + 16 * (2 * (lane / 4) + (lane % 4) / 2));
    d = *(const uint2*)(p + 1280 + 8 * (lane / 4));
  }
  static DEVM u32 quad(const uint4& v, int q) {
    u32 w = q / 4 == 0 ? v.x : q / 4 == 1 ? v.y : q / 4 == 2 ? v.z : v.w;
    return w >> (2 * (q % 4)) & 0x03030303;
  }
  template <int NT, class B> DEVM void dot(float (&out)[NT][4], const B& b, int, const u32*) const {
    int sum[NT][4] = {}, mins[NT][4] = {};
    UNROLL for (int j = 0; j < 8; j++) {
      u32 c0 = (j < 4 ? s.x : s.y) >> (8 * (j % 4)), c1 = (j < 4 ? s.z : s.w) >> (8 * (j % 4));
      u32 s0 = c0 & 15, s1 = c1 & 15, m0 = (c0 >> 4 & 15) * 0x01010101, m1 = (c1 >> 4 & 15) * 0x01010101;
      u32 a0 = quad(q[0], 2 * j) * s0, a2 = quad(q[0], 2 * j + 1) * s0, a1 = quad(q[1], 2 * j) * s1, a3 = quad(q[1], 2 * j + 1) * s1;
      UNROLL for (int nt = 0; nt < NT; nt++)
        if (b.has(nt)) {
          uint2 x = b.q8(nt, j);
          mma_s8(sum[nt], a0, a1, a2, a3, x.x, x.y);
          mma_s8(mins[nt], m0, m1, m0, m1, x.x, x.y);
        }
    }
    UNROLL for (int nt = 0; nt < NT; nt++)
      if (b.has(nt)) finish256(out[nt], sum[nt], mins[nt], d, b.scale256(nt));
  }
};

// Q4_K: [4][lane: 32] 16 bytes: words of blocks 0–7 of row g, then of row g+8, low nibbles the first four inputs; [g: 8] 8
// scales of row g, of g+8, 8 mins of row g, of g+8 (bytes); [g: 8] d, dmin pairs.
struct TileQ4_K {
  static const int TYPE = T_Q4_K, BYTES = 2368;
  static const bool K256 = true, TABLE = false;
  uint4 q[4], s, m;
  uint2 d;
  DEVM void load(const u8* p, int lane) {
    UNROLL for (int j = 0; j < 4; j++) q[j] = load16(p + 512 * j + 16 * lane);
    s = load16(p + 2048 + 32 * (lane / 4));
    m = load16(p + 2048 + 32 * (lane / 4) + 16);
    d = *(const uint2*)(p + 2304 + 8 * (lane / 4));
  }
  template <int NT, class B> DEVM void dot(float (&out)[NT][4], const B& b, int, const u32*) const {
    int sum[NT][4] = {}, mins[NT][4] = {};
    UNROLL for (int j = 0; j < 8; j++) {
      u32 w0 = TileMXFP4::word(q[0], q[1], j), w1 = TileMXFP4::word(q[2], q[3], j);
      int s0 = (int)((j < 4 ? s.x : s.y) >> (8 * (j % 4)) & 255), s1 = (int)((j < 4 ? s.z : s.w) >> (8 * (j % 4)) & 255);
      u32 m0 = ((j < 4 ? m.x : m.y) >> (8 * (j % 4)) & 255) * 0x01010101, m1 = ((j < 4 ? m.z : m.w) >> (8 * (j % 4)) & 255) * 0x01010101;
      UNROLL for (int nt = 0; nt < NT; nt++)
        if (b.has(nt)) {
          uint2 x = b.q8(nt, j);
          int c[4] = {};
          mma_s8(c, w0 & 0x0f0f0f0f, w1 & 0x0f0f0f0f, w0 >> 4 & 0x0f0f0f0f, w1 >> 4 & 0x0f0f0f0f, x.x, x.y);
          sum[nt][0] += s0 * c[0];
          sum[nt][1] += s0 * c[1];
          sum[nt][2] += s1 * c[2];
          sum[nt][3] += s1 * c[3];
          mma_s8(mins[nt], m0, m1, m0, m1, x.x, x.y);
        }
    }
    UNROLL for (int nt = 0; nt < NT; nt++)
      if (b.has(nt)) finish256(out[nt], sum[nt], mins[nt], d, b.scale256(nt));
  }
};

// Activations in global memory, for few tokens: token[nt] is a row number of the forms, or −1.
template <int NT> struct GlobalB {
  const i8* q;
  const float* d;
  int cols, first, tokens; // token n of this launch is row at(n)
  const int* map;          // null: the identity
  int share;               // map holds pairs; the row is pair/share (1: the pair itself)
  int k;                   // first input of the tile
  int row[NT], col[NT][2]; // of this lane: its token, and the tokens of its two columns
  DEVM int at(int n) const {
    if (n >= tokens) return -1;
    return map ? map[first + n] / share : first + n;
  }
  DEVM void prepare() {
    int g = lane_id() / 4, t = lane_id() % 4;
    UNROLL for (int nt = 0; nt < NT; nt++) {
      row[nt] = at(8 * nt + g);
      col[nt][0] = at(8 * nt + 2 * t);
      col[nt][1] = at(8 * nt + 2 * t + 1);
    }
  }
  DEVM bool has(int nt) const { return nt == 0 || 8 * nt < tokens; }
  DEVM uint2 q8(int nt, int j) const {
    if (row[nt] < 0) return {0, 0};
    return *(const uint2*)(q + (u64)row[nt] * cols + k + 32 * j + 8 * (lane_id() % 4));
  }
  DEVM float scale(int r, int per, int at) const { return r < 0 ? 0.0f : d[(u64)r * (cols / per) + at]; }
  DEVM float2 scale8(int nt, int j) const { return {scale(col[nt][0], 32, k / 32 + j), scale(col[nt][1], 32, k / 32 + j)}; }
  DEVM float2 scale256(int nt) const { return {scale(col[nt][0], 256, k / 256), scale(col[nt][1], 256, k / 256)}; }
};

// Activations of 8·NT tokens by 256 inputs in shared memory. Rows are 288 bytes apart: eight-byte reads meet no bank twice.
const int B_STRIDE = 288;
template <int NT> struct SharedB {
  static const int BYTES = 8 * NT * B_STRIDE + 8 * NT * 8 * 4;
  const u8* p;
  int tokens;
  DEVM bool has(int nt) const { return 8 * nt < tokens; }
  DEVM uint2 q8(int nt, int j) const {
    return *(const uint2*)(p + (8 * nt + lane_id() / 4) * B_STRIDE + 32 * j + 8 * (lane_id() % 4));
  }
  DEVM float2 scale8(int nt, int j) const { return ((const float2*)(p + 8 * NT * B_STRIDE))[(j * 8 * NT + 8 * nt) / 2 + lane_id() % 4]; }
  DEVM float2 scale256(int nt) const { return scale8(nt, 0); }
};

// stage copies a tile of activations to shared memory; tokens past the count are zero. map and share as above.
template <int NT, int THREADS, bool K256> DEV void stage(u8* dst, const i8* q, const float* d, int cols, int k, const int* map, int share, int first, int tokens) {
  int in = min_i(256, cols - k) / 16;
  for (int i = threadIdx.x; i < 8 * NT * 16; i += THREADS) {
    int n = i / 16, c = i % 16;
    if (n < tokens && c < in) {
      u64 row = map ? map[first + n] / share : first + n;
      copy16_async(dst + n * B_STRIDE + 16 * c, q + row * cols + k + 16 * c);
    } else if (n < ((tokens + 7) & ~7)) {
      *(uint4*)(dst + n * B_STRIDE + 16 * c) = {0, 0, 0, 0};
    }
  }
  float* s = (float*)(dst + 8 * NT * B_STRIDE);
  int blocks = K256 ? 1 : in / 2;
  for (int i = threadIdx.x; i < 8 * NT * blocks; i += THREADS) {
    int n = i % (8 * NT), j = i / (8 * NT);
    if (n < tokens) {
      u64 row = map ? map[first + n] / share : first + n;
      copy4_async(s + j * 8 * NT + n, K256 ? d + row * (cols / 256) + k / 256 : d + row * (cols / 32) + k / 32 + j);
    } else {
      s[j * 8 * NT + n] = 0;
    }
  }
}

// copy_table fills shared memory with the IQ2_XXS selectors, one copy a bank.
template <int THREADS> DEV void copy_table(u32* dst, const u32* table) {
  for (int i = threadIdx.x; i < 256 * 32; i += THREADS) dst[i] = table[i / 32];
}
