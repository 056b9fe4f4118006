// The plan of the routed experts: items of one expert and some of its (row, choice) pairs.
#pragma once
#include "common.cuh"

struct Item { int expert, first, count; };
struct PlanArgs { const Step* step; const int* ids; int* list; Item* items; int* counts; int experts, active, tile, pad; };
static_assert(sizeof(PlanArgs) == 56, "mirrored in args.go");

// plan: one block; up to 4096 experts.
template <int THREADS> DEV void plan(const PlanArgs& a) {
  SHARED u32 count[4096], cursor[4096];
  int pairs = a.step->rows * a.active, lane = lane_id();
  for (int e = threadIdx.x; e < a.experts; e += THREADS) count[e] = 0;
  sync_block();
  for (int p = threadIdx.x; p < pairs; p += THREADS) atomic_add(&count[min_i(max_i(a.ids[p], 0), a.experts - 1)], 1);
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
  for (int p = threadIdx.x; p < pairs; p += THREADS) a.list[atomic_add(&cursor[min_i(max_i(a.ids[p], 0), a.experts - 1)], 1)] = p;
}

// plan_few: the same for up to 256 pairs that lie in shared memory, a thread a pair: its place is the number of pairs before
// it in the order of (expert, pair).
DEV void plan_few(const PlanArgs& a, const int* ids, int pairs) {
  SHARED int starts[256];
  int p = threadIdx.x, before = 0, same = 0, all = 0;
  if (p < pairs) {
    for (int q = 0; q < pairs; q++) {
      bool equal = ids[q] == ids[p];
      before += ids[q] < ids[p] || (equal && q < p);
      same += equal && q < p;
      all += equal;
    }
    a.list[before] = p;
  }
  bool starts_item = p < pairs && same % a.tile == 0;
  if (p < 256) starts[p] = starts_item;
  sync_block();
  if (starts_item) {
    int item = 0;
    for (int q = 0; q < pairs; q++) item += starts[q] && (ids[q] < ids[p] || (ids[q] == ids[p] && q < p));
    a.items[item] = {ids[p], before, min_i(a.tile, all - same)};
  }
  if (p == 0) {
    int n = 0;
    for (int q = 0; q < pairs; q++) n += starts[q];
    a.counts[0] = n;
  }
}
