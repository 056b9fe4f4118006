// Dense products: out[token][r] = W[r]·x[token], for the projections of every operation. "few" serves up to 32 tokens and is
// bound by memory: a block owns a multiprocessor, its 16 warps stream tiles of their own, and sums meet in shared memory in
// ascending order of input. "many" keeps the activations of 64 tokens in shared memory and lets a warp run through the inputs
// of its 16 rows. Both add tiles in the same order, so a token's bits do not depend on which of them ran.
#pragma once
#include "hc.cuh"
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
  int tiles;             // row tiles of a block ("few")
  int finish;            // what follows the product (few8): see below
  i8* q8;                // int8 form of the result, rows of q8_cols
  float* q8_d;
  const float* products; // (token, active, m): added up before the result
  int q8_cols, active;
  float clamp;
  int pad;
};
static_assert(sizeof(MatmulArgs) == 248, "mirrored in args.go");

// What "few8" does with sums: store them; or make their int8 form, of the sums or of the gated product of the two matrices
// whose rows alternate by block; or add up the routed experts' products first. The same arithmetic as the kernels that do it
// for many tokens.
enum { STORE = 0, QUANTIZE = 1, GATE_QUANTIZE = 2, ADD_PRODUCTS = 3 };

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
  if (a.finish == ADD_PRODUCTS) {
    float sum = 0;
    for (int c = 0; c < a.active; c++) sum += a.products[((u64)token * a.active + c) * a.m[which] + row];
    *p = sum + v;
    return;
  }
  *p = a.add ? *p + v : v;
}

// sum_part adds the partial sums of a tile: part is (tile of the block, run of 256 inputs, NT, 128).
template <int NT> DEV float sum_part(const float* part, int tile, int runs, int at) {
  const float* p = part + (u64)tile * runs * NT * 128 + at;
  float sum = 0;
  for (int r = 0; r < runs; r++) sum += p[r * NT * 128];
  return sum;
}

template <int NT> DEV void reduce(const MatmulArgs& a, const float* part, int first, int runs, int tokens) {
  for (int o = threadIdx.x; o < a.tiles * NT * 128; o += 512) {
    int lane = o % 32, i = o / 32 % 4, nt = o / 128 % NT, tile = o / (128 * NT);
    int token = 8 * nt + 2 * (lane % 4) + (i & 1);
    if (token >= tokens) continue;
    int t = first + tile, which = place(a, &t);
    if (which >= 0) put(a, which, 16 * t + lane / 4 + 8 * (i / 2), token, sum_part<NT>(part, tile, runs, o % (NT * 128)));
  }
}

// reduce_quantize makes blocks of 32 rows, a warp a token and block; gated, the block's second half of tiles is the up matrix.
DEV void reduce_quantize(const MatmulArgs& a, float* part, int runs, int tokens) {
  bool gated = a.finish == GATE_QUANTIZE;
  int half = gated ? a.tiles / 2 : a.tiles, first = blockIdx.x * half; // 16·half rows of the result
  float* sums = part + a.tiles * runs * 128;                          // (tile, token, row)
  for (int o = threadIdx.x; o < a.tiles * 128; o += 512) {
    int lane = o % 32, i = o / 32 % 4, tile = o / 128;
    sums[tile * 128 + (2 * (lane % 4) + (i & 1)) * 16 + lane / 4 + 8 * (i / 2)] = sum_part<1>(part, tile, runs, o % 128);
  }
  sync_block();
  for (int u = warp_id(); u < half / 2 * tokens; u += 16) {
    int token = u % tokens, tile = u / tokens * 2 + lane_id() / 16, row = 16 * (first + u / tokens * 2) + lane_id();
    float v = sums[tile * 128 + token * 16 + lane_id() % 16];
    if (gated) v = swiglu(v, sums[(half + tile) * 128 + token * 16 + lane_id() % 16], a.clamp);
    float d = warp_max(abs_f(v)) / 127.0f, inv = d != 0 ? 1.0f / d : 0.0f;
    if (row - lane_id() >= a.m[0]) continue;
    u64 at = (u64)token * a.q8_cols + row;
    a.q8[at] = (i8)(int)clamp8(v * inv);
    if (lane_id() == 0) a.q8_d[at / 32] = d;
  }
}

// locate finds tile i of this block: its matrix and its number there; gated blocks take the same rows of both matrices.
DEV int locate(const MatmulArgs& a, int block, int i, int* tile) {
  if (a.finish == GATE_QUANTIZE) {
    int half = a.tiles / 2;
    *tile = block * half + i % half;
    return *tile < tiles_of(a.m[0]) ? i / half : -1;
  }
  *tile = block * a.tiles + i;
  return place(a, tile);
}

