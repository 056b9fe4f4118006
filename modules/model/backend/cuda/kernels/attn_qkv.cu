// AttnQKV: between its products, the norms, the rotation, and the KV row's way into the cache.
#pragma once
#include "quant.cuh"

struct LatentArgs {
  const Step* step;
  const float *raw, *norm; // raw (rows, n)
  float* out;              // (rows, n)
  Forms f;
  int n;
  float eps;
};
static_assert(sizeof(LatentArgs) == 88, "mirrored in args.go");

struct KVArgs {
  const Step* step;
  const float *raw, *norm, *rope;
  u8 *kv, *slots; // slots: the layer's part
  u64 slot_stride;
  int d, rope_dim, row_bytes, kind;
  float eps;
  int ring;
};
static_assert(sizeof(KVArgs) == 80, "mirrored in args.go");

// q_latent norms the query latent and makes its forms.
DEV void q_latent(const LatentArgs& a, int row) {
  const float* x = a.raw + (u64)row * a.n;
  float s = 0;
  for (int i = threadIdx.x; i < a.n; i += 256) s = fma_rn(x[i], x[i], s);
  float scale = 1.0f / sqrt_rn(block_sum<256>(s) / (float)a.n + a.eps);
  for (int b = warp_id(); b * 256 < a.n; b += 8) {
    int at = 256 * b + 8 * lane_id();
    float v[8], w[8];
    load8(v, x, at, a.n);
    load8(w, a.norm, at, a.n);
    UNROLL for (int i = 0; i < 8; i++) v[i] = v[i] * scale * w[i];
    if (at < a.n) {
      float* o = a.out + (u64)row * a.n + at;
      *(float4*)o = {v[0], v[1], v[2], v[3]};
      *(float4*)(o + 4) = {v[4], v[5], v[6], v[7]};
    }
    quantize_block(a.f, (u64)row * a.n + 256 * b, a.n - 256 * b, v);
  }
}

// kv_row norms, rotates and packs a KV row. Rows of up to 4096 values.
DEV void kv_row(const KVArgs& a, int row) {
  SHARED float x[4096];
  const float *raw = a.raw + (u64)row * a.d, *cs = a.rope + ((u64)row * 2 + a.kind) * a.rope_dim;
  float s = 0;
  for (int i = threadIdx.x; i < a.d; i += 256) s = fma_rn(raw[i], raw[i], s);
  float scale = 1.0f / sqrt_rn(block_sum<256>(s) / (float)a.d + a.eps);
  for (int i = 2 * threadIdx.x; i < a.d; i += 512) {
    float u = raw[i] * scale * a.norm[i], v = raw[i + 1] * scale * a.norm[i + 1];
    int k = i - (a.d - a.rope_dim);
    if (k >= 0) {
      float c = cs[k], sn = cs[k + 1], t = u * c - v * sn;
      v = u * sn + v * c;
      u = t;
    }
    x[i] = u;
    x[i + 1] = v;
  }
  sync_block();
  pack_kv<256>(a.kv + (u64)row * a.row_bytes, x, a.d, a.rope_dim, a.row_bytes);
  u8* ring = ring_row(a.step, a.slots, a.slot_stride, a.ring, a.row_bytes, row);
  if (ring) pack_kv<256>(ring, x, a.d, a.rope_dim, a.row_bytes);
}

struct LatentKVArgs { LatentArgs q; KVArgs kv; };
static_assert(sizeof(LatentKVArgs) == 168, "mirrored in args.go");
KERNEL(attn_qkv_latents, LatentKVArgs, 256) { // y = 0: the query latent, y = 1: the KV row
  wait_previous();
  allow_next();
  if ((int)blockIdx.x >= a.q.step->rows) return;
  if (blockIdx.y == 0) q_latent(a.q, blockIdx.x); else kv_row(a.kv, blockIdx.x);
}

// q_heads norms and rotates every head in place: a warp a head. Attend does it itself where it may.
struct QHeadsArgs { const Step* step; float* q; const float* rope; int heads, d, rope_dim, kind; float eps; int pad; };
static_assert(sizeof(QHeadsArgs) == 48, "mirrored in args.go");
KERNEL(q_heads, QHeadsArgs, 256) {
  wait_previous();
  allow_next();
  int row = blockIdx.x, h = blockIdx.y * 8 + warp_id();
  if (row >= a.step->rows || h >= a.heads) return;
  float* x = a.q + ((u64)row * a.heads + h) * a.d + 4 * lane_id();
  float4 v[4];
  UNROLL for (int j = 0; j < 4; j++) {
    v[j] = {0, 0, 0, 0};
    if (4 * lane_id() + 128 * j < a.d) v[j] = *(float4*)(x + 128 * j);
  }
  norm_head(v, a.d, a.rope_dim, a.rope + ((u64)row * 2 + a.kind) * a.rope_dim, a.eps);
  UNROLL for (int j = 0; j < 4; j++)
    if (4 * lane_id() + 128 * j < a.d) *(float4*)(x + 128 * j) = v[j];
}

// keep_ring copies the old rows that a ring still holds where a span moves to a spare slot; who makes the new rows stores
// them. rows are of row_bytes, a multiple of 16; base is where the ring starts in the layer's part.
struct KeepArgs { const Step* step; u8* slots; u64 slot_stride; int base, ring, row_bytes, pad; };
static_assert(sizeof(KeepArgs) == 40, "mirrored in args.go");
KERNEL(keep_ring, KeepArgs, 128) { // a block a span and ring row
  wait_previous();
  allow_next();
  if ((int)blockIdx.y >= a.step->spans) return;
  Span sp = spans_of(a.step)[blockIdx.y];
  int p = max_i(0, sp.pos + sp.rows - a.ring) + (int)blockIdx.x;
  if (p >= sp.pos || sp.into == sp.slot) return;
  u64 at = a.base + (u64)(p % a.ring) * a.row_bytes;
  const u8* src = a.slots + sp.slot * a.slot_stride + at;
  u8* dst = a.slots + sp.into * a.slot_stride + at;
  for (int i = 16 * threadIdx.x; i < a.row_bytes; i += 2048) *(uint4*)(dst + i) = *(const uint4*)(src + i);
}
