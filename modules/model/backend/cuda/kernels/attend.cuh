// Attend is attention over the window and the compressed rows, with sinks. Visible rows are taken 64 at a time, in order; a
// tile's scores, weights and weighted sum are formed on their own and then merged, in order, so a query's bits do not depend
// on who does the tiles: for few queries blocks share them and attend_merge joins, for many a block runs through them.
//
// Precision: queries and weights are rounded to f16, cached rows are f16 exactly, all sums are f32.
#pragma once
#include "quant.cuh"

struct AttendArgs {
  const Step* step;
  const float* q;
  const u8* kv;
  const int* sel; // null: all compressed rows are visible
  const float *sinks, *rope;
  float *part, *part_ml; // (row, tile, head, d), (row, tile, head, 2)
  float* o;
  Forms f;
  State st;
  int heads, d, rope_dim, window, topk, kind, tiles, raw; // raw: queries are not yet normed and rotated
  float scale, eps;
};
static_assert(sizeof(AttendArgs) == 240, "mirrored in args.go");

const int TILE = 64; // visible rows of a tile

struct Visible { int raw, first, count; }; // raw rows and the first one's position; all rows
DEV Visible visible_rows(const AttendArgs& a, const Row& r) {
  Visible v;
  v.raw = min_i(a.window, r.pos + 1);
  v.first = r.pos + 1 - v.raw;
  int comp = a.st.ratio ? (r.pos + 1) / a.st.ratio : 0;
  v.count = v.raw + (a.sel ? min_i(comp, a.topk) : comp);
  return v;
}
DEV const u8* visible_row(const AttendArgs& a, const Visible& v, const Span& sp, int row, int i) {
  if (i >= v.count) return nullptr;
  if (i < v.raw) {
    int p = v.first + i;
    if (p >= sp.pos) return a.kv + (u64)(sp.row + p - sp.pos) * a.st.kv_row;
    return a.st.slots + sp.slot * a.st.slot_stride + (u64)(p % a.st.ring) * a.st.kv_row;
  }
  int c = i - v.raw, at;
  if (a.sel) c = a.sel[(u64)row * a.topk + c];
  const u8* page = page_of(a.st, sp.seq, c, &at);
  return page + (u64)at * a.st.kv_row;
}

// load_query brings head h of a block to shared memory, by a warp. A raw one is normed and rotated on the way, as q_heads would.
DEV void load_query(const AttendArgs& a, u16* dst, int stride, int row, int head0, int h) {
  const float* q = a.q + ((u64)row * a.heads + min_i(head0 + h, a.heads - 1)) * a.d;
  float4 v[4];
  UNROLL for (int j = 0; j < 4; j++) {
    int at = 4 * lane_id() + 128 * j;
    v[j] = {0, 0, 0, 0};
    if (at < a.d && head0 + h < a.heads) v[j] = *(const float4*)(q + at);
  }
  if (a.raw) norm_head(v, a.d, a.rope_dim, a.rope + ((u64)row * 2 + a.kind) * a.rope_dim, a.eps);
  UNROLL for (int j = 0; j < 4; j++) {
    int at = 4 * lane_id() + 128 * j;
    if (at < a.d)
      *(uint2*)(dst + h * stride + at) = {float_half(v[j].x) | (u32)float_half(v[j].y) << 16, float_half(v[j].z) | (u32)float_half(v[j].w) << 16};
  }
}

