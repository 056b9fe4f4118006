// IndexTopK selects the compressed rows that a query attends to. Rows that see at most topk of them take them all.
#pragma once
#include "index.cuh"
#include "tiles.cuh"

// index_queries rotates, transforms and rounds the queries: int8 of twice the E2M1 value, and half the block's power of two.
struct IndexQueryArgs { const Step* step; const float *q, *rope; i8* codes; float* scale; int heads, rope_dim, topk, ratio; };
static_assert(sizeof(IndexQueryArgs) == 56, "mirrored in args.go");
KERNEL(index_queries, IndexQueryArgs, 256) { // a warp a head
  wait_previous();
  allow_next();
  int row = blockIdx.x, h = blockIdx.y * 8 + warp_id();
  if (row >= a.step->rows || h >= a.heads || (rows_of(a.step)[row].pos + 1) / a.ratio <= a.topk) return;
  u64 at = (u64)row * a.heads + h;
  const float *q = a.q + at * 128, *cs = a.rope + ((u64)row * 2 + 1) * a.rope_dim - (128 - a.rope_dim);
  float v[4];
  UNROLL for (int i = 0; i < 4; i++) {
    int e = 32 * i + lane_id();
    v[i] = q[e];
    float u = shfl_xor_f(v[i], 1);
    if (e >= 128 - a.rope_dim) {
      float c = cs[e & ~1], s = cs[e | 1];
      v[i] = e & 1 ? u * s + v[i] * c : v[i] * c - u * s;
    }
  }
  hadamard(v);
  u8 code[4];
  int e[4];
  index_codes(v, code, e);
  UNROLL for (int i = 0; i < 4; i++) {
    a.codes[at * 128 + 32 * i + lane_id()] = (i8)e2m1_twice(code[i]);
    if (lane_id() == 0) a.scale[at * 4 + i] = pow2(e[i] - 1);
  }
}

// index_scores: Σ over heads of max(0, q·row)·w, heads ascending. Exact but for the sum over blocks of 32 and over heads.
struct IndexScoreArgs {
  const Step* step;
  const i8* codes;
  const float *scale, *weights; // weights (rows, heads), not yet scaled
  float* scores;                // (rows, stride), from row first on
  State st;
  int heads, topk, first, rows, stride;
  float weight_scale;
};
static_assert(sizeof(IndexScoreArgs) == 144, "mirrored in args.go");

const int HEAD_TILES = 4; // 16 heads are the rows of a product, and a warp does up to 64
const float MAGIC_FLOAT = 12582912.0f;

// IndexQuery is a token's query in the registers of a warp: heads that are not there weigh nothing.
struct IndexQuery {
  uint2 q0[HEAD_TILES][4], q1[HEAD_TILES][4];
  float w0[HEAD_TILES], w1[HEAD_TILES];
  DEVM void load(const IndexScoreArgs& a, int row) {
    const i8* q = a.codes + (u64)row * a.heads * 128;
    int g = lane_id() / 4, t = lane_id() % 4;
    UNROLL for (int h = 0; h < HEAD_TILES; h++) {
      int a0 = min_i(16 * h + g, a.heads - 1), a1 = min_i(16 * h + g + 8, a.heads - 1);
      UNROLL for (int j = 0; j < 4; j++) {
        q0[h][j] = *(const uint2*)(q + a0 * 128 + 32 * j + 8 * t);
        q1[h][j] = *(const uint2*)(q + a1 * 128 + 32 * j + 8 * t);
      }
      w0[h] = 16 * h + g < a.heads ? a.weights[(u64)row * a.heads + a0] * a.weight_scale : 0;
      w1[h] = 16 * h + g + 8 < a.heads ? a.weights[(u64)row * a.heads + a1] * a.weight_scale : 0;
    }
  }
};

