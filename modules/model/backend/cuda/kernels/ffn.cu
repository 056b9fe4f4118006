// The feed-forward half of up to eight rows in two launches, which route_few's plan comes before.
//
// ffn_up: a block owns 16 rows of gate and up, of the shared expert and then of every expert that some row chose.
// ffn_down: a block owns 32 columns of the result, all experts and the shared one, so that it can add them up and go on to
// HCPost and the next sublayer's mix (hc.cuh). A product is a job of one tile of rows; the 16 warps share the tiles of 256
// inputs of 16/runs jobs at a time, so a warp's inputs stay the same. Sums are added as experts.cu and matmul.cu add them.
//
// Gated products lie by row, choices first and then the shared expert. For a single row ffn_down makes their int8 form itself;
// for more, a launch between does. ONE marks the single row: its sums are one column of a tile.
#include "hc.cuh"
#include "plan.cuh"
#include "tiles.cuh"

struct FFNUpArgs {
  const Step* step;
  const u8 *gate, *up, *shared_gate, *shared_up;
  const i8* q; // of the rows, in the experts' form
  const float* d;
  const i8* q8; // in the shared expert's form
  const float* q8_d;
  const float* weights; // by pair
  float* h;             // (rows, active + 1, m)
  const int* list;
  const Item* items;
  const int* counts;
  const u32* table;
  int m, k, active;
  float clamp;
};
static_assert(sizeof(FFNUpArgs) == 136, "mirrored in args.go");

// Where sums of a job lie: part is (step of the batch, warp, PS). A job is (item, j-th tile of PER).
template <bool ONE> struct Jobs {
  static const int PS = ONE ? 16 : 128;
  int runs, groups, group, run;
  DEVM Jobs(int k) : runs(k / 256), groups(16 / runs), group(warp_id() / runs), run(warp_id() % runs) {}
  DEVM int steps(int jobs) const { return (jobs + groups - 1) / groups; }
  static DEVM void store(float* part, int step, const float (&out)[4]) {
    float* p = part + (step * 16 + warp_id()) * PS;
    if (ONE) {
      if (lane_id() % 4 == 0) { p[lane_id() / 4] = out[0]; p[lane_id() / 4 + 8] = out[2]; }
    } else {
      UNROLL for (int i = 0; i < 4; i++) p[32 * i + lane_id()] = out[i];
    }
  }
  DEVM float sum(const float* part, int job, int row, int col) const { // runs in ascending order
    const float* p = part + (job / groups * 16 + job % groups * runs) * PS + (ONE ? row : 32 * ((col & 1) + row / 8 * 2) + row % 8 * 4 + col / 2);
    float s = 0;
    for (int r = 0; r < runs; r++) s += p[r * PS];
    return s;
  }
};

// multiply adds a tile's part of a job: of the one token, or of those that at(n) names.
template <class W, bool ONE, class AT> DEV void multiply(float (&out)[4], const W& w, const i8* q, const float* d, int cols, int run, int tokens, AT at, const u32* table) {
  const int SCALE = W::K256 ? 256 : 32;
  if (ONE || (W::ONE && tokens == 1)) {
    u64 row = at(0);
    OneB b = {q + row * cols + 256 * run + 8 * (lane_id() % 4), d + (row * cols + 256 * run) / SCALE};
    float v[2] = {};
    dot_one(v, w, b, table);
    out[0] = v[0];
    out[2] = v[1];
  } else {
    GlobalB<1> b;
    b.q = q; b.d = d; b.cols = cols; b.tokens = tokens; b.last = 7; b.k = 256 * run;
    b.prepare(at);
    float v[1][4] = {};
    w.dot(v, b, table);
    UNROLL for (int i = 0; i < 4; i++) out[i] = v[0][i];
  }
}

