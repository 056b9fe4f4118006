// IndexTopK selects the compressed rows that a query attends to. Rows that see at most topk of them take them all.
#pragma once
#include "index.cuh"
#include "tiles.cuh"

// index_queries rotates, transforms and rounds the queries: int8 of twice the E2M1 value, and half the block's power of two.
struct IndexQueryArgs { const Step* step; const float *q, *rope; i8* codes; float* scale; int heads, rope_dim, topk, ratio; };
static_assert(sizeof(IndexQueryArgs) == 56, "mirrored in args.go");
KERNEL(index_queries, IndexQueryArgs, 256) { // a warp a head
  wait_previous();
  allow_next();
  int row = blockIdx.x, h = blockIdx.y * 8 + warp_id();
  if (row >= a.step->rows || h >= a.heads || (rows_of(a.step)[row].pos + 1) / a.ratio <= a.topk) return;
  u64 at = (u64)row * a.heads + h;
  const float *q = a.q + at * 128, *cs = a.rope + ((u64)row * 2 + 1) * a.rope_dim - (128 - a.rope_dim);
  float v[4];
  UNROLL for (int i = 0; i < 4; i++) {
    int e = 32 * i + lane_id();
    v[i] = q[e];
    float u = shfl_xor_f(v[i], 1);
    if (e >= 128 - a.rope_dim) {
      float c = cs[e & ~1], s = cs[e | 1];
      v[i] = e & 1 ? u * s + v[i] * c : v[i] * c - u * s;
    }
  }
  hadamard(v);
  u8 code[4];
  int e[4];
  index_codes(v, code, e);
  UNROLL for (int i = 0; i < 4; i++) {
    a.codes[at * 128 + 32 * i + lane_id()] = (i8)e2m1_twice(code[i]);
    if (lane_id() == 0) a.scale[at * 4 + i] = pow2(e[i] - 1);
  }
}

// index_scores: Σ over heads of max(0, q·row)·w, heads ascending. A block takes 64 compressed rows of one token at a time, a
// warp eight of them; 16 heads are the rows of a product, and the queries of up to 64 heads stay in a warp's registers. Exact
// but for the sum over blocks of 32 and over heads.
struct IndexScoreArgs {
  const Step* step;
  const i8* codes;
  const float *scale, *weights; // weights (rows, heads), not yet scaled
  float* scores;                // (rows, stride), from row first on
  State st;
  int heads, topk, first, rows, stride;
  float weight_scale;
};
static_assert(sizeof(IndexScoreArgs) == 144, "mirrored in args.go");
KERNEL(index_scores, IndexScoreArgs, 256, 1) {
  const int HEAD_TILES = 4;
  wait_previous();
  allow_next();
  int row = a.first + blockIdx.y, lane = lane_id(), g = lane / 4, t = lane % 4;
  if (row >= a.step->rows || (int)blockIdx.y >= a.rows) return;
  Row r = rows_of(a.step)[row];
  int visible = (r.pos + 1) / a.st.ratio;
  if (visible <= a.topk || 64 * (int)blockIdx.x >= visible) return;
  int seq = spans_of(a.step)[r.span].seq;
  const i8* q = a.codes + (u64)row * a.heads * 128;
  uint2 q0[HEAD_TILES][4], q1[HEAD_TILES][4];
  float4 s0[HEAD_TILES], s1[HEAD_TILES];
  float w0[HEAD_TILES], w1[HEAD_TILES];
  UNROLL for (int h = 0; h < HEAD_TILES; h++) { // heads that are not there weigh nothing
    int a0 = min_i(16 * h + g, a.heads - 1), a1 = min_i(16 * h + g + 8, a.heads - 1);
    UNROLL for (int j = 0; j < 4; j++) {
      q0[h][j] = *(const uint2*)(q + a0 * 128 + 32 * j + 8 * t);
      q1[h][j] = *(const uint2*)(q + a1 * 128 + 32 * j + 8 * t);
    }
    s0[h] = *(const float4*)(a.scale + ((u64)row * a.heads + a0) * 4);
    s1[h] = *(const float4*)(a.scale + ((u64)row * a.heads + a1) * 4);
    w0[h] = 16 * h + g < a.heads ? a.weights[(u64)row * a.heads + a0] * a.weight_scale : 0;
    w1[h] = 16 * h + g + 8 < a.heads ? a.weights[(u64)row * a.heads + a1] * a.weight_scale : 0;
  }
  for (int base = 64 * blockIdx.x; base < visible; base += 64 * gridDim.x) {
    int c = base + 8 * warp_id() + g, at = 0;
    const u8* page = page_of(a.st, seq, min_i(c, visible - 1), &at);
    u32 b[4][2], e = *(const u32*)(page + a.st.index_exp_at + at * 4);
    float x[4], y[4];
    UNROLL for (int j = 0; j < 4; j++) {
      TileMXFP4::decode(*(const u32*)(page + a.st.index_at + at * 64 + 16 * j + 4 * t), &b[j][0], &b[j][1]); // the same codes: twice the value
      float s = pow2((int)(i8)(e >> (8 * j)) - 1);
      x[j] = shfl_f(s, 8 * t); // of the columns 2t, 2t+1
      y[j] = shfl_f(s, 8 * t + 4);
    }
    float total[2] = {};
    UNROLL for (int h = 0; h < HEAD_TILES; h++) {
      float acc[4] = {};
      UNROLL for (int j = 0; j < 4; j++) {
        int d[4] = {MAGIC, MAGIC, MAGIC, MAGIC};
        mma_s8(d, q0[h][j].x, q1[h][j].x, q0[h][j].y, q1[h][j].y, b[j][0], b[j][1]);
        float u = j == 0 ? s0[h].x : j == 1 ? s0[h].y : j == 2 ? s0[h].z : s0[h].w;
        float v = j == 0 ? s1[h].x : j == 1 ? s1[h].y : j == 2 ? s1[h].z : s1[h].w;
        acc[0] = fma_rn(u * x[j], magic_float(d[0]), acc[0]);
        acc[1] = fma_rn(u * y[j], magic_float(d[1]), acc[1]);
        acc[2] = fma_rn(v * x[j], magic_float(d[2]), acc[2]);
        acc[3] = fma_rn(v * y[j], magic_float(d[3]), acc[3]);
      }
      UNROLL for (int i = 0; i < 2; i++) total[i] += max_f(acc[i], 0) * w0[h] + max_f(acc[2 + i], 0) * w1[h];
    }
    UNROLL for (int i = 0; i < 2; i++) {
      float v = total[i];
      v += shfl_xor_f(v, 4);
      v += shfl_xor_f(v, 8);
      v += shfl_xor_f(v, 16);
      int col = base + 8 * warp_id() + 2 * t + i;
      if (g == 0 && col < visible) a.scores[(u64)blockIdx.y * a.stride + col] = v;
    }
  }
}

