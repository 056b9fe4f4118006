// Experts runs the routed experts of all rows, grouped by expert so that a weight is read once: experts_plan makes items of
// one expert and up to 8 (64) of its (row, choice) pairs; gate/up and down run over items times row tiles; experts_sum adds
// the products of a row in the order of its choices. Nothing depends on the order of pairs within an item.
#include "plan.cuh"
#include "tiles.cuh"

KERNEL(experts_plan, PlanArgs, 1024) {
  wait_previous();
  allow_next();
  plan<1024>(a);
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

// Few pairs: a block owns a multiprocessor and takes, one at a time, TW row tiles of one item; its 16 warps share their tiles
// of 256 inputs (of both matrices), and the next work's first tiles are on their way while sums meet.
template <class W, bool GATED> DEV void experts_few(const ExpertsArgs& a) {
  const int TW = GATED ? 2 : 4, PER = GATED ? 4 : 2; // row tiles of a work; tiles of a warp in flight
  SHARED u32 table[W::TABLE ? 256 * 32 : 1];
  SHARED float ups[GATED ? 256 : 1];
  float* part = (float*)dynamic_shared; // (unit, 128)
  if (W::TABLE) copy_table<512>(table, a.table);
  wait_previous();
  allow_next();
  int runs = a.k / 256, half = TW * runs, units = GATED ? 2 * half : half, tiles = a.m / 16, groups = tiles / TW, lane = lane_id();
  int works = a.counts[0] * groups, stride = gridDim.x;
  W w[PER];
  struct Work { Item item; int tile, pair; float weight; GlobalB<1> b; }; // pair and weight: of the result this thread stores
  int o = threadIdx.x % 128, store_tile = threadIdx.x / 128 % TW, n = 2 * (o % 4) + (o / 32 & 1);
  auto find = [&](Work& k, int work) {
    if (work >= works) return;
    k.item = a.items[work / groups];
    k.tile = work % groups * TW;
    k.b.q = a.q; k.b.d = a.d; k.b.cols = a.k; k.b.tokens = k.item.count; k.b.last = 7;
    k.b.prepare([&](int i) { return a.list[k.item.first + i] / a.share; });
    k.pair = a.list[k.item.first + min_i(n, k.item.count - 1)];
    k.weight = GATED ? a.weights[k.pair] : 0.0f;
  };
  auto fetch = [&](W& f, const Work& k, int work, int u) {
    if (work >= works || u >= units) return;
    bool up = GATED && u >= half;
    u64 tile = ((u64)k.item.expert * tiles + k.tile) * runs + (up ? u - half : u);
    f.load((up ? a.w2 : a.w) + tile * W::BYTES, lane, FromGlobal());
  };
  Work now, next;
  find(now, blockIdx.x);
  UNROLL for (int p = 0; p < PER; p++) fetch(w[p], now, blockIdx.x, warp_id() + 16 * p);
  if (W::TABLE) sync_block();
  for (int work = blockIdx.x; work < works; work += stride) {
    find(next, work + stride);
    for (int base = 0; base < units; base += 16 * PER)
      UNROLL for (int p = 0; p < PER; p++) {
        int u = base + warp_id() + 16 * p;
        if (u < units) {
          float out[1][4] = {};
          now.b.k = u % runs * 256;
          w[p].dot(out, now.b, table);
          UNROLL for (int j = 0; j < 4; j++) part[u * 128 + j * 32 + lane] = out[0][j];
        }
        if (u + 16 * PER < units) fetch(w[p], now, work, u + 16 * PER);
        else fetch(w[p], next, work + stride, warp_id() + 16 * p);
      }
    sync_block();
    bool mine = n < now.item.count;
    float sum = 0; // of gate in the first threads, of up in the others
    if (mine) {
      const float* p = part + ((GATED && threadIdx.x >= 128 * TW ? half : 0) + store_tile * runs) * 128 + o;
      for (int r = 0; r < runs; r++) sum += p[r * 128];
    }
    if (GATED) {
      if (mine && threadIdx.x >= 128 * TW) ups[threadIdx.x - 128 * TW] = sum;
      sync_block();
    }
    if (mine && threadIdx.x < 128 * TW) {
      int row = 16 * (now.tile + store_tile) + o % 32 / 4 + 8 * (o / 64);
      a.out[(u64)now.pair * a.m + row] = GATED ? swiglu(sum, ups[GATED ? threadIdx.x : 0], a.clamp) * now.weight : sum;
    }
    sync_block();
    now = next;
  }
}

// Many pairs: 128 rows of one matrix, or 64 of each of two, by 64 pairs a block, as matmul_many. Gate is the first four warps',
// up the other four's; they meet in shared memory.
template <class W, bool GATED> DEV void experts_many(const ExpertsArgs& a) {
  SHARED u32 table[W::TABLE ? 256 * 32 : 1];
  SHARED int pairs[64], rows[64];
  typedef SharedB<8> B;
  const int ROOM = B::BYTES + 8 * W::BYTES, TILES = GATED ? 4 : 8;
  if (W::TABLE) copy_table<256>(table, a.table);
  wait_previous();
  allow_next();
  if ((int)blockIdx.y >= a.counts[0]) return;
  Item item = a.items[blockIdx.y];
  int runs = a.k / 256, tiles = a.m / 16, t = blockIdx.x * TILES + warp_id() % TILES, lane = lane_id();
  bool on = t < tiles;
  const u8* p = (GATED && warp_id() >= TILES ? a.w2 : a.w) + ((u64)item.expert * tiles + (on ? t : 0)) * runs * W::BYTES;
  if (threadIdx.x < 64) {
    int n = (int)threadIdx.x < item.count ? a.list[item.first + threadIdx.x] : 0;
    pairs[threadIdx.x] = n;
    rows[threadIdx.x] = n / a.share;
  }
  sync_block();
  auto fill = [&](int s) {
    u8* room = dynamic_shared + s % 2 * ROOM;
    stage<8, 256, W::K256>(room, a.q, a.d, a.k, 256 * s, 256, item.count, [&](int n) { return rows[n]; });
    copy_tile<W::BYTES>(room + B::BYTES + warp_id() * W::BYTES, p + (u64)s * W::BYTES);
  };
  float out[8][4] = {};
  fill(0);
  copies_commit();
  for (int s = 0; s < runs; s++) {
    u8* room = dynamic_shared + s % 2 * ROOM;
    if (s + 1 < runs) fill(s + 1);
    copies_commit();
    copies_wait<1>();
    sync_block();
    W w;
    w.load(room + B::BYTES + warp_id() * W::BYTES, lane, FromShared());
    w.dot(out, B{room, item.count}, table);
    sync_block();
  }
  if (!GATED) {
    UNROLL for (int nt = 0; nt < 8; nt++)
      UNROLL for (int i = 0; i < 4; i++) {
        int n = 8 * nt + 2 * (lane % 4) + (i & 1), row = 16 * t + lane / 4 + 8 * (i / 2);
        if (on && n < item.count) a.out[(u64)pairs[n] * a.m + row] = out[nt][i];
      }
    return;
  }
  float* sums = (float*)dynamic_shared; // (gate or up, pair, 65)
  UNROLL for (int nt = 0; nt < 8; nt++)
    UNROLL for (int i = 0; i < 4; i++) {
      int n = 8 * nt + 2 * (lane % 4) + (i & 1);
      sums[(warp_id() / TILES * 64 + n) * 65 + 16 * (warp_id() % TILES) + lane / 4 + 8 * (i / 2)] = out[nt][i];
    }
  sync_block();
  for (int i = threadIdx.x; i < 64 * item.count; i += 256) {
    int n = i / 64, r = i % 64, row = 64 * blockIdx.x + r;
    if (row < a.m) a.out[(u64)pairs[n] * a.m + row] = swiglu(sums[n * 65 + r], sums[(64 + n) * 65 + r], a.clamp) * a.weights[pairs[n]];
  }
}

#define EXPERTS(name, W)                                                                    \
  KERNEL(experts_gate_up_##name##_few, ExpertsArgs, 512, 1) { experts_few<W, true>(a); }    \
  KERNEL(experts_gate_up_##name##_many, ExpertsArgs, 256, 2) { experts_many<W, true>(a); }  \
  KERNEL(experts_down_##name##_few, ExpertsArgs, 512, 1) { experts_few<W, false>(a); }      \
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