// With a tail the block's two tiles are a slice of the streams, and it goes on to HCPost.
template <class W, int NT> DEV void matmul_few(const MatmulArgs& a, const HCTail& tail, int block) {
  float* part = (float*)dynamic_shared;
  int runs = (a.k + 255) / 256, first = block * a.tiles, units = a.tiles * runs, lane = lane_id();
  u8* room = (u8*)(part + a.tiles * runs * NT * 128 + a.tiles * 128);
  W w[2]; // in turns: a tile is on its way while another is used, and never copied
  auto fetch = [&](W& f, int u) {
    int t, which = u < units ? locate(a, block, u / runs, &t) : -1;
    if (which >= 0) f.load(a.w[which] + ((u64)t * runs + u % runs) * W::BYTES, lane, FromGlobal());
    return which >= 0;
  };
  bool on[2] = {fetch(w[0], warp_id()), fetch(w[1], warp_id() + 16)};
  int t0, which0 = locate(a, block, 0, &t0), k0 = which0 < 0 ? 0 : 16 * t0 / a.group * a.k; // a block's tiles lie in one group
  if (NT == 1 && tail.fn) {
    tail_load<512>(room, tail, block, a.step->rows);
    room += TAIL_BYTES;
  }
  wait_previous();
  allow_next();
  int tokens = count_of(a.step, a.which) * a.per_row;
  if (tokens == 0) return;
  GlobalB<NT> g;
  RowsB b;
  if (NT == 1) {
    stage_rows<512>(room, a.q, a.d, a.cols, k0, a.k, tokens);
    b.prepare(room, a.k, tokens);
    sync_block();
  } else {
    g.q = a.q; g.d = a.d; g.cols = a.cols; g.tokens = tokens;
    g.prepare([](int n) { return n; });
  }
  auto use = [&](W& f, int u, bool on) {
    float out[NT][4] = {};
    if (on) {
      int k = u % runs * 256;
      if constexpr (NT == 1) {
        b.k = k;
        f.dot(out, b, nullptr);
      } else {
        g.k = k0 + k; g.last = min_i(8, (a.k - k) / 32) - 1;
        f.dot(out, g, nullptr);
      }
    }
    UNROLL for (int nt = 0; nt < NT; nt++)
      UNROLL for (int i = 0; i < 4; i++) part[(u * NT + nt) * 128 + i * 32 + lane] = out[nt][i];
  };
  for (int u = warp_id(); u < units; u += 32) {
    use(w[0], u, on[0]);
    on[0] = fetch(w[0], u + 32);
    if (u + 16 >= units) break;
    use(w[1], u + 16, on[1]);
    on[1] = fetch(w[1], u + 48);
  }
  if (NT == 1 && tail.fn) copies_wait<0>();
  sync_block();
  if (NT == 1 && tail.fn) {
    float* y = part + a.tiles * runs * 128; // (token, row)
    for (int o = threadIdx.x; o < 256; o += 512) {
      int tile = o / 128, i = o / 32 % 4, token = 2 * (lane % 4) + (i & 1), row = 16 * tile + lane / 4 + 8 * (i / 2);
      if (token >= tokens) continue;
      float v = sum_part<1>(part, tile, runs, o % 128);
      y[token * 32 + row] = v;
      a.out[0][(u64)token * a.stride[0] + 16 * first + row] = v;
    }
    sync_block();
    if (warp_id() == 0) tail_finish(room - TAIL_BYTES, tail, y, block, tokens);
    return;
  }
  if (NT == 1 && (a.finish == QUANTIZE || a.finish == GATE_QUANTIZE)) reduce_quantize(a, part, runs, tokens);
  else reduce<NT>(a, part, first, runs, tokens);
}
KERNEL(matmul_q8_0_few8, MatmulArgs, 512, 1) { matmul_few<TileQ8_0, 1>(a, {}, blockIdx.x); }
struct MatmulPostArgs { MatmulArgs m; HCTail tail; };
static_assert(sizeof(MatmulPostArgs) == 288, "mirrored in args.go");
KERNEL(matmul_q8_0_few8_post, MatmulPostArgs, 512, 1) { matmul_few<TileQ8_0, 1>(a.m, a.tail, blockIdx.x); }
KERNEL(matmul_q8_0_few16, MatmulArgs, 512, 1) { matmul_few<TileQ8_0, 2>(a, {}, blockIdx.x); }
KERNEL(matmul_q8_0_few32, MatmulArgs, 512, 1) { matmul_few<TileQ8_0, 4>(a, {}, blockIdx.x); }

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
  const u8* tiles = which < 0 ? nullptr : a.w[which] + (u64)t * runs * W::BYTES;
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
    if (which >= 0) w.load(tiles + (u64)s * W::BYTES, lane, FromGlobal());
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

