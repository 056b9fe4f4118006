// HCPre folds the four residual streams into the single row that a sublayer reads, and norms it.
//
// hc_mix multiplies slices of the streams (32 columns of each) with the control matrix (hc.cuh): a warp holds one of eight rows.
// hc_pre adds the slices in order and does everything that needs the whole row. hc_post_mix is HCPost before it, for the
// streams of the same slice: what it writes, it mixes.
#include "hc.cuh"

struct HCMixArgs {
  const Step* step;
  const u8* fn; // (n, 4 d)
  float *hc, *part;
  const float *y, *mix; // of HCPost, where it comes before
  int n, d, which, f32;
};
static_assert(sizeof(HCMixArgs) == 64, "mirrored in args.go");

// A slice in a lane of row g: x[j] are eight columns of stream j.
DEV int slice_at(int d, int slice, int j) { return j * d + 32 * slice + 8 * (lane_id() % 4); }

DEV void load_control(uint4 (&w)[4][2][2], const HCMixArgs& a, int slice) {
  UNROLL for (int j = 0; j < 4; j++)
    UNROLL for (int mt = 0; mt < 2; mt++)
      UNROLL for (int h = 0; h < 2; h++) {
        int r = min_i(16 * mt + 8 * h + lane_id() / 4, a.n - 1);
        u64 at = (u64)r * 4 * a.d + slice_at(a.d, slice, j);
        if (a.f32) { // rounded to f16: such files are drafts
          const float* p = (const float*)a.fn + at;
          w[j][mt][h] = {float_half(p[0]) | (u32)float_half(p[1]) << 16, float_half(p[2]) | (u32)float_half(p[3]) << 16,
                         float_half(p[4]) | (u32)float_half(p[5]) << 16, float_half(p[6]) | (u32)float_half(p[7]) << 16};
        } else {
          w[j][mt][h] = load16((const u16*)a.fn + at);
        }
      }
}

KERNEL(hc_mix, HCMixArgs, 128) {
  int slice = blockIdx.x * 4 + warp_id();
  bool on = 32 * slice < a.d;
  uint4 w[4][2][2];
  load_control(w, a, on ? slice : 0);
  wait_previous();
  allow_next();
  int count = count_of(a.step, a.which), row = blockIdx.y * 8 + lane_id() / 4;
  if ((int)blockIdx.y * 8 >= count || !on) return;
  int src = min_i(row, count - 1);
  if (a.which == COUNT_OUTS) src = outs_of(a.step)[src];
  float x[4][8];
  UNROLL for (int j = 0; j < 4; j++) load8(x[j], a.hc + (u64)src * 4 * a.d, slice_at(a.d, slice, j), 1 << 30);
  mix_slice(a.part, a.n, x, [&](int j, int mt, int h) { return w[j][mt][h]; }, slice, blockIdx.y * 8, count);
}

KERNEL(hc_post_mix, HCMixArgs, 128) {
  int slice = blockIdx.x * 4 + warp_id();
  bool on = 32 * slice < a.d;
  uint4 w[4][2][2];
  load_control(w, a, on ? slice : 0);
  wait_previous();
  allow_next();
  int count = count_of(a.step, a.which), row = blockIdx.y * 8 + lane_id() / 4, src = min_i(row, count - 1);
  if ((int)blockIdx.y * 8 >= count || !on) return;
  float x[4][8], m[20];
  UNROLL for (int i = 0; i < 20; i += 4) {
    float4 v = *(const float4*)(a.mix + (u64)src * 24 + 4 + i);
    m[i] = v.x; m[i + 1] = v.y; m[i + 2] = v.z; m[i + 3] = v.w;
  }
  UNROLL for (int j = 0; j < 4; j++) load8(x[j], a.hc + (u64)src * 4 * a.d, slice_at(a.d, slice, j), 1 << 30);
  float y[8];
  load8(y, a.y + (u64)src * a.d, slice_at(a.d, slice, 0), 1 << 30);
  post_slice(x, y, m);
  if (row < count)
    UNROLL for (int j = 0; j < 4; j++) {
      float* p = a.hc + (u64)row * 4 * a.d + slice_at(a.d, slice, j);
      *(float4*)p = {x[j][0], x[j][1], x[j][2], x[j][3]};
      *(float4*)(p + 4) = {x[j][4], x[j][5], x[j][6], x[j][7]};
    }
  mix_slice(a.part, a.n, x, [&](int j, int mt, int h) { return w[j][mt][h]; }, slice, blockIdx.y * 8, count);
}

// sum_slices makes the controls m (n) of one row in shared memory: 16 warps add runs of slices, and the runs meet in order.
DEV void sum_slices(float* m, const float* part, int row, int count, int n, int d, float eps) {
  SHARED float runs[16][32];
  int slices = d / 32, per = (slices + 15) / 16, from = warp_id() * per, i = lane_id();
  float s = 0;
  for (int j = from; j < min_i(from + per, slices); j++) s += part[((u64)j * count + row) * 32 + i];
  runs[warp_id()][i] = s;
  sync_block();
  if (warp_id() == 0) {
    s = 0;
    UNROLL for (int j = 0; j < 16; j++) s += runs[j][i];
    float ss = shfl_f(s, 31);
    m[i] = s * (1.0f / sqrt_rn(ss / (float)(4 * d) + eps));
  }
  sync_block();
}

