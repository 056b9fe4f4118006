// Dense products: out[token][r] = W[r]·x[token], for the projections of every operation. "few" serves up to 32 tokens and is
// bound by memory: every warp streams tiles of its own, and sums meet in shared memory in ascending order of input. "many"
// keeps the activations of 64 tokens in shared memory and lets a warp run through the inputs of its 16 rows. Both add tiles
// in the same order, so a token's bits do not depend on which of them ran.
#include "tiles.cuh"

// Up to four matrices that read the same activations, side by side.
struct MatmulArgs {
  const Step* step;
  const u8* w[4];
  float* out[4];
  const u8* ape[4]; // f16 matrices: row pos mod ratio is added; null: none
  int m[4];         // rows
  int stride[4];    // of out, in floats
  const i8* q;      // int8 activations (tokens, cols), their scales
  const float* d;
  const u16 *hi, *lo; // f16 activations, the remainder
  int k, cols, group; // inputs of a row; length of an activation row; rows r … use inputs from r/group·k on
  int which, per_row, add, ape_f32, ratio;
  int tiles; // row tiles of a block ("few")
  int pad;
};
static_assert(sizeof(MatmulArgs) == 208, "mirrored in args.go");

DEV int tiles_of(int m) { return (m + 15) / 16; }

// place finds the matrix and the tile of a running tile number; −1 past the end.
DEV int place(const MatmulArgs& a, int* tile) {
  UNROLL for (int i = 0; i < 4; i++) {
    int n = tiles_of(a.m[i]);
    if (*tile < n) return i;
    *tile -= n;
  }
  return -1;
}

DEV void put(const MatmulArgs& a, int which, int row, int token, float v) {
  if (row >= a.m[which]) return;
  float* p = a.out[which] + (u64)token * a.stride[which] + row;
  if (a.ape[which]) {
    u64 at = (u64)(rows_of(a.step)[token].pos % a.ratio) * a.m[which] + row;
    v += a.ape_f32 ? ((const float*)a.ape[which])[at] : half_float(((const u16*)a.ape[which])[at]);
  }
  *p = a.add ? *p + v : v;
}

// reduce adds the partial sums of tiles: part is (tile of the block, run of 256 inputs, NT, 128).
template <int NT> DEV void reduce(const MatmulArgs& a, const float* part, int first, int runs, int tokens) {
  for (int o = threadIdx.x; o < a.tiles * NT * 128; o += 256) {
    int lane = o % 32, i = o / 32 % 4, nt = o / 128 % NT, tile = o / (128 * NT);
    int token = 8 * nt + 2 * (lane % 4) + (i & 1);
    if (token >= tokens) continue;
    int t = first + tile, which = place(a, &t);
    if (which < 0) continue;
    const float* p = part + (u64)tile * runs * NT * 128 + nt * 128 + i * 32 + lane;
    float sum = 0;
    for (int r = 0; r < runs; r++) sum += p[r * NT * 128];
    put(a, which, 16 * t + lane / 4 + 8 * (i / 2), token, sum);
  }
}

template <class W, int NT> DEV void matmul_few(const MatmulArgs& a) {
  float* part = (float*)dynamic_shared;
  int runs = (a.k + 255) / 256, first = blockIdx.x * a.tiles, units = a.tiles * runs, lane = lane_id();
  W w, next;
  auto fetch = [&](W& f, int u) {
    int t = first + u / runs, which = u < units ? place(a, &t) : -1;
    if (which >= 0) f.load(a.w[which] + ((u64)t * runs + u % runs) * W::BYTES, lane);
    return which >= 0 ? (16 * t / a.group) * a.k + u % runs * 256 : -1;
  };
  int k = fetch(w, warp_id());
  wait_previous();
  allow_next();
  int tokens = count_of(a.step, a.which) * a.per_row;
  if (tokens == 0) return;
  GlobalB<NT> b;
  b.q = a.q; b.d = a.d; b.cols = a.cols; b.tokens = tokens;
  b.prepare([](int n) { return n; });
  for (int u = warp_id(); u < units; u += 8) {
    int k_next = fetch(next, u + 8);
    float out[NT][4] = {};
    if (k >= 0) {
      b.k = k;
      b.last = min_i(8, (a.k - u % runs * 256) / 32) - 1;
      w.dot(out, b, nullptr);
    }
    UNROLL for (int nt = 0; nt < NT; nt++)
      UNROLL for (int i = 0; i < 4; i++) part[(u * NT + nt) * 128 + i * 32 + lane] = out[nt][i];
    w = next;
    k = k_next;
  }
  sync_block();
  reduce<NT>(a, part, first, runs, tokens);
}
KERNEL(matmul_q8_0_few8, MatmulArgs, 256, 2) { matmul_few<TileQ8_0, 1>(a); }
KERNEL(matmul_q8_0_few16, MatmulArgs, 256, 2) { matmul_few<TileQ8_0, 2>(a); }
KERNEL(matmul_q8_0_few32, MatmulArgs, 256, 2) { matmul_few<TileQ8_0, 4>(a); }

