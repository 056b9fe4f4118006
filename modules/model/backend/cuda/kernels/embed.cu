// Embed: every stream starts as the token's row of the table, or as a given row. And what a step needs first: its rotations.
#include "quant.cuh"

// rope_table writes cos and sin of every row's pairs, for both kinds of layer: (rows, kind, pairs, 2).
struct RopeTableArgs { const Step* step; float* out; Rope rope; };
static_assert(sizeof(RopeTableArgs) == 40, "mirrored in args.go");
KERNEL(rope_table, RopeTableArgs, 128) {
  wait_previous();
  allow_next();
  int row = blockIdx.x;
  if (row >= a.step->rows) return;
  for (int i = threadIdx.x; i < 2 * a.rope.pairs; i += 128) {
    float c, s;
    cos_sin(rope_angle(a.rope, i / a.rope.pairs, rows_of(a.step)[row].pos, i % a.rope.pairs), &c, &s);
    *(float2*)(a.out + 2 * ((u64)row * 2 * a.rope.pairs + i)) = {c, s};
  }
}

struct EmbedArgs { const Step* step; const u8* table; const float* given; float* hc; int d, f32; };
static_assert(sizeof(EmbedArgs) == 40, "mirrored in args.go");
KERNEL(embed, EmbedArgs, 256) {
  wait_previous();
  allow_next();
  int row = blockIdx.x;
  if (row >= a.step->rows) return;
  Row r = rows_of(a.step)[row];
  for (int i = threadIdx.x; i < a.d; i += 256) {
    u64 at = (u64)r.token * a.d + i;
    float v = r.from >= 0 ? a.given[(u64)r.from * a.d + i] : a.f32 ? ((const float*)a.table)[at] : half_float(((const u16*)a.table)[at]);
    UNROLL for (int s = 0; s < 4; s++) a.hc[((u64)row * 4 + s) * a.d + i] = v;
  }
}
