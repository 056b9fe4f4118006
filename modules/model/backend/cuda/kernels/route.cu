// Route picks the experts of a row: the table's in hash layers, else the greatest of sqrt(softplus(logit)) + bias.
#include "plan.cuh"

struct RouteArgs {
  const Step* step;
  const float *logits, *bias; // (rows, experts)
  const int* table;
  int* ids;
  float* weights;
  int experts, active;
  float scale;
  int pad;
};
static_assert(sizeof(RouteArgs) == 64, "mirrored in args.go");
const int EXPERTS_MAX = 4096;

DEV float route_score(float logit) { return sqrt_rn(softplus(logit)); }

KERNEL(route, RouteArgs, 128) { // a block a row: all warps score, the first chooses
  SHARED float p[EXPERTS_MAX], q[EXPERTS_MAX];
  wait_previous();
  allow_next();
  int row = blockIdx.x, lane = lane_id();
  if (row >= a.step->rows) return;
  for (int e = threadIdx.x; e < a.experts; e += 128) {
    p[e] = route_score(a.logits[(u64)row * a.experts + e]);
    q[e] = p[e] + (a.bias ? a.bias[e] : 0.0f);
  }
  sync_block();
  if (warp_id() > 0) return;
  int* ids = a.ids + (u64)row * a.active;
  float* w = a.weights + (u64)row * a.active;
  float sum = 0, mine = 0;
  for (int k = 0; k < a.active; k++) {
    int id;
    if (a.table) {
      id = a.table[(u64)rows_of(a.step)[row].token * a.active + k];
      id = min_i(max_i(id, 0), a.experts - 1);
    } else {
      float best = -3e38f;
      id = a.experts;
      for (int e = lane; e < a.experts; e += 32)
        if (q[e] > best) { best = q[e]; id = e; }
      UNROLL for (int o = 16; o; o >>= 1) {
        float v = shfl_xor_f(best, o);
        int other = (int)shfl_xor((u32)id, o);
        if (v > best || (v == best && other < id)) { best = v; id = other; }
      }
      id = min_i(id, a.experts - 1);
      if (lane == 0) q[id] = -3.3e38f;
      sync_warp();
    }
    if (lane == 0) ids[k] = id;
    sum += p[id];
    if (lane == k % 32) mine = p[id]; // active is at most 32 for this lane's turn
    if (k % 32 == 31 || k == a.active - 1) {
      int at = k / 32 * 32 + lane;
      if (at < a.active) w[at] = mine;
    }
  }
  sync_warp();
  sum = max_f(sum, 1.0f / 16384);
  for (int k = lane; k < a.active; k += 32) w[k] = w[k] / sum * a.scale;
}

// route_few: up to 8 rows, 256 choices and 256 experts in one block: all threads score, a warp chooses for
// a row; then the plan that
// Experts needs.
struct RoutePlanArgs { RouteArgs r; PlanArgs p; };
static_assert(sizeof(RoutePlanArgs) == 120, "mirrored in args.go");
KERNEL(route_few, RoutePlanArgs, 256) {
  SHARED int ids[256];
  SHARED float scores[8][256];
  wait_previous();
  allow_next();
  const RouteArgs& r = a.r;
  int row = warp_id(), lane = lane_id();
  for (int n = 0; n < r.step->rows; n++)
    if ((int)threadIdx.x < r.experts) scores[n][threadIdx.x] = route_score(r.logits[(u64)n * r.experts + threadIdx.x]);
  sync_block();
  if (row < r.step->rows) {
    float p[8], q[8], sum = 0, mine = 0;
    UNROLL for (int i = 0; i < 8; i++) {
      int e = 32 * i + lane;
      p[i] = q[i] = -3.3e38f;
      if (e < r.experts) {
        p[i] = scores[row][e];
        q[i] = p[i] + (r.bias ? r.bias[e] : 0.0f);
      }
    }
    int listed = r.table && lane < r.active ? r.table[(u64)rows_of(r.step)[row].token * r.active + lane] : 0;
    listed = min_i(max_i(listed, 0), r.experts - 1);
    for (int k = 0; k < r.active; k++) {
      int id = (int)shfl((u32)listed, k);
      if (!r.table) {
        float best = -3.3e38f;
        id = r.experts;
        UNROLL for (int i = 0; i < 8; i++)
          if (q[i] > best) { best = q[i]; id = 32 * i + lane; }
        UNROLL for (int o = 16; o; o >>= 1) {
          float v = shfl_xor_f(best, o);
          int other = (int)shfl_xor((u32)id, o);
          if (v > best || (v == best && other < id)) { best = v; id = other; }
        }
        id = min_i(id, r.experts - 1);
      }
      float v = 0;
      UNROLL for (int i = 0; i < 8; i++)
        if (32 * i + lane == id) { v = p[i]; q[i] = -3.4e38f; }
      v = shfl_f(v, id % 32);
      sum += v;
      if (lane == k) mine = v;
      if (lane == 0) r.ids[(u64)row * r.active + k] = ids[row * r.active + k] = id;
    }
    sum = max_f(sum, 1.0f / 16384);
    if (lane < r.active) r.weights[(u64)row * r.active + lane] = mine / sum * r.scale;
  }
  sync_block();
  plan_few(a.p, ids, r.step->rows * r.active);
}