const int MANY = 8; // token groups of a block
template <class W> DEV void matmul_many(const MatmulArgs& a) {
  typedef SharedB<MANY> B;
  wait_previous();
  allow_next();
  int total = count_of(a.step, a.which) * a.per_row, token0 = blockIdx.x * 8 * MANY, tokens = min_i(8 * MANY, total - token0);
  if (tokens <= 0) return;
  int t = blockIdx.y * 8 + warp_id(), which = place(a, &t), runs = (a.k + 255) / 256, lane = lane_id();
  int t0 = blockIdx.y * 8, which0 = place(a, &t0); // of the block: all its tiles lie in one group, see launchGroups
  int k0 = which0 < 0 ? 0 : 16 * t0 / a.group * a.k;
  float out[MANY][4] = {};
  auto fill = [&](int s) {
    stage<MANY, 256, W::K256>(dynamic_shared + s % 2 * B::BYTES, a.q, a.d, a.cols, k0 + 256 * s, a.k - 256 * s, tokens, [&](int n) { return token0 + n; });
  };
  fill(0);
  copies_commit();
  for (int s = 0; s < runs; s++) {
    if (s + 1 < runs) fill(s + 1);
    copies_commit();
    W w;
    if (which >= 0) w.load(a.w[which] + ((u64)t * runs + s) * W::BYTES, lane);
    copies_wait<1>();
    sync_block();
    if (which >= 0) w.dot(out, B{dynamic_shared + s % 2 * B::BYTES, tokens}, nullptr);
    sync_block();
  }
  if (which < 0) return;
  UNROLL for (int nt = 0; nt < MANY; nt++)
    UNROLL for (int i = 0; i < 4; i++) {
      int token = 8 * nt + 2 * (lane % 4) + (i & 1);
      if (token < tokens) put(a, which, 16 * t + lane / 4 + 8 * (i / 2), token0 + token, out[nt][i]);
    }
}
KERNEL(matmul_q8_0_many, MatmulArgs, 256, 2) { matmul_many<TileQ8_0>(a); }

// F16 matrices keep the file's layout. Activations are f16 pairs x = hi + lo, so a product is as good as f32's.
struct TileF16 {
  uint4 w[8][2];
  DEVM void load(const u16* m, int rows, int k, int row, int s) {
    int r0 = min_i(row + lane_id() / 4, rows - 1), r1 = min_i(row + lane_id() / 4 + 8, rows - 1);
    UNROLL for (int j = 0; j < 8; j++) {
      int at = 256 * s + 32 * j + 8 * (lane_id() % 4);
      w[j][0] = w[j][1] = {0, 0, 0, 0};
      if (256 * s + 32 * j < k) {
        w[j][0] = load16(m + (u64)r0 * k + at);
        w[j][1] = load16(m + (u64)r1 * k + at);
      }
    }
  }
  DEVM void step(float (&c)[4], int j, const uint4& x) const {
    mma_f16(c, w[j][0].x, w[j][1].x, w[j][0].y, w[j][1].y, x.x, x.y);
    mma_f16(c, w[j][0].z, w[j][1].z, w[j][0].w, w[j][1].w, x.z, x.w);
  }
};

