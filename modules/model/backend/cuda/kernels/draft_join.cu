// DraftJoin: the norms before its two products, and the sum after them.
#include "quant.cuh"

struct DraftArgs {
  const Step* step;
  const u8* table;
  const float *prev, *enorm, *hnorm;
  float *ep, *hp, *hc; // (rows, d), (rows, 4, d): normed inputs or products; (rows, 4, d)
  Forms e, h;
  int d, f32;
  float eps;
  int pad;
};
static_assert(sizeof(DraftArgs) == 176, "mirrored in args.go");

KERNEL(draft_norms, DraftArgs, 256) { // y = 0: the token's embedding; 1 … 4: a stream of the row that it comes from
  wait_previous();
  allow_next();
  int row = blockIdx.x, s = (int)blockIdx.y - 1;
  if (row >= a.step->rows) return;
  Row r = rows_of(a.step)[row];
  auto value = [&](int i) {
    if (s >= 0) return a.prev[((u64)r.from * 4 + s) * a.d + i];
    u64 at = (u64)r.token * a.d + i;
    return a.f32 ? ((const float*)a.table)[at] : half_float(((const u16*)a.table)[at]);
  };
  float squares = 0;
  for (int i = threadIdx.x; i < a.d; i += 256) squares = fma_rn(value(i), value(i), squares);
  float scale = 1.0f / sqrt_rn(block_sum<256>(squares) / (float)a.d + a.eps);
  const float* norm = s < 0 ? a.enorm : a.hnorm;
  for (int b = warp_id(); b * 256 < a.d; b += 8) {
    int at = 256 * b + 8 * lane_id();
    float v[8];
    UNROLL for (int i = 0; i < 8; i++) v[i] = value(at + i) * scale * norm[at + i];
    if (s < 0) quantize_block(a.e, (u64)row * a.d + 256 * b, 256, v);
    else quantize_block(a.h, ((u64)row * 4 + s) * a.d + 256 * b, 256, v);
  }
}

KERNEL(draft_join, DraftArgs, 256) {
  wait_previous();
  allow_next();
  int row = blockIdx.x;
  if (row >= a.step->rows) return;
  for (int i = threadIdx.x; i < 4 * a.d; i += 256)
    a.hc[(u64)row * 4 * a.d + i] = a.ep[(u64)row * a.d + i % a.d] + a.hp[(u64)row * 4 * a.d + i];
}
