// Experts runs the routed experts of all rows, grouped by expert so that a weight is read once: experts_plan makes items of
// one expert and up to 8 (64) of its (row, choice) pairs; gate/up and down run over items times row tiles; experts_sum adds
// the products of a row in the order of its choices. Nothing depends on the order of pairs within an item.
#include "tiles.cuh"

struct Item { int expert, first, count; };
struct PlanArgs { const Step* step; const int* ids; int* list; Item* items; int* counts; int experts, active, tile, pad; };
static_assert(sizeof(PlanArgs) == 56, "mirrored in args.go");

KERNEL(experts_plan, PlanArgs, 1024) { // one block; up to 4096 experts
  SHARED u32 count[4096], cursor[4096];
  wait_previous();
  allow_next();
  int pairs = a.step->rows * a.active, lane = lane_id();
  for (int e = threadIdx.x; e < a.experts; e += 1024) count[e] = 0;
  sync_block();
  for (int p = threadIdx.x; p < pairs; p += 1024) atomic_add(&count[min_i(max_i(a.ids[p], 0), a.experts - 1)], 1);
  sync_block();
  if (warp_id() == 0) { // a lane a run of experts
    int per = (a.experts + 31) / 32, from = lane * per, to = min_i(from + per, a.experts);
    u32 n = 0, items = 0;
    for (int e = from; e < to; e++) { n += count[e]; items += (count[e] + a.tile - 1) / a.tile; }
    u32 n0 = 0, items0 = 0, all = 0;
    for (int l = 0; l < 32; l++) {
      u32 x = shfl(n, l), y = shfl(items, l);
      if (l < lane) { n0 += x; items0 += y; }
      all += y;
    }
    for (int e = from; e < to; e++) {
      cursor[e] = n0;
      for (int c = 0; c < (int)count[e]; c += a.tile) a.items[items0++] = {e, (int)n0 + c, min_i(a.tile, (int)count[e] - c)};
      n0 += count[e];
    }
    if (lane == 0) a.counts[0] = all;
  }
  sync_block();
  for (int p = threadIdx.x; p < pairs; p += 1024) a.list[atomic_add(&cursor[min_i(max_i(a.ids[p], 0), a.experts - 1)], 1)] = p;
}

struct ExpertsArgs {
  const Step* step;
  const u8 *w, *w2;     // gate and up, or down and null
  const i8* q;          // activations of rows (gate/up) or pairs (down)
  const float* d;
  const float* weights; // by pair
  float* out;           // (pairs, rows of the matrix): gated products, or products
  const int* list;
  const Item* items;
  const int* counts;
  const u32* table;     // IQ2_XXS selectors
  int m, k, share;      // rows and inputs of one expert's matrix; pairs to a row of the activations
  float clamp;
};
static_assert(sizeof(ExpertsArgs) == 104, "mirrored in args.go");

// Few pairs: a block takes one row tile of one item at a time; the warps share its tiles of 256 inputs, of both matrices.
template <class W, bool GATED> DEV void experts_few(const ExpertsArgs& a) {
  SHARED u32 table[W::TABLE ? 256 * 32 : 1];
  float* part = (float*)dynamic_shared;
  if (W::TABLE) copy_table<256>(table, a.table);
  wait_previous();
  allow_next();
  int runs = a.k / 256, units = GATED ? 2 * runs : runs, per = (units + 7) / 8, tiles = a.m / 16, lane = lane_id();
  int works = a.counts[0] * tiles, mine = (works - (int)blockIdx.x + (int)gridDim.x - 1) / (int)gridDim.x * per;
  if (W::TABLE) sync_block();
  W w, next;
  auto fetch = [&](W& f, int i) {
    int work = blockIdx.x + i / per * gridDim.x, u = warp_id() + 8 * (i % per);
    if (i >= mine || u >= units) return;
    const u8* base = GATED && u >= runs ? a.w2 : a.w;
    f.load(base + (((u64)a.items[work / tiles].expert * tiles + work % tiles) * runs + u % runs) * W::BYTES, lane);
  };
  if (mine > 0) fetch(w, 0);
  for (int i = 0; i < mine; i++) {
    int work = blockIdx.x + i / per * gridDim.x, u = warp_id() + 8 * (i % per);
    Item item = a.items[work / tiles];
    fetch(next, i + 1);
    if (u < units) {
      GlobalB<1> b;
      b.q = a.q; b.d = a.d; b.cols = a.k; b.tokens = item.count;
      b.prepare([&](int n) { return a.list[item.first + n] / a.share; });
      b.k = u % runs * 256;
      b.last = 7;
      float out[1][4] = {};
      w.dot(out, b, table);
      UNROLL for (int j = 0; j < 4; j++) part[u * 128 + j * 32 + lane] = out[0][j];
    }
    w = next;
    if (i % per != per - 1) continue;
    sync_block();
    int o = threadIdx.x, l = o % 32, j = o / 32, n = 2 * (l % 4) + (j & 1), row = 16 * (work % tiles) + l / 4 + 8 * (j / 2);
    if (o < 128 && n < item.count) {
      float g = 0, up = 0;
      for (int r = 0; r < runs; r++) g += part[r * 128 + o];
      if (GATED)
        for (int r = 0; r < runs; r++) up += part[(runs + r) * 128 + o];
      int pair = a.list[item.first + n];
      a.out[(u64)pair * a.m + row] = GATED ? swiglu(g, up, a.clamp) * a.weights[pair] : g;
    }
    sync_block();
  }
}

