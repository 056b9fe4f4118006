// What all kernels share: the step block, reductions in a fixed order, functions of one value, and packed cache rows.
#pragma once
#include "builtins.cuh"

// The step block: what changes from step to step lies at a fixed address, so that a captured graph serves every token.
struct Row { int token, pos, span, from; };
struct Span { int seq, slot, into, pos, row, rows; };
struct TopQuery { int out, mask, bias, biases; float inv_temp; };
struct Bias { int id; float add, rep; };
struct Step {
  int rows, spans, outs, tops, biases, tape, indexed, bucket;
  int row_at, span_at, out_at, top_at, bias_at, reserved[3];
};
static_assert(sizeof(Step) == 64 && sizeof(Row) == 16 && sizeof(Span) == 24 && sizeof(TopQuery) == 20 && sizeof(Bias) == 12, "step block");

DEV const Row* rows_of(const Step* s) { return (const Row*)((const u8*)s + s->row_at); }
DEV const Span* spans_of(const Step* s) { return (const Span*)((const u8*)s + s->span_at); }
DEV const int* outs_of(const Step* s) { return (const int*)((const u8*)s + s->out_at); }
DEV const TopQuery* tops_of(const Step* s) { return (const TopQuery*)((const u8*)s + s->top_at); }
DEV const Bias* biases_of(const Step* s) { return (const Bias*)((const u8*)s + s->bias_at); }

// Which count of the step a kernel's tokens are.
enum { COUNT_ROWS = 0, COUNT_OUTS = 1 };
DEV int count_of(const Step* s, int which) { return which == COUNT_OUTS ? s->outs : s->rows; }

// The constant dimensions of a model, and where persistent bytes lie; layer-dependent members are set by the launcher.
struct State {
  u8 *slots, *pages; // already moved to the layer's part
  const int* table;
  u64 slot_stride, page_stride;
  int table_stride; // page numbers in a row of the table
  int ratio, ring, comp_ring, comp_row, page_rows, kv_row, kv_exp, index_at, index_exp_at;
};

DEV int lane_id() { return threadIdx.x & 31; }
DEV int warp_id() { return threadIdx.x >> 5; }
DEV float shfl_xor_f(float v, int mask) { return as_float(shfl_xor(as_uint(v), mask)); }
DEV float shfl_f(float v, int lane) { return as_float(shfl(as_uint(v), lane)); }

// Sums and maxima over a warp or a block, in an order that depends on the thread count alone.
DEV float warp_sum(float v) {
  UNROLL for (int o = 16; o; o >>= 1) v += shfl_xor_f(v, o);
  return v;
}
DEV float warp_max(float v) {
  UNROLL for (int o = 16; o; o >>= 1) v = max_f(v, shfl_xor_f(v, o));
  return v;
}
template <int THREADS> DEV float block_sum(float v) {
  SHARED float part[32];
  v = warp_sum(v);
  sync_block();
  if (lane_id() == 0) part[warp_id()] = v;
  sync_block();
  float s = 0;
  UNROLL for (int i = 0; i < THREADS / 32; i++) s += part[i];
  return s;
}
template <int THREADS> DEV float block_max(float v) {
  SHARED float part[32];
  v = warp_max(v);
  sync_block();
  if (lane_id() == 0) part[warp_id()] = v;
  sync_block();
  float s = part[0];
  UNROLL for (int i = 1; i < THREADS / 32; i++) s = max_f(s, part[i]);
  return s;
}