// scores_of_eight are the scores of eight cached rows: b are their codes, x and y the scales of the columns 2t and 2t+1, scale(h, i)
// those of head 16h + 8i + g. A block's integer sum comes out of the product as a float that is MAGIC_FLOAT too great: one multiply-add takes
// that off and applies the row's power of two, exactly; the next applies the query's. Lanes 0 to 3 write.
template <class S> DEV void scores_of_eight(float* out, int left, const IndexQuery& q, const u32 (&b)[4][2], const float (&x)[4], const float (&y)[4], const S& scale) {
  int g = lane_id() / 4, t = lane_id() % 4;
  float total[2] = {}, mx[4], my[4];
  UNROLL for (int j = 0; j < 4; j++) {
    mx[j] = -MAGIC_FLOAT * x[j];
    my[j] = -MAGIC_FLOAT * y[j];
  }
  UNROLL for (int h = 0; h < HEAD_TILES; h++) {
    float4 s0 = scale(h, 0), s1 = scale(h, 1);
    float acc[4] = {};
    UNROLL for (int j = 0; j < 4; j++) {
      int d[4];
      mma_s8_from(d, q.q0[h][j].x, q.q1[h][j].x, q.q0[h][j].y, q.q1[h][j].y, b[j][0], b[j][1], MAGIC);
      float u = j == 0 ? s0.x : j == 1 ? s0.y : j == 2 ? s0.z : s0.w;
      float v = j == 0 ? s1.x : j == 1 ? s1.y : j == 2 ? s1.z : s1.w;
      acc[0] = fma_rn(fma_rn(as_float(d[0]), x[j], mx[j]), u, acc[0]);
      acc[1] = fma_rn(fma_rn(as_float(d[1]), y[j], my[j]), u, acc[1]);
      acc[2] = fma_rn(fma_rn(as_float(d[2]), x[j], mx[j]), v, acc[2]);
      acc[3] = fma_rn(fma_rn(as_float(d[3]), y[j], my[j]), v, acc[3]);
    }
    UNROLL for (int i = 0; i < 2; i++) total[i] += max_f(acc[i], 0) * q.w0[h] + max_f(acc[2 + i], 0) * q.w1[h];
  }
  UNROLL for (int i = 0; i < 2; i++) {
    float v = total[i];
    v += shfl_xor_f(v, 4);
    v += shfl_xor_f(v, 8);
    v += shfl_xor_f(v, 16);
    if (g == 0 && 2 * t + i < left) out[2 * t + i] = v;
  }
}

// The plain kernel, for few tokens: a block takes 64 cached rows of one token at a time, a warp eight of them.
KERNEL(index_scores, IndexScoreArgs, 256, 1) {
  wait_previous();
  allow_next();
  int row = a.first + blockIdx.y, lane = lane_id(), g = lane / 4, t = lane % 4;
  if (row >= a.step->rows || (int)blockIdx.y >= a.rows) return;
  Row r = rows_of(a.step)[row];
  int visible = (r.pos + 1) / a.st.ratio;
  if (visible <= a.topk || 64 * (int)blockIdx.x >= visible) return;
  int seq = spans_of(a.step)[r.span].seq;
  IndexQuery q;
  q.load(a, row);
  float4 scales[2 * HEAD_TILES];
  UNROLL for (int h = 0; h < 2 * HEAD_TILES; h++) scales[h] = *(const float4*)(a.scale + ((u64)row * a.heads + min_i(8 * h + g, a.heads - 1)) * 4);
  for (int base = 64 * blockIdx.x + 8 * warp_id(); base < visible; base += 64 * gridDim.x) {
    int at = 0;
    const u8* page = page_of(a.st, seq, min_i(base + g, visible - 1), &at);
    u32 b[4][2], e = *(const u32*)(page + a.st.index_exp_at + at * 4);
    float x[4], y[4];
    UNROLL for (int j = 0; j < 4; j++) {
      TileMXFP4::decode(*(const u32*)(page + a.st.index_at + at * 64 + 16 * j + 4 * t), &b[j][0], &b[j][1]); // the same codes: twice the value
      float s = pow2((int)(i8)(e >> (8 * j)) - 1);
      x[j] = shfl_f(s, 8 * t);
      y[j] = shfl_f(s, 8 * t + 4);
    }
    scores_of_eight(a.scores + (u64)blockIdx.y * a.stride + base, visible - base, q, b, x, y, [&](int h, int half) { return scales[2 * h + half]; });
  }
}

