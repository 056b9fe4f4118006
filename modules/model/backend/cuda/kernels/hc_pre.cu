// HCPre folds the four residual streams into the single row that a sublayer reads, and norms it.
//
// hc_mix multiplies slices of 256 of the flattened streams with the control matrix: a warp holds a slice of eight rows in
// registers, scaled by a power of two of its own and split into f16 pairs, so that no stream is too large or too small.
// hc_pre adds the slices in order and does everything that needs the whole row.
#include "quant.cuh"

struct HCMixArgs { const Step* step; const u8* fn; const float* hc; float* part; int n, k, which, f32; }; // fn (n, k)
static_assert(sizeof(HCMixArgs) == 48, "mirrored in args.go");

// part is (slice, row, 32): n products, and the sum of squares in the last place.
KERNEL(hc_mix, HCMixArgs, 128) {
  wait_previous();
  allow_next();
  int count = count_of(a.step, a.which), row = blockIdx.y * 8 + lane_id() / 4, slice = blockIdx.x * 4 + warp_id(), t = lane_id() % 4;
  if ((int)blockIdx.y * 8 >= count || 256 * slice >= a.k) return;
  int src = row >= count ? -1 : a.which == COUNT_OUTS ? outs_of(a.step)[row] : row;
  float x[8][8], m = 0, squares = 0;
  UNROLL for (int j = 0; j < 8; j++) {
    load8(x[j], a.hc + (u64)(src < 0 ? 0 : src) * a.k + 256 * slice, 32 * j + 8 * t, src < 0 ? 0 : 256);
    UNROLL for (int i = 0; i < 8; i++) {
      m = max_f(m, abs_f(x[j][i]));
      squares = fma_rn(x[j][i], x[j][i], squares);
    }
  }
  m = max_f(m, shfl_xor_f(m, 1));
  m = max_f(m, shfl_xor_f(m, 2));
  squares += shfl_xor_f(squares, 1);
  squares += shfl_xor_f(squares, 2);
  int e = m > 1e-30f ? block_exponent(m) : 0;
  float inv = pow2(-e), scale = pow2(e);
  float c[2][4] = {};
  UNROLL for (int j = 0; j < 8; j++) {
    u32 hi[4], lo[4];
    UNROLL for (int i = 0; i < 4; i++) {
      float u = x[j][2 * i] * inv, v = x[j][2 * i + 1] * inv;
      u16 h0 = float_half(u), h1 = float_half(v);
      hi[i] = h0 | (u32)h1 << 16;
      lo[i] = float_half(u - half_float(h0)) | (u32)float_half(v - half_float(h1)) << 16;
    }
    UNROLL for (int mt = 0; mt < 2; mt++) {
      uint4 w[2];
      UNROLL for (int h = 0; h < 2; h++) {
        int r = min_i(16 * mt + 8 * h + lane_id() / 4, a.n - 1);
        u64 at = (u64)r * a.k + 256 * slice + 32 * j + 8 * t;
        if (a.f32) { // rounded to f16: the products are a few ulps of f16 off, as documented
          const float* p = (const float*)a.fn + at;
          w[h] = {float_half(p[0]) | (u32)float_half(p[1]) << 16, float_half(p[2]) | (u32)float_half(p[3]) << 16,
                  float_half(p[4]) | (u32)float_half(p[5]) << 16, float_half(p[6]) | (u32)float_half(p[7]) << 16};
        } else {
          w[h] = *(const uint4*)((const u16*)a.fn + at);
        }
      }
      mma_f16(c[mt], w[0].x, w[1].x, w[0].y, w[1].y, hi[0], hi[1]);
      mma_f16(c[mt], w[0].z, w[1].z, w[0].w, w[1].w, hi[2], hi[3]);
      mma_f16(c[mt], w[0].x, w[1].x, w[0].y, w[1].y, lo[0], lo[1]);
      mma_f16(c[mt], w[0].z, w[1].z, w[0].w, w[1].w, lo[2], lo[3]);
    }
  }
  float s0 = shfl_f(scale, 8 * t), s1 = shfl_f(scale, 8 * t + 4); // of the columns 2t and 2t+1
  UNROLL for (int mt = 0; mt < 2; mt++)
    UNROLL for (int i = 0; i < 4; i++) {
      int r = 16 * mt + lane_id() / 4 + 8 * (i / 2), col = blockIdx.y * 8 + 2 * t + (i & 1);
      if (r < a.n && col < count) a.part[((u64)slice * count + col) * 32 + r] = c[mt][i] * (i & 1 ? s1 : s0);
    }
  if (t == 0 && row < count) a.part[((u64)slice * count + row) * 32 + 31] = squares;
}

