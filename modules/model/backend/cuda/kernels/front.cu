// The first half of attention for few rows. front is every product of the sublayer's row, of Q8_0 and of F16 matrices, side by
// side in one launch. q_b_one, for a single row, is every product of the query latent; its blocks norm the latent themselves,
// and what else waits for front's results is done by blocks of its own: the latent and the KV row that others read, the
// compressor's rows, and the selection where all rows are selected.
#include "attn_qkv.cu"
#include "compress.cu"
#include "index_topk.cu"
#include "matmul.cu"

struct FrontArgs { MatmulArgs q8, f16; int split, pad; }; // split: blocks of q8
static_assert(sizeof(FrontArgs) == 504, "mirrored in args.go");
KERNEL(front, FrontArgs, 512, 1) {
  int block = blockIdx.x - a.split;
  if (block < 0) matmul_few<TileQ8_0, 1>(a.q8, {}, blockIdx.x);
  else matmul_f16_few<1>(a.f16, block);
}

// normed_latent hands out the forms of the one query latent that q_latent would make: 512 threads, sums as its 256 add them.
template <class MAKE> DEV void normed_latent(const LatentArgs& a, MAKE make) {
  SHARED float part[16];
  float s = 0;
  if (threadIdx.x < 256)
    for (int i = threadIdx.x; i < a.n; i += 256) s = fma_rn(a.raw[i], a.raw[i], s);
  s = warp_sum(s);
  if (lane_id() == 0) part[warp_id()] = s;
  sync_block();
  s = 0;
  UNROLL for (int i = 0; i < 8; i++) s += part[i];
  float scale = 1.0f / sqrt_rn(s / (float)a.n + a.eps);
  for (int b = warp_id(); b * 256 < a.n; b += 16) {
    float v[8], w[8];
    load8(v, a.raw, 256 * b + 8 * lane_id(), a.n);
    load8(w, a.norm, 256 * b + 8 * lane_id(), a.n);
    UNROLL for (int i = 0; i < 8; i++) v[i] = v[i] * scale * w[i];
    quantize_block(make, 256 * b, a.n - 256 * b, v);
  }
}
struct StageLatent { // as stage_rows leaves a single row
  const LatentArgs& l;
  DEVM void operator()(u8* room, const MatmulArgs& a, int, int) const {
    float* d = (float*)(room + RowsB::row_bytes(a.k));
    for (int i = a.k / 16 + threadIdx.x; i < (a.k + 255) / 256 * 16; i += 512) *(uint4*)(room + 16 * i) = {0, 0, 0, 0};
    for (int i = a.k / 32 + threadIdx.x; i < (a.k + 255) / 256 * 8; i += 512) d[i] = 0;
    normed_latent(l, Forms{(i8*)room, d});
  }
};
struct StageLatentF16 {
  const LatentArgs& l;
  DEVM void operator()(u8* room, const u16*& hi, const u16*& lo) const {
    u16 *h = (u16*)room, *r = h + l.n;
    normed_latent(l, Forms{nullptr, nullptr, nullptr, nullptr, h, r});
    hi = h;
    lo = r;
    sync_block();
  }
};

struct QBArgs {
  MatmulArgs q8, f16;
  LatentKVArgs latent;
  EmitArgs emit;
  IndexSelectArgs select;
  int split, sides, emits, selects; // blocks of q8; blocks of other work, which come first; of it, the compressor's pieces
};
static_assert(sizeof(QBArgs) == 888, "mirrored in args.go");

DEV void q_b_side(const QBArgs& a) { // 256 threads, as the kernels that do the same for many rows
  for (int task = blockIdx.x; task < 3 + a.emits; task += a.sides) {
    sync_block();
    if (task == 0) kv_row(a.latent.kv, 0);
    else if (task <= a.emits) emit_piece(a.emit, 0, task - 1);
    else if (task == a.emits + 1) q_latent(a.latent.q, 0);
    else if (a.selects) select_all(a.select.sel, a.select.topk, 256);
  }
}

KERNEL(q_b_one, QBArgs, 512, 1) {
  int block = blockIdx.x - a.sides;
  if (block < 0) {
    wait_previous();
    allow_next();
    if (threadIdx.x < 256) q_b_side(a);
  } else if (block < a.split) {
    matmul_few<TileQ8_0, 1>(a.q8, {}, block, StageLatent{a.latent.q});
  } else {
    matmul_f16_few<1>(a.f16, block - a.split, StageLatentF16{a.latent.q});
  }
}