// index_scores_many does the same for many tokens: a block takes twelve of them, a warp each, and unpacks a tile of cached rows
// once for all while the packed rows of the next are on their way. Tokens of several sequences take turns.
const int INDEX_TOKENS = 12, INDEX_TILE = 96;
const int INDEX_PITCH = 128 + 16; // bytes of an unpacked row: eight of them lie in different banks
const int INDEX_WORDS = INDEX_TILE * 16 / (32 * INDEX_TOKENS);

struct IndexTile { // what a thread has in flight
  u32 codes[INDEX_WORDS], exps;
  DEVM void fetch(const State& st, int seq, int base, int last) {
    int at = 0;
    UNROLL for (int k = 0; k < INDEX_WORDS; k++) {
      int u = threadIdx.x + 32 * INDEX_TOKENS * k;
      const u8* page = page_of(st, seq, min_i(base + u / 16, last), &at);
      codes[k] = *(const u32*)(page + st.index_at + at * 64 + 4 * (u % 16));
    }
    const u8* page = page_of(st, seq, min_i(base + (int)threadIdx.x % INDEX_TILE, last), &at);
    exps = *(const u32*)(page + st.index_exp_at + at * 4);
  }
  DEVM void spread(u8* rows, float4* scales) const {
    UNROLL for (int k = 0; k < INDEX_WORDS; k++) { // word t of block j: the fragment of lane t
      int u = threadIdx.x + 32 * INDEX_TOKENS * k, j = u % 16 / 4, t = u % 4;
      u32* to = (u32*)(rows + u / 16 * INDEX_PITCH + 32 * j + 4 * t);
      TileMXFP4::decode(codes[k], to, to + 4);
    }
    if (threadIdx.x < INDEX_TILE)
      scales[threadIdx.x] = {pow2((int)(i8)exps - 1), pow2((int)(i8)(exps >> 8) - 1), pow2((int)(i8)(exps >> 16) - 1), pow2((int)(i8)(exps >> 24) - 1)};
  }
};