// Controls: m (n) of one row from its slices, in shared memory.
DEV void sum_slices(float* m, const float* part, int row, int count, int n, int k, float eps) {
  int i = threadIdx.x;
  if (i < 32) {
    float s = 0;
    if (i < n || i == 31)
      for (int j = 0; j < k / 256; j++) s += part[((u64)j * count + row) * 32 + i];
    float ss = shfl_f(s, 31);
    m[i] = s * (1.0f / sqrt_rn(ss / (float)k + eps));
  }
  sync_block();
}

DEV float quad_sum_ordered(float v, int base, int stride) { // v of four lanes, ascending
  float s = shfl_f(v, base);
  UNROLL for (int i = 1; i < 4; i++) s += shfl_f(v, base + i * stride);
  return s;
}

struct HCPreArgs {
  const Step* step;
  const float *part, *scale, *base, *norm, *hc;
  float *x, *mix;
  Forms f;
  int d, rounds, which, head; // head: four weights and no more
  float eps, hc_eps;
};
static_assert(sizeof(HCPreArgs) == 136, "mirrored in args.go");

// split_control: pre, post, and the 4×4 matrix by Sinkhorn rounds; lanes 0–15 of warp 0 hold one entry each.
DEV void split_control(float* mix, const float* m, const HCPreArgs& a) {
  int i = threadIdx.x;
  if (i >= 32) return;
  if (i < 4) {
    mix[i] = 1.0f / (1.0f + exp_f(-(m[i] * a.scale[0] + a.base[i]))) + a.hc_eps;
    mix[4 + i] = 2.0f / (1.0f + exp_f(-(m[4 + i] * a.scale[1] + a.base[4 + i])));
  }
  int e = i & 15, r = e & 12, col = e & 3;
  float c = m[8 + e] * a.scale[2] + a.base[8 + e];
  float top = max_f(max_f(shfl_f(c, r), shfl_f(c, r + 1)), max_f(shfl_f(c, r + 2), shfl_f(c, r + 3)));
  c = exp_f(c - top);
  c = c * (1.0f / quad_sum_ordered(c, r, 1)) + a.hc_eps;
  c *= 1.0f / (quad_sum_ordered(c, col, 4) + a.hc_eps);
  for (int k = 1; k < a.rounds; k++) {
    c *= 1.0f / (quad_sum_ordered(c, r, 1) + a.hc_eps);
    c *= 1.0f / (quad_sum_ordered(c, col, 4) + a.hc_eps);
  }
  if (i < 16) mix[8 + i] = c;
}

// hc_pre serves hc_head too. A block of 512 makes one row; a warp owns 256 columns at a time.
KERNEL(hc_pre, HCPreArgs, 512) {
  SHARED float m[32], mix[24];
  wait_previous();
  allow_next();
  int row = blockIdx.x, count = count_of(a.step, a.which);
  if (row >= count) return;
  sum_slices(m, a.part, row, count, a.head ? 4 : 24, 4 * a.d, a.eps);
  if (a.head) {
    if (threadIdx.x < 4) mix[threadIdx.x] = sigmoid(m[threadIdx.x] * a.scale[0] + a.base[threadIdx.x]) + a.hc_eps;
  } else {
    split_control(mix, m, a);
  }
  sync_block();
  if (!a.head && threadIdx.x < 24) a.mix[(u64)row * 24 + threadIdx.x] = mix[threadIdx.x];
  const float* hc = a.hc + (u64)(a.which == COUNT_OUTS ? outs_of(a.step)[row] : row) * 4 * a.d;
  float* x = a.x + (u64)row * a.d;
  float squares = 0;
  for (int b = warp_id(); b * 256 < a.d; b += 16) {
    int at = 256 * b + 8 * lane_id();
    float v[8] = {};
    UNROLL for (int s = 0; s < 4; s++) {
      float y[8];
      load8(y, hc + (u64)s * a.d, at, a.d);
      UNROLL for (int i = 0; i < 8; i++) v[i] += y[i] * mix[s];
    }
    UNROLL for (int i = 0; i < 8; i++) squares = fma_rn(v[i], v[i], squares);
    *(float4*)(x + at) = {v[0], v[1], v[2], v[3]};
    *(float4*)(x + at + 4) = {v[4], v[5], v[6], v[7]};
  }
  float scale = 1.0f / sqrt_rn(block_sum<512>(squares) / (float)a.d + a.eps);
  for (int b = warp_id(); b * 256 < a.d; b += 16) {
    int at = 256 * b + 8 * lane_id();
    float v[8], w[8];
    load8(v, x, at, a.d);
    load8(w, a.norm, at, a.d);
    UNROLL for (int i = 0; i < 8; i++) v[i] = v[i] * scale * w[i];
    *(float4*)(x + at) = {v[0], v[1], v[2], v[3]};
    *(float4*)(x + at + 4) = {v[4], v[5], v[6], v[7]};
    quantize_block(a.f, (u64)row * a.d + 256 * b, 256, v);
  }
}