// unpack_piece writes 16 bytes of a packed row as f16: piece c of `codes` pieces of codes with exponent e, then of the tail.
DEV void unpack_piece(u16* dst, const uint4& v, int c, int codes, int nope, int e) {
  if (c < codes) {
    u32 s = e4m3_scale(e);
    *(uint4*)(dst + 16 * c) = {e4m3_halves(byte_perm(v.x, 0, 0x4140), s), e4m3_halves(byte_perm(v.x, 0, 0x4342), s),
                               e4m3_halves(byte_perm(v.y, 0, 0x4140), s), e4m3_halves(byte_perm(v.y, 0, 0x4342), s)};
    *(uint4*)(dst + 16 * c + 8) = {e4m3_halves(byte_perm(v.z, 0, 0x4140), s), e4m3_halves(byte_perm(v.z, 0, 0x4342), s),
                                   e4m3_halves(byte_perm(v.w, 0, 0x4140), s), e4m3_halves(byte_perm(v.w, 0, 0x4342), s)};
  } else {
    *(uint4*)(dst + nope + 8 * (c - codes)) = v;
  }
}

// weigh_head turns a head's scores of a tile into f16 weights, their maximum and their sum, by a warp.
DEV void weigh_head(const float* s, u16* p, float* m, float* l, int h) {
  int lane = lane_id();
  float s0 = s[h * TILE + lane], s1 = s[h * TILE + 32 + lane], top = warp_max(max_f(s0, s1));
  float p0 = s0 < -1e38f ? 0 : exp_f(s0 - top), p1 = s1 < -1e38f ? 0 : exp_f(s1 - top), sum = warp_sum(p0 + p1);
  p[h * (TILE + 8) + lane] = float_half(p0);
  p[h * (TILE + 8) + 32 + lane] = float_half(p1);
  if (lane == 0) { m[h] = top; l[h] = sum; }
}

// weighted_columns adds 16 heads' weighted rows of a tile to eight columns; k points at the first row's.
DEV void weighted_columns(float (&o)[4], const u32 (&p)[4][4], const u16* k, int stride) {
  UNROLL for (int i = 0; i < 2; i++) {
    u32 b[4];
    load_matrices_t(b, k + (32 * i + lane_id()) * stride);
    mma_f16(o, p[2 * i][0], p[2 * i][1], p[2 * i][2], p[2 * i][3], b[0], b[1]);
    mma_f16(o, p[2 * i + 1][0], p[2 * i + 1][1], p[2 * i + 1][2], p[2 * i + 1][3], b[2], b[3]);
  }
}

// Merging one more tile: the running maximum, and what the old and the new sums are multiplied with.
struct Merge { float m, l, old_scale, new_scale; };
DEV void merge(Merge& r, float m, float l) {
  float top = max_f(r.m, m);
  r.old_scale = exp_f(r.m - top);
  r.new_scale = exp_f(m - top);
  r.m = top;
  r.l = fma_rn(l, r.new_scale, r.l * r.old_scale);
}
DEV float merge_value(float old, float v, const Merge& r) { return fma_rn(v, r.new_scale, old * r.old_scale); }

// finish_head divides, rotates back and stores 256 columns (or fewer) of a head, eight to a lane, and their int8 form.
DEV void finish_head(const AttendArgs& a, float (&v)[8], float l, int row, int head, int first) {
  int at = first + 8 * lane_id();
  float inv = 1.0f / l;
  const float* cs = a.rope + ((u64)row * 2 + a.kind) * a.rope_dim - (a.d - a.rope_dim);
  UNROLL for (int i = 0; i < 8; i++) v[i] *= inv;
  if (at >= a.d - a.rope_dim && at < a.d)
    UNROLL for (int i = 0; i < 8; i += 2) {
      float c = cs[at + i], s = -cs[at + i + 1], x = v[i] * c - v[i + 1] * s;
      v[i + 1] = v[i] * s + v[i + 1] * c;
      v[i] = x;
    }
  u64 o = ((u64)row * a.heads + head) * a.d;
  if (at < a.d) {
    *(float4*)(a.o + o + at) = {v[0], v[1], v[2], v[3]};
    *(float4*)(a.o + o + at + 4) = {v[4], v[5], v[6], v[7]};
  } else {
    UNROLL for (int i = 0; i < 8; i++) v[i] = 0;
  }
  quantize_block(a.f, o + first, a.d - first, v);
}