KERNEL(index_scores_many, IndexScoreArgs, 32 * INDEX_TOKENS, 1) {
  SHARED __attribute__((aligned(16))) u8 codes[2][INDEX_TILE * INDEX_PITCH];
  SHARED float4 scales[2][INDEX_TILE], heads[INDEX_TOKENS][16 * HEAD_TILES];
  wait_previous();
  allow_next();
  int group = blockIdx.y * INDEX_TOKENS, me = warp_id(), lane = lane_id(), t = lane % 4;
  int count = min_i(min_i(a.rows, a.step->rows - a.first) - group, INDEX_TOKENS);
  if (count <= 0) return;
  const Row* rows = rows_of(a.step) + a.first + group;
  int row = a.first + group + min_i(me, count - 1), mine = me < count ? (rows[me].pos + 1) / a.st.ratio : 0;
  if (mine <= a.topk) mine = 0;
  IndexQuery q;
  q.load(a, row);
  for (int h = lane; h < 16 * HEAD_TILES; h += 32) heads[me][h] = *(const float4*)(a.scale + ((u64)row * a.heads + min_i(h, a.heads - 1)) * 4);
  float* out = a.scores + (u64)(group + me) * a.stride;
  for (int i = 0, next, b = 0; i < count; i = next) { // tokens i … next−1 are of one span
    int span = rows[i].span, most = 0;
    for (next = i; next < count && rows[next].span == span; next++) most = max_i(most, (rows[next].pos + 1) / a.st.ratio);
    int base = INDEX_TILE * blockIdx.x;
    if (most <= a.topk || base >= most) continue;
    int seq = spans_of(a.step)[span].seq, visible = me >= i && me < next ? mine : 0;
    IndexTile tile;
    tile.fetch(a.st, seq, base, most - 1);
    for (; base < most; base += INDEX_TILE * gridDim.x, b ^= 1) {
      tile.spread(codes[b], scales[b]);
      sync_block(); // and nobody is at the other tile any more
      if (base + INDEX_TILE * (int)gridDim.x < most) tile.fetch(a.st, seq, base + INDEX_TILE * gridDim.x, most - 1);
      _Pragma("unroll 1") for (int c = 0; c < INDEX_TILE && base + c < visible; c += 8) {
        u32 f[2][4], w[4][2];
        const u8* p = codes[b] + (c + lane % 8) * INDEX_PITCH + 16 * (lane / 8);
        load_matrices(f[0], p);
        load_matrices(f[1], p + 64);
        UNROLL for (int j = 0; j < 4; j++) {
          w[j][0] = f[j / 2][2 * (j % 2)];
          w[j][1] = f[j / 2][2 * (j % 2) + 1];
        }
        float4 u = scales[b][c + 2 * t], v = scales[b][c + 2 * t + 1];
        float x[4] = {u.x, u.y, u.z, u.w}, y[4] = {v.x, v.y, v.z, v.w};
        scores_of_eight(out + base + c, visible - base - c, q, w, x, y, [&](int h, int half) { return heads[me][16 * h + 8 * half + lane / 4]; });
      }
    }
  }
}

// index_select: the topk greatest by three radix digits, ties to the lower index, ascending. A block a row. A thread keeps 32
// scores in registers; of the others, past 131072 tokens, it reads every pass again.
struct IndexSelectArgs { const Step* step; const float* scores; int* sel; int topk, first, rows, stride, ratio, pad; };
static_assert(sizeof(IndexSelectArgs) == 48, "mirrored in args.go");

DEV u32 sort_key(float v) { // ascending in v
  u32 b = as_uint(v + 0.0f); // −0 and 0 are equal
  return b & 0x80000000 ? ~b : b | 0x80000000;
}
DEV void select_all(int* sel, int topk, int threads) {
  for (int i = threadIdx.x; i < topk; i += threads) sel[i] = i;
}
// sums_before are the sums of v over the 1024 threads before this one; two counts may share v. All threads of the block call it.
DEV u32 sums_before(u32 v, u32* all) {
  SHARED u32 warps[32];
  u32 own = v;
  UNROLL for (int o = 1; o < 32; o *= 2) {
    u32 u = shfl(v, max_i(lane_id() - o, 0));
    if (lane_id() >= o) v += u;
  }
  sync_block();
  if (lane_id() == 31) warps[warp_id()] = v;
  sync_block();
  u32 w = warps[lane_id()], before = lane_id() < warp_id() ? w : 0;
  UNROLL for (int o = 16; o; o >>= 1) {
    w += shfl_xor(w, o);
    before += shfl_xor(before, o);
  }
  *all = w;
  return before + v - own;
}

const int SELECT_KEYS = 32;
DEV void select_load(u32 (&key)[SELECT_KEYS], const float* s, int first, int visible) {
  UNROLL for (int r = 0; r < SELECT_KEYS; r++) {
    int i = first + 1024 * r + threadIdx.x;
    key[r] = i < visible ? sort_key(s[i]) : 0;
  }
}

