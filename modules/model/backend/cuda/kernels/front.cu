// The first half of attention for few rows: every product of the sublayer's row, of Q8_0 and of F16 matrices, side by side in one
// launch, and everything else that waits for them alone in a second.
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

// front_rest is everything that waits for front's results alone: latent and KV row, the compressor's rows, and the selection where
// all rows are selected.
struct FrontRestArgs { LatentKVArgs latent; EmitArgs emit; IndexSelectArgs select; int emits, selects; };
static_assert(sizeof(FrontRestArgs) == 384, "mirrored in args.go");
KERNEL(front_rest, FrontRestArgs, 256) { // (row, task)
  wait_previous();
  allow_next();
  int row = blockIdx.x, task = blockIdx.y;
  if (row >= a.latent.q.step->rows) return;
  if (task == 0) q_latent(a.latent.q, row);
  else if (task == 1) kv_row(a.latent.kv, row);
  else if (task < 2 + a.emits) emit_piece(a.emit, row, task - 2);
  else select_all(a.select.sel + (u64)row * a.select.topk, a.select.topk, 256);
}