// index_select: the topk greatest by four radix digits, ties to the lower index, ascending. A block a row.
struct IndexSelectArgs { const Step* step; const float* scores; int* sel; int topk, first, rows, stride, ratio, pad; };
static_assert(sizeof(IndexSelectArgs) == 48, "mirrored in args.go");

DEV u32 sort_key(float v) { // ascending in v
  u32 b = as_uint(v + 0.0f); // −0 and 0 are equal
  return b & 0x80000000 ? ~b : b | 0x80000000;
}
// block_rank counts, over the 1024 threads in order, the predicates before this thread; *all is the count of all.
DEV int block_rank(bool p, int* all) {
  SHARED int counts[32];
  u32 m = ballot(p);
  sync_block();
  if (lane_id() == 0) counts[warp_id()] = popc(m);
  sync_block();
  int before = 0, sum = 0;
  for (int i = 0; i < 32; i++) {
    if (i < warp_id()) before += counts[i];
    sum += counts[i];
  }
  *all = sum;
  return before + popc(m & ((1u << lane_id()) - 1));
}
DEV void select_all(int* sel, int topk, int threads) {
  for (int i = threadIdx.x; i < topk; i += threads) sel[i] = i;
}
KERNEL(index_select, IndexSelectArgs, 1024) {
  SHARED u32 hist[256];
  SHARED u32 chosen[2]; // digit, still wanted below it
  wait_previous();
  allow_next();
  int row = a.first + blockIdx.x;
  if (row >= a.step->rows || (int)blockIdx.x >= a.rows) return;
  int visible = (rows_of(a.step)[row].pos + 1) / a.ratio, *sel = a.sel + (u64)row * a.topk;
  if (visible <= a.topk) {
    select_all(sel, a.topk, 1024);
    return;
  }
  const float* s = a.scores + (u64)blockIdx.x * a.stride;
  u32 prefix = 0, want = a.topk;
  for (int shift = 24; shift >= 0; shift -= 8) {
    if (threadIdx.x < 256) hist[threadIdx.x] = 0;
    sync_block();
    for (int i = threadIdx.x; i < visible; i += 1024) {
      u32 k = sort_key(s[i]);
      if (shift == 24 || k >> (shift + 8) == prefix >> (shift + 8)) atomic_add(&hist[k >> shift & 255], 1);
    }
    sync_block();
    if (threadIdx.x < 32) { // a lane sums eight bins, from the top
      u32 mine = 0, bins[8];
      UNROLL for (int i = 0; i < 8; i++) {
        bins[i] = hist[255 - 8 * lane_id() - i];
        mine += bins[i];
      }
      u32 before = 0;
      for (int l = 0; l < 32; l++) {
        u32 v = shfl(mine, l);
        if (l < lane_id()) before += v;
      }
      UNROLL for (int i = 0; i < 8; i++) {
        if (before < want && before + bins[i] >= want) {
          chosen[0] = 255 - 8 * lane_id() - i;
          chosen[1] = want - before;
        }
        before += bins[i];
      }
    }
    sync_block();
    prefix |= chosen[0] << shift;
    want = chosen[1];
    sync_block();
  }
  // Greater than the threshold: all. Equal to it: the first `want`.
  int out = 0, equal = 0;
  for (int base = 0; base < visible; base += 1024) {
    int i = base + threadIdx.x, n, ne;
    u32 k = i < visible ? sort_key(s[i]) : 0;
    bool eq = i < visible && k == prefix;
    int rank = equal + block_rank(eq, &ne);
    bool take = i < visible && (k > prefix || (eq && rank < (int)want));
    int at = out + block_rank(take, &n);
    if (take) sel[at] = i;
    out += n;
    equal += ne;
  }
}
