// Attend is attention over the window and the compressed rows, with sinks. Visible rows are taken 64 at a time, in order; a
// tile's scores, weights and weighted sum are formed on their own and then merged, in order, so a query's bits do not depend
// on who does the tiles: for few queries blocks share them and attend_merge joins, for many a block runs through them.
//
// Precision: queries and weights are rounded to f16, cached rows are f16 exactly, all sums are f32.
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

const int HEADS = 16, TILE = 64; // heads of a block, visible rows of a tile

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

// Shared memory of a block: 64 rows and 16 queries of d halves (8 more, so that matrix loads meet no bank twice), weights,
// scores, row addresses.
struct Room {
  u16 *k, *q, *p;
  float* s;
  const u8** rows;
  float *m, *l; // of the tile, by head
  int stride;
};
DEV Room room(int d) {
  Room r;
  r.stride = d + 8;
  u8* p = dynamic_shared;
  r.k = (u16*)p; p += TILE * r.stride * 2;
  r.q = (u16*)p; p += HEADS * r.stride * 2;
  r.p = (u16*)p; p += HEADS * (TILE + 8) * 2;
  r.s = (float*)p; p += HEADS * TILE * 4;
  r.rows = (const u8**)p; p += TILE * 8;
  r.m = (float*)p; p += HEADS * 4;
  r.l = (float*)p;
  return r;
}

// load_queries: a warp brings two heads. Raw ones are normed and rotated on the way, as q_heads would.
DEV void load_queries(const AttendArgs& a, const Room& m, int row, int head0) {
  UNROLL for (int i = 0; i < 2; i++) {
    int h = 2 * warp_id() + i;
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
        *(uint2*)(m.q + h * m.stride + at) = {float_half(v[j].x) | (u32)float_half(v[j].y) << 16, float_half(v[j].z) | (u32)float_half(v[j].w) << 16};
    }
  }
}

// unpack_rows writes the tile's rows as f16; rows that are not there are zero. A row is pieces of 16 bytes, codes and then
// the tail; a thread starts the loads of several pieces before it converts the first.
template <int BATCH> DEV void unpack_rows(const AttendArgs& a, const Room& m) {
  int nope = a.d - a.rope_dim, codes = nope / 16, pieces = codes + a.rope_dim / 8;
  for (int base = threadIdx.x; base < TILE * pieces; base += 256 * BATCH) {
    uint4 v[BATCH];
    int e[BATCH];
    UNROLL for (int i = 0; i < BATCH; i++) {
      int u = base + 256 * i, r = min_i(u / pieces, TILE - 1), c = u % pieces;
      const u8* src = m.rows[r];
      v[i] = {0, 0, 0, 0};
      e[i] = 0;
      if (src && u < TILE * pieces) {
        v[i] = *(const uint4*)(src + 16 * c);
        if (c < codes) e[i] = (int)(i8)src[a.st.kv_exp + c / 4];
      }
    }
    UNROLL for (int i = 0; i < BATCH; i++) {
      int u = base + 256 * i, r = u / pieces, c = u % pieces;
      if (u >= TILE * pieces) continue;
      u16* dst = m.k + r * m.stride;
      if (c < codes) {
        u32 s = e4m3_scale(e[i]);
        *(uint4*)(dst + 16 * c) = {e4m3_halves(byte_perm(v[i].x, 0, 0x4140), s), e4m3_halves(byte_perm(v[i].x, 0, 0x4342), s),
                                   e4m3_halves(byte_perm(v[i].y, 0, 0x4140), s), e4m3_halves(byte_perm(v[i].y, 0, 0x4342), s)};
        *(uint4*)(dst + 16 * c + 8) = {e4m3_halves(byte_perm(v[i].z, 0, 0x4140), s), e4m3_halves(byte_perm(v[i].z, 0, 0x4342), s),
                                       e4m3_halves(byte_perm(v[i].w, 0, 0x4140), s), e4m3_halves(byte_perm(v[i].w, 0, 0x4342), s)};
      } else {
        *(uint4*)(dst + nope + 8 * (c - codes)) = v[i];
      }
    }
  }
}