// Many pairs: 128 rows of one matrix (64 of each of two) by 64 pairs a block, as matmul_many.
template <class W, bool GATED> DEV void experts_many(const ExpertsArgs& a) {
  SHARED u32 table[W::TABLE ? 256 * 32 : 1];
  SHARED int rows[64];
  typedef SharedB<8> B;
  if (W::TABLE) copy_table<256>(table, a.table);
  wait_previous();
  allow_next();
  if ((int)blockIdx.y >= a.counts[0]) return;
  Item item = a.items[blockIdx.y];
  int runs = a.k / 256, tiles = a.m / 16, t = blockIdx.x * 8 + warp_id(), lane = lane_id();
  bool on = t < tiles;
  const u8* p = a.w + ((u64)item.expert * tiles + (on ? t : 0)) * runs * W::BYTES;
  const u8* p2 = GATED ? a.w2 + ((u64)item.expert * tiles + (on ? t : 0)) * runs * W::BYTES : nullptr;
  float out[8][4] = {}, out2[GATED ? 8 : 1][4] = {};
  auto fill = [&](int s) {
    stage<8, 256, W::K256>(dynamic_shared + s % 2 * B::BYTES, a.q, a.d, a.k, 256 * s, 256, item.count, [&](int n) { return rows[n]; });
  };
  if (threadIdx.x < 64) rows[threadIdx.x] = (int)threadIdx.x < item.count ? a.list[item.first + threadIdx.x] / a.share : 0;
  sync_block();
  fill(0);
  copies_commit();
  for (int s = 0; s < runs; s++) {
    if (s + 1 < runs) fill(s + 1);
    copies_commit();
    W w, w2;
    w.load(p + (u64)s * W::BYTES, lane);
    if (GATED) w2.load(p2 + (u64)s * W::BYTES, lane);
    copies_wait<1>();
    sync_block();
    B b = {dynamic_shared + s % 2 * B::BYTES, item.count};
    w.dot(out, b, table);
    if constexpr (GATED) w2.dot(out2, b, table);
    sync_block();
  }
  if (!on) return;
  UNROLL for (int nt = 0; nt < 8; nt++)
    UNROLL for (int i = 0; i < 4; i++) {
      int n = 8 * nt + 2 * (lane % 4) + (i & 1), row = 16 * t + lane / 4 + 8 * (i / 2);
      if (n >= item.count) continue;
      int pair = a.list[item.first + n];
      a.out[(u64)pair * a.m + row] = GATED ? swiglu(out[nt][i], out2[GATED ? nt : 0][i], a.clamp) * a.weights[pair] : out[nt][i];
    }
}

#define EXPERTS(name, W)                                                                    \
  KERNEL(experts_gate_up_##name##_few, ExpertsArgs, 256, 2) { experts_few<W, true>(a); }    \
  KERNEL(experts_gate_up_##name##_many, ExpertsArgs, 256, 2) { experts_many<W, true>(a); }  \
  KERNEL(experts_down_##name##_few, ExpertsArgs, 256, 2) { experts_few<W, false>(a); }      \
  KERNEL(experts_down_##name##_many, ExpertsArgs, 256, 2) { experts_many<W, false>(a); }
EXPERTS(iq2_xxs, TileIQ2_XXS)
EXPERTS(q2_k, TileQ2_K)
EXPERTS(q4_k, TileQ4_K)
EXPERTS(mxfp4, TileMXFP4)

struct SumArgs { const Step* step; const float* products; float* y; int d, active; };
static_assert(sizeof(SumArgs) == 32, "mirrored in args.go");
KERNEL(experts_sum, SumArgs, 256) {
  wait_previous();
  allow_next();
  int row = blockIdx.y, at = (blockIdx.x * 256 + threadIdx.x) * 4;
  if (row >= a.step->rows || at >= a.d) return;
  float4 s = {0, 0, 0, 0};
  for (int c = 0; c < a.active; c++) {
    float4 v = *(const float4*)(a.products + ((u64)row * a.active + c) * a.d + at);
    s.x += v.x; s.y += v.y; s.z += v.z; s.w += v.w;
  }
  *(float4*)(a.y + (u64)row * a.d + at) = s;
}