DEV float exp_f(float x) { // two pieces of log2(e): the product's error must not grow with x
  const float hi = 1.442695041f, lo = 1.9259629911e-8f;
  float t = x * hi;
  float e = fma_rn(x, hi, -t);
  e = fma_rn(x, lo, e);
  float p = exp2_fast(t);
  return fma_rn(p, e * 0.6931471806f, p);
}
DEV float sigmoid(float x) {
  if (x >= 0) return 1.0f / (1.0f + exp_f(-x));
  float e = exp_f(x);
  return e / (1.0f + e);
}
// log1p by the classical correction: exact where 1+x rounds.
DEV float log1p_f(float x) {
  float u = 1.0f + x;
  if (u == 1.0f) return x;
  return log2_fast(u) * 0.6931471806f * (x / (u - 1.0f));
}
DEV float softplus(float x) {
  if (x > 20) return x;
  if (x < -20) return exp_f(x);
  return log1p_f(exp_f(x));
}
DEV float swiglu(float g, float u, float clamp) {
  g = min_f(g, clamp);
  return g * sigmoid(g) * min_f(max_f(u, -clamp), clamp);
}
DEV float pow2(int e) { // 2^e, subnormals included
  if (e < -126) return e < -149 ? 0.0f : as_float(1u << (e + 149));
  return as_float((u32)(min_i(e, 127) + 127) << 23);
}
// block_exponent is the exponent of the smallest power of two that is not under x (positive, normal).
DEV int block_exponent(float x) {
  u32 b = as_uint(x);
  return (int)(b >> 23) - 127 + ((b & 0x7fffff) != 0);
}

DEV u8 float_e4m3(float v) { // |v| ≤ 448: nearest, ties to even
  u32 b = as_uint(v), sign = b >> 24 & 0x80;
  b &= 0x7fffffff;
  if (b < 0x3c800000) return (u8)(sign | (u32)(int)rint_even(as_float(b) * 512.0f)); // below 2^−6: multiples of 2^−9
  b += 0x7ffff + (b >> 20 & 1);
  return (u8)(sign | ((b >> 20) - (120 << 3)));
}
DEV u8 float_e2m1(float v) { // |v| ≤ 6
  float m = abs_f(v);
  u32 c = m <= 0.25f ? 0 : m < 0.75f ? 1 : m <= 1.25f ? 2 : m < 1.75f ? 3 : m <= 2.5f ? 4 : m < 3.5f ? 5 : m <= 5.0f ? 6 : 7;
  return (u8)(c | (as_uint(v) >> 31) << 3);
}
// e2m1_twice is twice the value of a code.
DEV int e2m1_twice(u32 c) {
  int m = (int)(0xc8643210u >> (4 * (c & 7)) & 15);
  return c & 8 ? -m : m;
}

// Rotation of pair k at a position. cos and sin are taken in f64 after a reduction by 2π/4, so that far positions keep
// their angle; the angle itself follows the reference: sequential f32 products, blended for compressed layers.
struct Rope { float step[2]; float low, high, inv_factor; int pairs; };
DEV float rope_angle(const Rope& r, int kind, int pos, int k) {
  float theta = (float)pos;
  for (int i = 0; i < k; i++) theta *= r.step[kind];
  if (kind == 0) return theta;
  float ramp = 1 - min_f(1, max_f(0, ((float)k - r.low) / max_f(0.001f, r.high - r.low)));
  return (r.inv_factor * theta) * (1 - ramp) + theta * ramp;
}
DEV void cos_sin(float angle, float* c, float* s) {
  double x = angle, q = x * 0.63661977236758134308;
  long long n = (long long)(q + (q >= 0 ? 0.5 : -0.5));
  double r = x - (double)n * 1.57079632679489661923;
  r -= (double)n * 6.123233995736766e-17;
  double z = r * r;
  double sn = r + r * z * (-1.66666666666666324348e-01 + z * (8.33333333332248946124e-03 + z * (-1.98412698298579493134e-04 +
              z * (2.75573137070700676789e-06 + z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)))));
  double cs = 1 - 0.5 * z + z * z * (4.16666666666666019037e-02 + z * (-1.38888888888741095749e-03 + z * (2.48015872894767294178e-05 +
              z * (-2.75573143513906633035e-07 + z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11)))));
  int m = (int)(n & 3);
  *c = (float)(m == 0 ? cs : m == 1 ? -sn : m == 2 ? -cs : sn);
  *s = (float)(m == 0 ? sn : m == 1 ? cs : m == 2 ? -sn : -cs);
}

