// The residual streams by slices of 32 columns: what one slice gives to the controls of the sublayer that comes next, and
// HCPost for a slice. A warp holds a slice of eight rows: lane 4g+t has, of row g, columns 8t … 8t+7 of every stream.
#pragma once
#include "quant.cuh"

// mix_slice multiplies a slice with the control matrix, scaled by a power of two of each row's own and split into f16 pairs,
// so that no stream is too large or too small. w(j, mt, h) are eight columns of stream j of control row 16·mt + 8·h + g.
// part is (slice, row, 32): n products, and the sum of squares in the last place.
template <class W> DEV void mix_slice(float* part, int n, const float (&x)[4][8], const W& w, int slice, int row0, int count) {
  int row = row0 + lane_id() / 4, t = lane_id() % 4;
  float m = 0, squares = 0;
  UNROLL for (int j = 0; j < 4; j++)
    UNROLL for (int i = 0; i < 8; i++) {
      m = max_f(m, abs_f(x[j][i]));
      squares = fma_rn(x[j][i], x[j][i], squares);
    }
  m = max_f(m, shfl_xor_f(m, 1));
  m = max_f(m, shfl_xor_f(m, 2));
  squares += shfl_xor_f(squares, 1);
  squares += shfl_xor_f(squares, 2);
  int e = m > 1e-30f ? block_exponent(m) : 0;
  float inv = pow2(-e), scale = pow2(e), c[2][4] = {};
  UNROLL for (int j = 0; j < 4; j++) {
    u32 hi[4], lo[4];
    UNROLL for (int i = 0; i < 4; i++) {
      float u = x[j][2 * i] * inv, v = x[j][2 * i + 1] * inv;
      u16 h0 = float_half(u), h1 = float_half(v);
      hi[i] = h0 | (u32)h1 << 16;
      lo[i] = float_half(u - half_float(h0)) | (u32)float_half(v - half_float(h1)) << 16;
    }
    UNROLL for (int mt = 0; mt < 2; mt++) {
      const uint4 p = w(j, mt, 0), q = w(j, mt, 1);
      mma_f16(c[mt], p.x, q.x, p.y, q.y, hi[0], hi[1]);
      mma_f16(c[mt], p.z, q.z, p.w, q.w, hi[2], hi[3]);
      mma_f16(c[mt], p.x, q.x, p.y, q.y, lo[0], lo[1]);
      mma_f16(c[mt], p.z, q.z, p.w, q.w, lo[2], lo[3]);
    }
  }
  float s0 = shfl_f(scale, 8 * t), s1 = shfl_f(scale, 8 * t + 4); // of the columns 2t and 2t+1
  UNROLL for (int mt = 0; mt < 2; mt++)
    UNROLL for (int i = 0; i < 4; i++) {
      int r = 16 * mt + lane_id() / 4 + 8 * (i / 2), col = row0 + 2 * t + (i & 1);
      if (r < n && col < count) part[((u64)slice * count + col) * 32 + r] = c[mt][i] * (i & 1 ? s1 : s0);
    }
  if (t == 0 && row < count) part[((u64)slice * count + row) * 32 + 31] = squares;
}

// post_slice makes the new streams: m are four weights of y, then comb[s][t] of source s in target t.
DEV void post_slice(float (&x)[4][8], const float (&y)[8], const float (&m)[20]) {
  UNROLL for (int i = 0; i < 8; i++) {
    float in[4];
    UNROLL for (int s = 0; s < 4; s++) in[s] = x[s][i];
    UNROLL for (int t = 0; t < 4; t++) {
      float v = y[i] * m[t];
      UNROLL for (int s = 0; s < 4; s++) v += m[4 + 4 * s + t] * in[s];
      x[t][i] = v;
    }
  }
}

// HCTail is HCPost and the next HCPre's mix at the end of the product that makes y, in the block that owns 32 columns of it.
// What it reads was written two launches ago or earlier, so it may be on its way before the block waits for the one before.
struct HCTail { const u8* fn; float *hc, *part; const float* mix; int n, d; }; // fn: f16 (24, 4 d); null: no tail
static_assert(sizeof(HCTail) == 40, "mirrored in args.go");
const int TAIL_FN = 4 * 24 * 64, TAIL_HC = 8 * 4 * 128, TAIL_BYTES = TAIL_FN + TAIL_HC + 8 * 96; // of up to eight rows

template <int THREADS> DEV void tail_load(u8* room, const HCTail& t, int slice, int rows) {
  for (int i = threadIdx.x; i < TAIL_FN / 16; i += THREADS) { // (stream, control row, 32 columns)
    int j = i / 96, r = i / 4 % 24, c = i % 4;
    copy16_async(room + 16 * i, t.fn + 2 * ((u64)min_i(r, t.n - 1) * 4 * t.d + j * t.d + 32 * slice + 8 * c));
  }
  for (int i = threadIdx.x; i < rows * 32; i += THREADS) // (row, stream, 32 columns)
    copy16_async(room + TAIL_FN + 16 * i, t.hc + (u64)(i / 8) * t.d + 32 * slice + 4 * (i % 8));
  for (int i = threadIdx.x; i < rows * 6; i += THREADS) copy16_async(room + TAIL_FN + TAIL_HC + 16 * i, t.mix + 4 * i);
}

// tail_finish, by one warp: y is (row, 32) in shared memory.
DEV void tail_finish(const u8* room, const HCTail& t, const float* y, int slice, int rows) {
  int g = lane_id() / 4, q = lane_id() % 4, src = min_i(g, rows - 1);
  const float *hc = (const float*)(room + TAIL_FN) + src * 128 + 8 * q, *mix = (const float*)(room + TAIL_FN + TAIL_HC) + src * 24 + 4;
  float x[4][8], v[8], m[20];
  UNROLL for (int i = 0; i < 20; i++) m[i] = mix[i];
  UNROLL for (int j = 0; j < 4; j++) load8(x[j], hc, 32 * j, 1 << 30);
  load8(v, y + src * 32, 8 * q, 1 << 30);
  post_slice(x, v, m);
  if (g < rows)
    UNROLL for (int j = 0; j < 4; j++) {
      float* p = t.hc + ((u64)g * 4 + j) * t.d + 32 * slice + 8 * q;
      *(float4*)p = {x[j][0], x[j][1], x[j][2], x[j][3]};
      *(float4*)(p + 4) = {x[j][4], x[j][5], x[j][6], x[j][7]};
    }
  auto w = [&](int j, int mt, int h) { return *(const uint4*)(room + (j * 24 + min_i(16 * mt + 8 * h + g, 23)) * 64 + 16 * q); };
  mix_slice(t.part, t.n, x, w, slice, 0, rows);
}
