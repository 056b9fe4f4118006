// attend_wide is attend_rows for cards whose blocks may have 200 KB of shared memory: 64 heads of a token share the rows of
// a tile, and the packed rows of the next tile are on their way while this one is worked on. The same operations in the same
// order, so the same bits.
#include "attend.cuh"

const int WIDE = 64; // heads of a block

struct WideRoom {
  u16 *k, *q, *p;
  float* s;
  const u8** rows;
  float *m, *l;
  u8* raw; // packed rows of the next tile
  int stride;
};
DEV WideRoom wide_room(int d) {
  WideRoom r;
  r.stride = d + 8;
  u8* p = dynamic_shared;
  r.k = (u16*)p; p += TILE * r.stride * 2;
  r.q = (u16*)p; p += WIDE * r.stride * 2;
  r.p = (u16*)p; p += WIDE * (TILE + 8) * 2;
  r.s = (float*)p; p += WIDE * TILE * 4;
  r.rows = (const u8**)p; p += TILE * 8;
  r.m = (float*)p; p += WIDE * 4;
  r.l = (float*)p; p += WIDE * 4;
  r.raw = p;
  return r;
}

// fetch_rows starts the copies of a tile's packed rows; rows that are not there are zero.
DEV void fetch_rows(const AttendArgs& a, const WideRoom& m) {
  int pieces = a.st.kv_row / 16;
  for (int u = threadIdx.x; u < TILE * pieces; u += 512) {
    const u8* src = m.rows[u / pieces];
    u8* dst = m.raw + 16 * u;
    if (src) copy16_async(dst, src + 16 * (u % pieces));
    else *(uint4*)dst = {0, 0, 0, 0};
  }
  copies_commit();
}

// spread_rows unpacks what fetch_rows brought.
DEV void spread_rows(const AttendArgs& a, const WideRoom& m) {
  int nope = a.d - a.rope_dim, codes = nope / 16, pieces = codes + a.rope_dim / 8;
  for (int u = threadIdx.x; u < TILE * pieces; u += 512) {
    int r = u / pieces, c = u % pieces;
    const u8* src = m.raw + r * a.st.kv_row;
    uint4 v = *(const uint4*)(src + 16 * c);
    unpack_piece(m.k + r * m.stride, v, c, codes, nope, c < codes ? (int)(i8)src[a.st.kv_exp + c / 4] : 0);
  }
}

KERNEL(attend_wide, AttendArgs, 512, 1) { // (heads / 64, row); warp w: heads 16·(w % 4) …, keys or columns of w / 4
  wait_previous();
  allow_next();
  int row = blockIdx.y, head0 = blockIdx.x * WIDE, lane = lane_id(), g = lane / 4, t = lane % 4, wh = warp_id() % 4, wc = warp_id() / 4;
  if (row >= a.step->rows) return;
  Row r = rows_of(a.step)[row];
  Span sp = spans_of(a.step)[r.span];
  Visible v = visible_rows(a, r);
  WideRoom m = wide_room(a.d);
  const u8* ahead = nullptr;
  if (threadIdx.x < TILE) {
    m.rows[threadIdx.x] = visible_row(a, v, sp, row, threadIdx.x);
    ahead = visible_row(a, v, sp, row, TILE + threadIdx.x);
  }
  sync_block();
  fetch_rows(a, m);
  UNROLL for (int i = 0; i < 4; i++) load_query(a, m.q, m.stride, row, head0, 4 * warp_id() + i);
  Merge run[2];
  UNROLL for (int h = 0; h < 2; h++) run[h] = {a.sinks[min_i(head0 + 16 * wh + g + 8 * h, a.heads - 1)], 1, 0, 0};
  float sum[16][4] = {};
  const u16* qa = m.q + (16 * wh + lane % 16) * m.stride + 8 * (lane / 16);
  const u16* kb = m.k + (16 * wc + lane % 8 + 8 * (lane / 16)) * m.stride + 8 * (lane / 8 % 2);
  for (int tile = 0; tile * TILE < v.count; tile++) {
    copies_wait<0>();
    sync_block(); // the packed rows are here; the tile before is done with
    spread_rows(a, m);
    if (threadIdx.x < TILE) m.rows[threadIdx.x] = ahead;
    sync_block();
    if ((tile + 1) * TILE < v.count) fetch_rows(a, m);
    if (threadIdx.x < TILE) ahead = visible_row(a, v, sp, row, (tile + 2) * TILE + threadIdx.x);
    float c[2][4] = {};
    for (int k = 0; k < a.d; k += 16) {
      u32 q[4], b[4];
      load_matrices(q, qa + k);
      load_matrices(b, kb + k);
      mma_f16(c[0], q[0], q[1], q[2], q[3], b[0], b[1]);
      mma_f16(c[1], q[0], q[1], q[2], q[3], b[2], b[3]);
    }
    UNROLL for (int n = 0; n < 2; n++)
      UNROLL for (int i = 0; i < 4; i++) {
        int col = 16 * wc + 8 * n + 2 * t + (i & 1);
        m.s[(16 * wh + g + 8 * (i / 2)) * TILE + col] = tile * TILE + col < v.count ? c[n][i] * a.scale : -3e38f;
      }
    sync_block();
    UNROLL for (int i = 0; i < 4; i++) weigh_head(m.s, m.p, m.m, m.l, 4 * warp_id() + i);
    sync_block();
    UNROLL for (int h = 0; h < 2; h++) merge(run[h], m.m[16 * wh + g + 8 * h], m.l[16 * wh + g + 8 * h]);
    u32 p[4][4];
    UNROLL for (int k = 0; k < 4; k++) load_matrices(p[k], m.p + (16 * wh + lane % 16) * (TILE + 8) + 16 * k + 8 * (lane / 16));
    UNROLL for (int n = 0; n < 16; n++) {
      int col = 8 * (wc + 4 * n);
      if (col < a.d) {
        float o[4] = {};
        weighted_columns(o, p, m.k + col, m.stride);
        UNROLL for (int i = 0; i < 4; i++) sum[n][i] = merge_value(sum[n][i], o[i], run[i / 2]);
      }
    }
  }
  sync_block(); // the room of rows and queries now takes the result, heads × d
  float *out = (float*)m.k, *l = m.s;
  UNROLL for (int n = 0; n < 16; n++)
    UNROLL for (int i = 0; i < 4; i += 2) {
      int col = 8 * (wc + 4 * n) + 2 * t;
      if (col < a.d) *(float2*)(out + (16 * wh + g + 4 * i) * a.d + col) = {sum[n][i], sum[n][i + 1]};
    }
  if (wc == 0 && t == 0) { l[16 * wh + g] = run[0].l; l[16 * wh + g + 8] = run[1].l; }
  sync_block();
  int chunks = (a.d + 255) / 256;
  for (int unit = warp_id(); unit < WIDE * chunks; unit += 16) {
    int h = unit / chunks, first = unit % chunks * 256;
    if (head0 + h >= a.heads) continue;
    float x[8];
    load8(x, out + h * a.d + first, 8 * lane_id(), a.d - first);
    finish_head(a, x, l[h], row, head0 + h, first);
  }
}