// attend_tile forms m, l (shared memory) and o of one tile: o[n] are columns 8·(warp + 8n) … of heads g and g+8.
template <int BATCH> DEV void attend_tile(const AttendArgs& a, const Room& m, const Visible& v, const Span& sp, int row, int tile, float (&o)[8][4]) {
  int lane = lane_id(), g = lane / 4, t = lane % 4, w = warp_id();
  sync_block(); // the tile before is done with
  if (threadIdx.x < TILE) m.rows[threadIdx.x] = visible_row(a, v, sp, row, tile * TILE + threadIdx.x);
  sync_block();
  unpack_rows<BATCH>(a, m);
  sync_block();
  float c[4] = {};
  const u16* qa = m.q + (lane % 16) * m.stride + 8 * (lane / 16);
  const u16* kb = m.k + (8 * w + lane % 8) * m.stride + 8 * (lane / 8);
  for (int k = 0; k < a.d; k += 32) {
    u32 q0[4], q1[4], b[4];
    load_matrices(q0, qa + k);
    load_matrices(q1, qa + k + 16);
    load_matrices(b, kb + k);
    mma_f16(c, q0[0], q0[1], q0[2], q0[3], b[0], b[1]);
    mma_f16(c, q1[0], q1[1], q1[2], q1[3], b[2], b[3]);
  }
  UNROLL for (int i = 0; i < 4; i++) {
    int col = 8 * w + 2 * t + (i & 1);
    m.s[(g + 8 * (i / 2)) * TILE + col] = tile * TILE + col < v.count ? c[i] * a.scale : -3e38f;
  }
  sync_block();
  UNROLL for (int i = 0; i < 2; i++) { // a warp weighs two heads
    int h = 2 * w + i;
    float s0 = m.s[h * TILE + lane], s1 = m.s[h * TILE + 32 + lane], top = warp_max(max_f(s0, s1));
    float p0 = s0 < -1e38f ? 0 : exp_f(s0 - top), p1 = s1 < -1e38f ? 0 : exp_f(s1 - top), l = warp_sum(p0 + p1);
    m.p[h * (TILE + 8) + lane] = float_half(p0);
    m.p[h * (TILE + 8) + 32 + lane] = float_half(p1);
    if (lane == 0) { m.m[h] = top; m.l[h] = l; }
  }
  sync_block();
  u32 p[4][4];
  UNROLL for (int k = 0; k < 4; k++) load_matrices(p[k], m.p + (lane % 16) * (TILE + 8) + 16 * k + 8 * (lane / 16));
  UNROLL for (int n = 0; n < 8; n++) {
    UNROLL for (int i = 0; i < 4; i++) o[n][i] = 0;
    int col = 8 * (w + 8 * n);
    if (col < a.d)
      UNROLL for (int k = 0; k < 2; k++) {
        u32 b[4];
        load_matrices_t(b, m.k + (32 * k + lane) * m.stride + col);
        mma_f16(o[n], p[2 * k][0], p[2 * k][1], p[2 * k][2], p[2 * k][3], b[0], b[1]);
        mma_f16(o[n], p[2 * k + 1][0], p[2 * k + 1][1], p[2 * k + 1][2], p[2 * k + 1][3], b[2], b[3]);
      }
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

KERNEL(attend_tiles, AttendArgs, 256, 2) { // (tile, heads / 16, row)
  wait_previous();
  allow_next();
  int row = blockIdx.z, head0 = blockIdx.y * HEADS, tile = blockIdx.x, lane = lane_id();
  if (row >= a.step->rows) return;
  Row r = rows_of(a.step)[row];
  Span sp = spans_of(a.step)[r.span];
  Visible v = visible_rows(a, r);
  if (tile * TILE >= v.count) return;
  Room m = room(a.d);
  load_queries(a, m, row, head0);
  float o[8][4];
  attend_tile<9>(a, m, v, sp, row, tile, o);
  u64 base = ((u64)row * a.tiles + tile) * a.heads;
  if (threadIdx.x < HEADS && head0 + threadIdx.x < a.heads) {
    a.part_ml[2 * (base + head0 + threadIdx.x)] = m.m[threadIdx.x];
    a.part_ml[2 * (base + head0 + threadIdx.x) + 1] = m.l[threadIdx.x];
  }
  UNROLL for (int n = 0; n < 8; n++)
    UNROLL for (int i = 0; i < 4; i += 2) {
      int col = 8 * (warp_id() + 8 * n) + 2 * (lane % 4), h = head0 + lane / 4 + 4 * i;
      if (col < a.d && h < a.heads) *(float2*)(a.part + (base + h) * a.d + col) = {o[n][i], o[n][i + 1]};
    }
}

KERNEL(attend_merge, AttendArgs, 256) { // a warp 256 columns of a head
  wait_previous();
  allow_next();
  int row = blockIdx.y, chunks = (a.d + 255) / 256, unit = blockIdx.x * 8 + warp_id(), head = unit / chunks, first = unit % chunks * 256;
  if (row >= a.step->rows || head >= a.heads) return;
  Visible v = visible_rows(a, rows_of(a.step)[row]);
  Merge r = {a.sinks[head], 1, 0, 0};
  float sum[8] = {};
  const int AHEAD = 5; // tiles loaded together
  for (int tile = 0; tile * TILE < v.count; tile += AHEAD) {
    float x[AHEAD][8];
    float2 ml[AHEAD];
    UNROLL for (int j = 0; j < AHEAD; j++) {
      u64 base = ((u64)row * a.tiles + min_i(tile + j, a.tiles - 1)) * a.heads + head;
      load8(x[j], a.part + base * a.d + first, 8 * lane_id(), a.d - first);
      ml[j] = *(const float2*)(a.part_ml + 2 * base);
    }
    UNROLL for (int j = 0; j < AHEAD; j++)
      if ((tile + j) * TILE < v.count) {
        merge(r, ml[j].x, ml[j].y);
        UNROLL for (int i = 0; i < 8; i++) sum[i] = merge_value(sum[i], x[j][i], r);
      }
  }
  finish_head(a, sum, r.l, row, head, first);
}

KERNEL(attend_rows, AttendArgs, 256, 2) { // (heads / 16, row)
  wait_previous();
  allow_next();
  int row = blockIdx.y, head0 = blockIdx.x * HEADS, lane = lane_id(), g = lane / 4;
  if (row >= a.step->rows) return;
  Row r = rows_of(a.step)[row];
  Span sp = spans_of(a.step)[r.span];
  Visible v = visible_rows(a, r);
  Room m = room(a.d);
  load_queries(a, m, row, head0);
  Merge run[2];
  UNROLL for (int h = 0; h < 2; h++) run[h] = {a.sinks[min_i(head0 + g + 8 * h, a.heads - 1)], 1, 0, 0};
  float sum[8][4] = {};
  for (int tile = 0; tile * TILE < v.count; tile++) {
    float o[8][4];
    attend_tile<5>(a, m, v, sp, row, tile, o);
    UNROLL for (int h = 0; h < 2; h++) merge(run[h], m.m[g + 8 * h], m.l[g + 8 * h]);
    UNROLL for (int n = 0; n < 8; n++)
      UNROLL for (int i = 0; i < 4; i++) sum[n][i] = merge_value(sum[n][i], o[n][i], run[i / 2]);
  }
  sync_block(); // the rows' room now takes the result, heads × d
  float *out = (float*)m.k, *l = m.s;
  UNROLL for (int n = 0; n < 8; n++)
    UNROLL for (int i = 0; i < 4; i += 2) {
      int col = 8 * (warp_id() + 8 * n) + 2 * (lane % 4);
      if (col < a.d) *(float2*)(out + (g + 4 * i) * a.d + col) = {sum[n][i], sum[n][i + 1]};
    }
  if (warp_id() == 0 && lane % 4 == 0) { l[g] = run[0].l; l[g + 8] = run[1].l; }
  sync_block();
  int chunks = (a.d + 255) / 256;
  for (int unit = warp_id(); unit < HEADS * chunks; unit += 8) {
    int h = unit / chunks, first = unit % chunks * 256;
    if (head0 + h >= a.heads) continue;
    float x[8];
    load8(x, out + h * a.d + first, 8 * lane_id(), a.d - first);
    finish_head(a, x, l[h], row, head0 + h, first);
  }
}
