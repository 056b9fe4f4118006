// Compress pools the compressor's inputs of a completed window into one cached row. Inputs (v and g, APE added) come from
// the step's rows and, before the span, from the ring.
#pragma once
#include "index.cuh"

struct EmitArgs {
  const Step* step;
  const float *in, *norm, *index_norm; // in (rows, comp_row)
  State st;
  Rope rope;
  int d, rope_dim, width, index_width, base; // width of one projection; base of the ring in the slot's part
  float eps;
};
static_assert(sizeof(EmitArgs) == 160, "mirrored in args.go");

const float NEG = -1e30f; // the score of a row that is not there

struct Window {
  const float *in, *ring; // ring of the span's slot
  int pos, row, rows, row_floats;
  DEVM const float* at(int p) const {
    return p >= pos ? in + (u64)(row + p - pos) * row_floats : ring + (u64)(p % rows) * row_floats;
  }
};

// pool is the softmax-weighted mean of channel j. Overlapped windows take the low half of the four rows before and the
// high half of their own.
DEV float pool(const Window& w, int pos, int ratio, int off, int width, int hd, int j) {
  float top = NEG, den = 0, sum = 0;
  if (width == hd) {
    float g[8], v[8]; // eight rows are on their way at a time: a window has 128
    for (int p = pos + 1 - ratio; p <= pos; p += 8) {
      UNROLL for (int i = 0; i < 8; i++) g[i] = w.at(min_i(p + i, pos))[off + width + j];
      UNROLL for (int i = 0; i < 8; i++) top = max_f(top, g[i]);
    }
    for (int p = pos + 1 - ratio; p <= pos; p += 8) {
      UNROLL for (int i = 0; i < 8; i++) {
        const float* r = w.at(min_i(p + i, pos)) + off + j;
        v[i] = r[0];
        g[i] = r[width];
      }
      UNROLL for (int i = 0; i < 8; i++) {
        float e = p + i <= pos ? exp_f(g[i] - top) : 0;
        den += e;
        sum += e * v[i];
      }
    }
  } else {
    float g[8], v[8];
    UNROLL for (int r = 0; r < 4; r++) {
      int p = pos - 7 + r;
      g[r] = NEG;
      v[r] = 0;
      if (p >= 0) {
        const float* x = w.at(p) + off + j;
        v[r] = x[0];
        g[r] = x[width];
      }
      const float* x = w.at(pos - 3 + r) + off + hd + j;
      v[4 + r] = x[0];
      g[4 + r] = x[width];
      top = max_f(top, max_f(g[r], g[4 + r]));
    }
    UNROLL for (int r = 0; r < 4; r++) {
      float prev = exp_f(g[r] - top), own = exp_f(g[4 + r] - top);
      den += prev + own;
      sum += prev * v[r];
      sum += own * v[4 + r];
    }
  }
  return top <= NEG / 2 ? 0.0f : sum / den;
}

DEV void finish_row(float* x, const float* norm, const EmitArgs& a, int pos, int n) { // norm and rotate x (n) in shared memory
  float s = 0;
  for (int i = threadIdx.x; i < n; i += 256) s = fma_rn(x[i], x[i], s);
  float scale = 1.0f / sqrt_rn(block_sum<256>(s) / (float)n + a.eps);
  for (int i = 2 * threadIdx.x; i < n; i += 512) {
    float u = x[i] * scale * norm[i], v = x[i + 1] * scale * norm[i + 1];
    int k = i - (n - a.rope_dim);
    if (k >= 0) {
      float c, sn;
      cos_sin(rope_angle(a.rope, 1, pos, k / 2), &c, &sn);
      float t = u * c - v * sn;
      v = u * sn + v * c;
      u = t;
    }
    x[i] = u;
    x[i + 1] = v;
  }
  sync_block();
}

// A piece of a row of the step, by 256 threads: 0 keeps the row's inputs in the ring, 1 emits the row of attention, 2 the index row;
// most emit nothing.
DEV void emit_piece(const EmitArgs& a, int row, int piece) {
  SHARED float x[4096];
  if (piece == 0) {
    const u8* src = (const u8*)(a.in + (u64)row * a.st.comp_row);
    u8* dst = ring_row(a.step, a.st.slots + a.base, a.st.slot_stride, a.st.comp_ring, 4 * a.st.comp_row, row);
    for (int i = 16 * threadIdx.x; dst && i < 4 * a.st.comp_row; i += 4096) *(uint4*)(dst + i) = *(const uint4*)(src + i);
    return;
  }
  Row r = rows_of(a.step)[row];
  if ((r.pos + 1) % a.st.ratio != 0) return;
  Span sp = spans_of(a.step)[r.span];
  Window w = {a.in, (const float*)(a.st.slots + sp.slot * a.st.slot_stride + a.base), sp.pos, sp.row, a.st.comp_ring, a.st.comp_row};
  int c, first = r.pos + 1 - a.st.ratio;
  u8* page = page_of(a.st, sp.seq, r.pos / a.st.ratio, &c);
  bool index = piece == 2;
  int n = index ? 128 : a.d, width = index ? a.index_width : a.width, off = index ? 2 * a.width : 0;
  for (int j = threadIdx.x; j < n; j += 256) x[j] = pool(w, r.pos, a.st.ratio, off, width, n, j);
  sync_block();
  finish_row(x, index ? a.index_norm : a.norm, a, first, n);
  if (!index) {
    pack_kv<256>(page + (u64)c * a.st.kv_row, x, a.d, a.rope_dim, a.st.kv_row);
    return;
  }
  if (warp_id() > 0) return;
  float v[4];
  u8 code[4];
  int e[4];
  UNROLL for (int i = 0; i < 4; i++) v[i] = x[32 * i + lane_id()];
  hadamard(v);
  index_codes(v, code, e);
  UNROLL for (int i = 0; i < 4; i++) {
    u32 hi = shfl_xor(code[i], 1); // of the odd neighbour
    if (lane_id() % 2 == 0) page[a.st.index_at + c * 64 + 16 * i + lane_id() / 2] = (u8)(code[i] | hi << 4);
    if (lane_id() == 0) page[a.st.index_exp_at + c * 4 + i] = (u8)(i8)e[i];
  }
}

KERNEL(compress_emit, EmitArgs, 256) { // (row, piece)
  wait_previous();
  allow_next();
  if ((int)blockIdx.x < a.step->rows) emit_piece(a, blockIdx.x, blockIdx.y);
}