const int UP_BATCH = 8; // steps whose sums are kept
template <class W, bool ONE> DEV void ffn_up(const FFNUpArgs& a) {
  typedef Jobs<ONE> J;
  const int PER = W::BYTES > 2000 ? 2 : 4, BATCH = ONE ? 2 * UP_BATCH : UP_BATCH, STAGE = 16 * TileQ8_0::BYTES; // PER: tiles of a warp in flight
  SHARED u32 table[W::TABLE ? 256 * 32 : 1];
  J j(a.k);
  int tile = blockIdx.x, tiles = a.m / 16, lane = lane_id(), shared_steps = j.steps(2);
  u8* stage = dynamic_shared;
  float* shared_part = (float*)(stage + shared_steps * STAGE);
  float* part = ONE ? shared_part + shared_steps * 16 * J::PS : (float*)stage; // of many columns: where the staged tiles were
  for (int s = 0; s < shared_steps; s++) {
    int job = s * j.groups + j.group;
    if (job < 2) copy_tile<TileQ8_0::BYTES>(stage + s * STAGE + warp_id() * TileQ8_0::BYTES, (job ? a.shared_up : a.shared_gate) + ((u64)tile * j.runs + j.run) * TileQ8_0::BYTES);
  }
  copies_commit();
  if (W::TABLE) copy_table<512>(table, a.table);
  wait_previous();
  allow_next();
  int rows = a.step->rows, items = a.counts[0], steps = j.steps(2 * items);
  auto fetch = [&](W& w, int s) {
    int job = s * j.groups + j.group;
    if (job >= 2 * items) return;
    w.load((job & 1 ? a.up : a.gate) + (((u64)a.items[job / 2].expert * tiles + tile) * j.runs + j.run) * W::BYTES, lane, FromGlobal());
  };
  W w[PER];
  UNROLL for (int p = 0; p < PER; p++) fetch(w[p], p);
  copies_wait<0>();
  if (W::TABLE) sync_block(); else sync_warp();
  for (int s = 0; s < shared_steps; s++) {
    float out[4] = {};
    if (s * j.groups + j.group < 2) {
      TileQ8_0 t;
      t.load(stage + s * STAGE + warp_id() * TileQ8_0::BYTES, lane, FromShared());
      multiply<TileQ8_0, ONE>(out, t, a.q8, a.q8_d, a.k, j.run, rows, [](int n) { return n; }, nullptr);
    }
    J::store(shared_part, s, out);
  }
  if (!ONE) sync_block(); // the staged tiles are done with
  for (int base = 0; base < steps; base += BATCH) {
    int n = min_i(BATCH, steps - base);
    for (int s0 = 0; s0 < n; s0 += PER)
      UNROLL for (int p = 0; p < PER; p++) {
        int s = s0 + p, job = (base + s) * j.groups + j.group;
        if (s < n && job < 2 * items) {
          Item item = a.items[job / 2];
          float out[4] = {};
          multiply<W, ONE>(out, w[p], a.q, a.d, a.k, j.run, item.count, [&](int i) { return a.list[item.first + i] / a.active; }, table);
          J::store(part, s, out);
        }
        if (s < n) fetch(w[p], base + s + PER);
      }
    sync_block();
    int first = base * j.groups / 2, last = min_i((base + n) * j.groups / 2, items);
    const int OUT = ONE ? 16 : 128; // columns of eight tokens, or one
    for (int o = threadIdx.x; o < (last - first) * OUT; o += 512) {
      int i = o / OUT, col = o % OUT / 16, row = o % 16;
      Item item = a.items[first + i];
      if (col >= item.count) continue;
      int pair = a.list[item.first + col];
      float g = j.sum(part, 2 * i, row, col), u = j.sum(part, 2 * i + 1, row, col);
      a.h[(u64)(pair + pair / a.active) * a.m + 16 * tile + row] = swiglu(g, u, a.clamp) * a.weights[pair];
    }
    if (base == 0)
      for (int o = (int)threadIdx.x - 512 + 16 * rows; o >= 0 && o < 16 * rows; o += 512) { // the last threads
        int col = o / 16, row = o % 16;
        float g = j.sum(shared_part, 0, row, col), u = j.sum(shared_part, 1, row, col);
        a.h[((u64)col * (a.active + 1) + a.active) * a.m + 16 * tile + row] = swiglu(g, u, a.clamp);
      }
    if (base + BATCH < steps) sync_block();
  }
}