// norm_head norms a query head of up to 512 values and rotates its tail; v[j] of a lane are values 4·lane + 128j ….
DEV void norm_head(float4 (&v)[4], int d, int rope_dim, const float* cs, float eps) {
  float s = 0;
  UNROLL for (int j = 0; j < 4; j++) {
    s = fma_rn(v[j].x, v[j].x, s); s = fma_rn(v[j].y, v[j].y, s); s = fma_rn(v[j].z, v[j].z, s); s = fma_rn(v[j].w, v[j].w, s);
  }
  float scale = 1.0f / sqrt_rn(warp_sum(s) / (float)d + eps);
  UNROLL for (int j = 0; j < 4; j++) {
    int k = 4 * lane_id() + 128 * j - (d - rope_dim);
    float4 u = {v[j].x * scale, v[j].y * scale, v[j].z * scale, v[j].w * scale};
    if (k >= 0 && k < rope_dim) {
      float4 c = *(const float4*)(cs + k);
      u = {u.x * c.x - u.y * c.y, u.x * c.y + u.y * c.x, u.z * c.z - u.w * c.w, u.z * c.w + u.w * c.z};
    }
    v[j] = u;
  }
}

// Where a compressed row of a sequence lies: the page's part, and the row's number within it.
DEV u8* page_of(const State& st, int seq, int c, int* at) {
  *at = c % st.page_rows;
  return st.pages + (u64)st.table[(u64)seq * st.table_stride + c / st.page_rows] * st.page_stride;
}

// ring_row is where a row of the step goes in its span's ring; null where the ring will not hold it.
DEV u8* ring_row(const Step* step, u8* ring, u64 slot_stride, int ring_rows, int row_bytes, int row) {
  Row r = rows_of(step)[row];
  Span sp = spans_of(step)[r.span];
  if (r.pos < sp.pos + sp.rows - ring_rows) return nullptr;
  return ring + sp.into * slot_stride + (u64)(r.pos % ring_rows) * row_bytes;
}

// pack_kv stores a KV row of d floats in shared memory x. All threads of the block take part.
template <int THREADS> DEV void pack_kv(u8* dst, const float* x, int d, int rope, int row_bytes) {
  int nope = d - rope, blocks = nope / 64;
  for (int b = warp_id(); b < blocks; b += THREADS / 32) {
    float v0 = x[64 * b + 2 * lane_id()], v1 = x[64 * b + 2 * lane_id() + 1];
    float m = max_f(warp_max(max_f(abs_f(v0), abs_f(v1))), 1e-4f);
    int e = block_exponent(m / 448.0f);
    float inv = pow2(-e); // exact: dividing by a power of two
    u32 lo = float_e4m3(min_f(max_f(v0 * inv, -448), 448)), hi = float_e4m3(min_f(max_f(v1 * inv, -448), 448));
    ((u16*)dst)[32 * b + lane_id()] = (u16)(lo | hi << 8);
    if (lane_id() == 0) dst[d + rope + b] = (u8)(i8)e;
  }
  for (int i = threadIdx.x; i < rope; i += THREADS) ((u16*)(dst + nope))[i] = float_half(x[nope + i]);
  for (int i = d + rope + blocks + threadIdx.x; i < row_bytes; i += THREADS) dst[i] = 0;
}

// e4m3_halves turns two codes (in the low bytes of v's halves: bits 0–7 and 16–23) into f16 values as a reader sees them:
// the codes' bits are an f16 of 2^−8 times the value; scale puts 2^(e+8) back, rounding like a store of f16.
DEV u32 e4m3_halves(u32 v, u32 scale) {
  u32 h = (v & 0x00800080) << 8 | (v & 0x007f007f) << 7;
  return half2_mul(h, scale);
}
DEV u32 e4m3_scale(int e) { // two f16 of 2^(e+8), in the range that f16 has
  int x = min_i(max_i(e + 8 + 15, 1), 30);
  return (u32)x << 10 | (u32)x << 26;
}