template <int NT> DEV void matmul_f16_few(const MatmulArgs& a) {
  float* part = (float*)dynamic_shared;
  int runs = (a.k + 255) / 256, first = blockIdx.x * a.tiles, units = a.tiles * runs, lane = lane_id();
  bool waited = false;
  int tokens = 0;
  for (int u = warp_id(); u < units; u += 8) {
    int t = first + u / runs, which = place(a, &t), s = u % runs, blocks = min_i(8, (a.k - 256 * s) / 32);
    TileF16 w;
    w.load((const u16*)a.w[max_i(which, 0)], which >= 0 ? a.m[which] : 1, a.k, which >= 0 ? 16 * t : 0, s);
    if (!waited) { wait_previous(); allow_next(); tokens = count_of(a.step, a.which) * a.per_row; waited = true; }
    float out[NT][4] = {};
    UNROLL for (int nt = 0; nt < NT; nt++)
      if (nt == 0 || 8 * nt < tokens) {
        u64 at = (u64)min_i(8 * nt + lane / 4, max_i(tokens - 1, 0)) * a.cols + 256 * s + 8 * (lane % 4);
        uint4 hi[8], lo[8];
        UNROLL for (int j = 0; j < 8; j++) {
          hi[j] = *(const uint4*)(a.hi + at + 32 * min_i(j, blocks - 1));
          lo[j] = *(const uint4*)(a.lo + at + 32 * min_i(j, blocks - 1));
        }
        UNROLL for (int j = 0; j < 8; j++) {
          w.step(out[nt], j, hi[j]);
          w.step(out[nt], j, lo[j]);
        }
      }
    UNROLL for (int nt = 0; nt < NT; nt++)
      UNROLL for (int i = 0; i < 4; i++) part[(u * NT + nt) * 128 + i * 32 + lane] = out[nt][i];
  }
  if (!waited) { wait_previous(); allow_next(); tokens = count_of(a.step, a.which) * a.per_row; }
  sync_block();
  reduce<NT>(a, part, first, runs, tokens);
}
KERNEL(matmul_f16_few8, MatmulArgs, 256, 2) { matmul_f16_few<1>(a); }
KERNEL(matmul_f16_few32, MatmulArgs, 256, 2) { matmul_f16_few<4>(a); }

const int F16_STRIDE = 576; // bytes between tokens: 256 halves, and reads of 16 bytes that meet no bank twice
KERNEL(matmul_f16_many, MatmulArgs, 256, 2) {
  wait_previous();
  allow_next();
  int total = count_of(a.step, a.which) * a.per_row, token0 = blockIdx.x * 8 * MANY, tokens = min_i(8 * MANY, total - token0);
  if (tokens <= 0) return;
  int t = blockIdx.y * 8 + warp_id(), which = place(a, &t), runs = (a.k + 255) / 256, lane = lane_id();
  float out[MANY][4] = {};
  const int plane_bytes = 8 * MANY * F16_STRIDE;
  for (int s = 0; s < runs; s++) {
    int blocks = min_i(8, (a.k - 256 * s) / 32);
    sync_block();
    for (int i = threadIdx.x; i < 8 * MANY * 64; i += 256) {
      int n = i / 64, plane = i / 32 % 2, c = i % 32;
      u8* dst = dynamic_shared + plane * plane_bytes + n * F16_STRIDE + 16 * c;
      if (n < tokens && c < 4 * blocks)
        copy16_async(dst, (plane ? a.lo : a.hi) + (u64)(token0 + n) * a.cols + 256 * s + 8 * c);
      else
        *(uint4*)dst = {0, 0, 0, 0};
    }
    copies_commit();
    copies_wait<0>();
    sync_block();
    if (which < 0) continue;
    TileF16 w;
    w.load((const u16*)a.w[which], a.m[which], a.k, 16 * t, s);
    UNROLL for (int nt = 0; nt < MANY; nt++)
      if (8 * nt < tokens) {
        float acc[4] = {};
        UNROLL for (int j = 0; j < 8; j++) {
          int at = (8 * nt + lane / 4) * F16_STRIDE + 64 * j + 16 * (lane % 4);
          w.step(acc, j, *(const uint4*)(dynamic_shared + at));
          w.step(acc, j, *(const uint4*)(dynamic_shared + plane_bytes + at));
        }
        UNROLL for (int i = 0; i < 4; i++) out[nt][i] += acc[i];
      }
  }
  if (which < 0) return;
  UNROLL for (int nt = 0; nt < MANY; nt++)
    UNROLL for (int i = 0; i < 4; i++) {
      int token = 8 * nt + 2 * (lane % 4) + (i & 1);
      if (token < tokens) put(a, which, 16 * t + lane / 4 + 8 * (i / 2), token0 + token, out[nt][i]);
    }
}

// F32 matrices, which only draft files hold: a warp a row and token, whatever the count. x is f32, passed in q.
KERNEL(matmul_f32, MatmulArgs, 256) {
  wait_previous();
  allow_next();
  int token = blockIdx.x, row = blockIdx.y * 8 + warp_id(), which = 0;
  if (token >= count_of(a.step, a.which) * a.per_row) return;
  while (which < 4 && row >= a.m[which]) row -= a.m[which++];
  if (which == 4) return;
  const float *w = (const float*)a.w[which] + (u64)row * a.k, *x = (const float*)a.q + (u64)token * a.cols;
  float s = 0;
  for (int i = lane_id(); i < a.k; i += 32) s = fma_rn(w[i], x[i], s);
  s = warp_sum(s);
  if (lane_id() == 0) put(a, which, row, token, s);
}