struct FFNDownArgs {
  const Step* step;
  const u8 *w, *shared;
  const float* h; // (rows, active + 1, k), and its int8 form if there are more rows than one
  Forms f;
  float* y;
  const int* list;
  const Item* items;
  const int* counts;
  const u32* table;
  HCTail tail;
  int k, active, d, pad;
};
static_assert(sizeof(FFNDownArgs) == 176, "mirrored in args.go");

// quantize_gated makes the int8 form of a row's gated products in shared memory: of the choices in the experts' form, of the
// shared expert by 32.
template <bool K256> DEV void quantize_gated(u8* room, const FFNDownArgs& a) {
  float *d = (float*)(room + (a.active + 1) * a.k), *shared_d = d + a.active * a.k / 32;
  Forms routed = {}, shared = {};
  (K256 ? routed.q8k : routed.q8) = (i8*)room;
  (K256 ? routed.q8k_d : routed.q8_d) = d;
  shared.q8 = (i8*)room + a.active * a.k;
  shared.q8_d = shared_d;
  int blocks = a.k / 256, all = (a.active + 1) * blocks;
  const int AHEAD = 4;
  for (int b0 = warp_id(); b0 < all; b0 += 16 * AHEAD) {
    float v[AHEAD][8];
    UNROLL for (int i = 0; i < AHEAD; i++) load8(v[i], a.h, 256 * (b0 + 16 * i) + 8 * lane_id(), all * 256);
    UNROLL for (int i = 0; i < AHEAD; i++) {
      int b = b0 + 16 * i;
      if (b < a.active * blocks) quantize_block(routed, 256 * b, 256, v[i]);
      else if (b < all) quantize_block(shared, 256 * (b - a.active * blocks), 256, v[i]);
    }
  }
}