// Half a tile: 128 inputs.
struct HalfTileF16 {
  uint4 w[4][2];
  DEVM void load(const u16* m, int rows, int k, int row, int at0) {
    int r0 = min_i(row + lane_id() / 4, rows - 1), r1 = min_i(row + lane_id() / 4 + 8, rows - 1);
    UNROLL for (int j = 0; j < 4; j++) {
      int at = at0 + 32 * j;
      w[j][0] = w[j][1] = {0, 0, 0, 0};
      if (at < k) {
        w[j][0] = load16(m + (u64)r0 * k + at + 8 * (lane_id() % 4));
        w[j][1] = load16(m + (u64)r1 * k + at + 8 * (lane_id() % 4));
      }
    }
  }
};

template <int NT> DEV void matmul_f16_few(const MatmulArgs& a, int block) {
  float* part = (float*)dynamic_shared;
  int runs = (a.k + 255) / 256, first = block * a.tiles, units = a.tiles * runs, lane = lane_id();
  HalfTileF16 w[2]; // the halves of a tile in turns
  auto fetch = [&](HalfTileF16& f, int u, int half) {
    int t = first + u / runs, which = u < units ? place(a, &t) : -1;
    if (which >= 0) f.load((const u16*)a.w[which], a.m[which], a.k, 16 * t, u % runs * 256 + 128 * half);
    return which >= 0;
  };
  bool on = fetch(w[0], warp_id(), 0);
  fetch(w[1], warp_id(), 1);
  wait_previous();
  allow_next();
  int tokens = count_of(a.step, a.which) * a.per_row;
  if (tokens == 0) return;
  auto use = [&](const HalfTileF16& f, float (&out)[NT][4], int u, int half) {
    UNROLL for (int nt = 0; nt < NT; nt++)
      if (nt == 0 || 8 * nt < tokens) {
        u64 row = (u64)min_i(8 * nt + lane / 4, tokens - 1) * a.cols + 8 * (lane % 4);
        int at = u % runs * 256 + 128 * half;
        uint4 hi[4], lo[4];
        UNROLL for (int j = 0; j < 4; j++) {
          int k = min_i(at + 32 * j, a.k - 32);
          hi[j] = *(const uint4*)(a.hi + row + k);
          lo[j] = *(const uint4*)(a.lo + row + k);
        }
        UNROLL for (int j = 0; j < 4; j++) {
          mma_f16(out[nt], f.w[j][0].x, f.w[j][1].x, f.w[j][0].y, f.w[j][1].y, hi[j].x, hi[j].y);
          mma_f16(out[nt], f.w[j][0].z, f.w[j][1].z, f.w[j][0].w, f.w[j][1].w, hi[j].z, hi[j].w);
          mma_f16(out[nt], f.w[j][0].x, f.w[j][1].x, f.w[j][0].y, f.w[j][1].y, lo[j].x, lo[j].y);
          mma_f16(out[nt], f.w[j][0].z, f.w[j][1].z, f.w[j][0].w, f.w[j][1].w, lo[j].z, lo[j].w);
        }
      }
  };
  for (int u = warp_id(); u < units; u += 16) {
    float out[NT][4] = {};
    bool next = false;
    if (on) use(w[0], out, u, 0);
    next = fetch(w[0], u + 16, 0);
    if (on) use(w[1], out, u, 1);
    fetch(w[1], u + 16, 1);
    on = next;
    UNROLL for (int nt = 0; nt < NT; nt++)
      UNROLL for (int i = 0; i < 4; i++) part[(u * NT + nt) * 128 + i * 32 + lane] = out[nt][i];
  }
  sync_block();
  reduce<NT>(a, part, first, runs, tokens);
}
KERNEL(matmul_f16_few8, MatmulArgs, 512, 1) { matmul_f16_few<1>(a, blockIdx.x); }
KERNEL(matmul_f16_few32, MatmulArgs, 512, 1) { matmul_f16_few<4>(a, blockIdx.x); }

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