struct HCPreArgs {
  const Step* step;
  const float *part, *scale, *base, *norm, *hc;
  float *x, *mix;
  Forms f;
  volatile int* mark;         // in the host's memory, for whoever looks for a fault: everything before this launch went well
  int d, rounds, which, head; // head: four weights and no more
  float eps, hc_eps;
  int at, pad; // what the mark becomes
};
static_assert(sizeof(HCPreArgs) == 152, "mirrored in args.go");

DEV float reciprocal(float x) { // within an ulp, in three instructions
  float r = reciprocal_fast(x);
  return fma_rn(r, fma_rn(-x, r, 1.0f), r);
}
DEV float line_sum(float v, int base, int stride) { // v of four lanes, ascending
  float s = shfl_f(v, base);
  UNROLL for (int i = 1; i < 4; i++) s += shfl_f(v, base + i * stride);
  return s;
}

// split_control: post, and the 4×4 matrix by Sinkhorn rounds; lanes 0–15 of a warp hold one entry each.
DEV void split_control(float* mix, const float* m, const HCPreArgs& a) {
  int i = lane_id(), e = i & 15, r = e & 12, col = e & 3;
  if (i < 4) mix[4 + i] = 2.0f / (1.0f + exp_f(-(m[4 + i] * a.scale[1] + a.base[4 + i])));
  float c = m[8 + e] * a.scale[2] + a.base[8 + e];
  float top = max_f(max_f(shfl_f(c, r), shfl_f(c, r + 1)), max_f(shfl_f(c, r + 2), shfl_f(c, r + 3)));
  c = exp_f(c - top);
  c = c * reciprocal(line_sum(c, r, 1)) + a.hc_eps;
  c *= reciprocal(line_sum(c, col, 4) + a.hc_eps);
  for (int k = 1; k < a.rounds; k++) {
    c *= reciprocal(line_sum(c, r, 1) + a.hc_eps);
    c *= reciprocal(line_sum(c, col, 4) + a.hc_eps);
  }
  if (i < 16) mix[8 + i] = c;
}

DEV float pre_weight(float m, float base, const HCPreArgs& a) {
  float v = m * a.scale[0] + base;
  return (a.head ? sigmoid(v) : 1.0f / (1.0f + exp_f(-v))) + a.hc_eps;
}

// hc_pre serves hc_head too. A block of 512 makes one row of up to 8192: a warp owns 256 columns, and again 4096 further. With
// two blocks to a row, the second makes the controls that only HCPost reads, beside the first.
KERNEL(hc_pre, HCPreArgs, 512) {
  SHARED float m[32];
  wait_previous();
  allow_next();
  int row = blockIdx.x, count = count_of(a.step, a.which);
  if ((row | blockIdx.y | threadIdx.x) == 0) *a.mark = a.at;
  if (row >= count) return;
  const float* hc = a.hc + (u64)(a.which == COUNT_OUTS ? outs_of(a.step)[row] : row) * 4 * a.d;
  bool first_block = blockIdx.y == 0;
  float in[4][8]; // of the first 4096 columns, on their way while the controls are summed
  UNROLL for (int s = 0; s < 4; s++) load8(in[s], hc + (u64)s * a.d, 256 * warp_id() + 8 * lane_id(), first_block ? a.d : 0);
  sum_slices(m, a.part, row, count, a.head ? 4 : 24, a.d, a.eps);
  if (!a.head && blockIdx.y == gridDim.y - 1 && warp_id() == 0) {
    float* mix = a.mix + (u64)row * 24;
    if (lane_id() < 4) mix[lane_id()] = pre_weight(m[lane_id()], a.base[lane_id()], a);
    split_control(mix, m, a);
  }
  if (blockIdx.y > 0) return;
  float pre[4];
  UNROLL for (int s = 0; s < 4; s++) pre[s] = pre_weight(m[s], a.base[s], a);
  float v[2][8] = {}, squares = 0;
  UNROLL for (int b = 0; b < 2; b++) {
    int at = 256 * (warp_id() + 16 * b) + 8 * lane_id();
    UNROLL for (int s = 0; s < 4; s++) {
      float y[8];
      if (b == 0) UNROLL for (int i = 0; i < 8; i++) y[i] = in[s][i];
      else load8(y, hc + (u64)s * a.d, at, a.d);
      UNROLL for (int i = 0; i < 8; i++) v[b][i] += y[i] * pre[s];
    }
    UNROLL for (int i = 0; i < 8; i++) squares = fma_rn(v[b][i], v[b][i], squares);
  }
  float scale = 1.0f / sqrt_rn(block_sum<512>(squares) / (float)a.d + a.eps);
  UNROLL for (int b = 0; b < 2; b++) {
    int first = 256 * (warp_id() + 16 * b), at = first + 8 * lane_id();
    if (first >= a.d) break;
    float w[8], *x = a.x + (u64)row * a.d + at;
    load8(w, a.norm, at, a.d);
    UNROLL for (int i = 0; i < 8; i++) v[b][i] = v[b][i] * scale * w[i];
    *(float4*)x = {v[b][0], v[b][1], v[b][2], v[b][3]};
    *(float4*)(x + 4) = {v[b][4], v[b][5], v[b][6], v[b][7]};
    quantize_block(a.f, (u64)row * a.d + first, 256, v[b]);
  }
}