const int DOWN_BATCH = 4; // steps whose sums are kept
template <class W, bool ONE> DEV void ffn_down(const FFNDownArgs& a) {
  typedef Jobs<ONE> J;
  const int DEPTH = (W::BYTES > 2000 ? 2 : 3) + ONE, BATCH = ONE ? 2 * DOWN_BATCH : DOWN_BATCH; // DEPTH: tiles of a warp in flight
  const int STAGE = 16 * TileQ8_0::BYTES, RING = 16 * W::BYTES;
  SHARED u32 table[W::TABLE ? 256 * 32 : 1];
  J j(a.k);
  int slice = blockIdx.x, tiles = a.d / 16, lane = lane_id(), shared_steps = j.steps(2), pairs = a.active * (ONE ? 1 : 8);
  u8 *stage = dynamic_shared, *ring = stage + shared_steps * STAGE, *tail = ring + DEPTH * RING;
  float* shared_part = (float*)(tail + TAIL_BYTES);
  float* part = shared_part + shared_steps * 16 * J::PS;
  float* sums = part + BATCH * 16 * J::PS;        // (pair, 32)
  float* y = sums + 32 * pairs;                   // (row, 32)
  u8* room = (u8*)(y + 32 * (ONE ? 1 : 8));       // ONE: int8 activations
  for (int s = 0; s < shared_steps; s++) {
    int job = s * j.groups + j.group;
    if (job < 2) copy_tile<TileQ8_0::BYTES>(stage + s * STAGE + warp_id() * TileQ8_0::BYTES, a.shared + ((u64)(2 * slice + job) * j.runs + j.run) * TileQ8_0::BYTES);
  }
  int rows = a.step->rows, items = a.counts[0], steps = j.steps(2 * items); // the plan is older than the launch before
  if (a.tail.fn) tail_load<512>(tail, a.tail, slice, rows);
  copies_commit();
  auto fetch = [&](int s) {
    int job = s * j.groups + j.group;
    if (job < 2 * items)
      copy_tile<W::BYTES>(ring + s % DEPTH * RING + warp_id() * W::BYTES, a.w + (((u64)a.items[job / 2].expert * tiles + 2 * slice + job % 2) * j.runs + j.run) * W::BYTES);
    copies_commit();
  };
  UNROLL for (int s = 0; s < DEPTH; s++) fetch(s);
  if (W::TABLE) copy_table<512>(table, a.table);
  wait_previous();
  allow_next();
  const i8 *q = W::K256 ? a.f.q8k : a.f.q8, *q8 = a.f.q8;
  const float *d = W::K256 ? a.f.q8k_d : a.f.q8_d, *q8_d = a.f.q8_d;
  if (ONE) {
    quantize_gated<W::K256>(room, a);
    q = (const i8*)room; d = (const float*)(room + (a.active + 1) * a.k);
    q8 = q + a.active * a.k; q8_d = d + a.active * a.k / 32;
  }
  if (ONE || W::TABLE) sync_block();
  for (int base = 0; base < steps; base += BATCH) {
    int n = min_i(BATCH, steps - base);
    for (int s = 0; s < n; s++) {
      int job = (base + s) * j.groups + j.group;
      copies_wait<DEPTH - 1>();
      sync_warp();
      if (job < 2 * items) {
        Item item = a.items[job / 2];
        W w;
        w.load(ring + (base + s) % DEPTH * RING + warp_id() * W::BYTES, lane, FromShared());
        float out[4] = {};
        auto at = [&](int i) { int pair = a.list[item.first + i]; return ONE ? pair : pair + pair / a.active; };
        multiply<W, ONE>(out, w, q, d, a.k, j.run, item.count, at, table);
        J::store(part, s, out);
      }
      sync_warp();
      fetch(base + s + DEPTH);
    }
    sync_block();
    int first = base * j.groups / 2, last = min_i((base + n) * j.groups / 2, items);
    const int OUT = ONE ? 32 : 256;
    for (int o = threadIdx.x; o < (last - first) * OUT; o += 512) {
      int i = o / OUT, col = o % OUT / 32, row = o % 32;
      Item item = a.items[first + i];
      if (col < item.count) sums[a.list[item.first + col] * 32 + row] = j.sum(part, 2 * i + row / 16, row % 16, col);
    }
    if (base + BATCH < steps) sync_block();
  }
  copies_wait<0>();
  sync_warp();
  for (int s = 0; s < shared_steps; s++) {
    float out[4] = {};
    if (s * j.groups + j.group < 2) {
      TileQ8_0 t;
      t.load(stage + s * STAGE + warp_id() * TileQ8_0::BYTES, lane, FromShared());
      multiply<TileQ8_0, ONE>(out, t, q8, q8_d, a.k, j.run, rows, [&](int n) { return ONE ? n : n * (a.active + 1) + a.active; }, nullptr);
    }
    J::store(shared_part, s, out);
  }
  sync_block();
  for (int o = threadIdx.x; o < 32 * rows; o += 512) {
    int token = o / 32, col = o % 32;
    float sum = 0, v = j.sum(shared_part, col / 16, col % 16, token);
    for (int c = 0; c < a.active; c++) sum += sums[(token * a.active + c) * 32 + col];
    y[o] = sum = sum + v;
    a.y[(u64)token * a.d + 32 * slice + col] = sum;
  }
  if (!a.tail.fn) return;
  sync_block();
  if (warp_id() == 0) tail_finish(tail, a.tail, y, slice, rows);
}

#define FFN(name, W)                                                                  \
  KERNEL(ffn_up_##name##_one, FFNUpArgs, 512, 1) { ffn_up<W, true>(a); }              \
  KERNEL(ffn_up_##name##_few, FFNUpArgs, 512, 1) { ffn_up<W, false>(a); }             \
  KERNEL(ffn_down_##name##_one, FFNDownArgs, 512, 1) { ffn_down<W, true>(a); }        \
  KERNEL(ffn_down_##name##_few, FFNDownArgs, 512, 1) { ffn_down<W, false>(a); }
FFN(iq2_xxs, TileIQ2_XXS)
FFN(q2_k, TileQ2_K)
FFN(q4_k, TileQ4_K)
FFN(mxfp4, TileMXFP4)