// select_digit counts the digit of 2^bits values at shift among keys that start with prefix, and adds to prefix the digit of
// the want-th greatest; it returns how many are wanted of the keys with that digit. hist is zero before and after.
DEV u32 select_digit(u32* hist, const u32 (&key)[SELECT_KEYS], const float* s, int visible, int shift, int bits, u32* prefix, u32 want) {
  SHARED u32 chosen[2];
  u32 mask = (1u << bits) - 1, high = shift + bits < 32 ? ~0u << (shift + bits) : 0, start = *prefix;
  UNROLL for (int r = 0; r < SELECT_KEYS; r++) {
    if (1024 * r >= visible) break;
    if (1024 * r + (int)threadIdx.x < visible && (key[r] & high) == start) atomic_add(&hist[key[r] >> shift & mask], 1);
  }
  for (int i = 1024 * SELECT_KEYS + threadIdx.x; i < visible; i += 1024) {
    u32 k = sort_key(s[i]);
    if ((k & high) == start) atomic_add(&hist[k >> shift & mask], 1);
  }
  sync_block();
  u32 all, bin = 2047 - 2 * threadIdx.x, n0 = hist[bin], n1 = hist[bin - 1]; // a thread has two bins, from the top
  hist[bin] = hist[bin - 1] = 0;
  u32 before = sums_before(n0 + n1, &all);
  if (before < want && before + n0 + n1 >= want) {
    bool upper = before + n0 >= want;
    chosen[0] = upper ? bin : bin - 1;
    chosen[1] = want - before - (upper ? 0 : n0);
  }
  sync_block();
  *prefix = start | chosen[0] << shift;
  return chosen[1];
}

KERNEL(index_select, IndexSelectArgs, 1024) {
  SHARED u32 hist[2048];
  wait_previous();
  allow_next();
  int row = a.first + blockIdx.x, warp = warp_id();
  if (row >= a.step->rows || (int)blockIdx.x >= a.rows) return;
  int visible = (rows_of(a.step)[row].pos + 1) / a.ratio, *sel = a.sel + (u64)row * a.topk;
  if (visible <= a.topk) {
    select_all(sel, a.topk, 1024);
    return;
  }
  const float* s = a.scores + (u64)blockIdx.x * a.stride;
  u32 key[SELECT_KEYS], prefix = 0;
  select_load(key, s, 0, visible);
  hist[threadIdx.x] = hist[threadIdx.x + 1024] = 0;
  sync_block();
  u32 want = select_digit(hist, key, s, visible, 21, 11, &prefix, a.topk);
  want = select_digit(hist, key, s, visible, 10, 11, &prefix, want);
  want = select_digit(hist, key, s, visible, 0, 10, &prefix, want);
  // Greater than the threshold: all. Equal to it: the first `want`. Warps count both, 32 keys at a time; then all know where
  // theirs go.
  u32 below = (1u << lane_id()) - 1, greater = 0, equal = 0;
  for (int first = 0; first < visible; first += 1024 * SELECT_KEYS) {
    if (first > 0) select_load(key, s, first, visible);
    UNROLL for (int r = 0; r < SELECT_KEYS; r++) {
      if (first + 1024 * r >= visible) break;
      bool there = first + 1024 * r + (int)threadIdx.x < visible;
      u32 more = popc(ballot(there && key[r] > prefix)), same = popc(ballot(there && key[r] == prefix));
      if (lane_id() == 0) hist[32 * r + warp] = more | same << 16;
    }
    sync_block();
    u32 all, before = sums_before(hist[threadIdx.x], &all); // in the order of the keys
    hist[threadIdx.x] = before;
    sync_block();
    UNROLL for (int r = 0; r < SELECT_KEYS; r++) {
      if (first + 1024 * r >= visible) break;
      int i = first + 1024 * r + threadIdx.x;
      bool more = i < visible && key[r] > prefix, same = i < visible && key[r] == prefix;
      u32 at = hist[32 * r + warp], ms = ballot(more), es = ballot(same);
      u32 g = greater + (at & 0xffff) + popc(ms & below), e = equal + (at >> 16) + popc(es & below);
      if (more || (same && e < want)) sel[g + (e < want ? e : want)] = i;
    }
    greater += all & 0xffff;
    equal += all >> 16;
    sync_block();
    hist[threadIdx.x] = 0; // what the last round does not reach
    sync_block();
  }
}
