// Attend for few rows, and for many on cards with little shared memory: 16 heads a block.
#include "attend.cuh"

const int HEADS = 16; // of a block

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
      unpack_piece(m.k + r * m.stride, v[i], c, codes, nope, e[i]);
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
  UNROLL for (int i = 0; i < 2; i++) weigh_head(m.s, m.p, m.m, m.l, 2 * w + i);
  sync_block();
  u32 p[4][4];
  UNROLL for (int k = 0; k < 4; k++) load_matrices(p[k], m.p + (lane % 16) * (TILE + 8) + 16 * k + 8 * (lane / 16));
  UNROLL for (int n = 0; n < 8; n++) {
    UNROLL for (int i = 0; i < 4; i++) o[n][i] = 0;
    int col = 8 * (w + 8 * n);
    if (col < a.d) weighted_columns(o[n], p, m.k + col, m.stride);
  }
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
  UNROLL for (int i = 0; i < 2; i++) load_query(a, m.q, m.stride, row, head0, 2 * warp_id() + i);
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
  UNROLL for (int i = 0; i < 2; i++) load_query(a, m.q, m.stride, row, head0, 2 * warp_id() + i);
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
