// Top reduces a row of logits to what a sampler needs: sums, maxima, and the best 128 after mask and biases.
#include "common.cuh"

const int TOP_COUNT = 128, TOP_BYTES = 32 + 8 * TOP_COUNT, TOP_PARTS = 32;

// top_parts reduces a piece of the vocabulary, top_merge the pieces.
struct Part { double sum_raw, sum_adj; float max_raw, max_adj; int allowed, kept; u64 best[TOP_COUNT]; };
struct TopArgs { const Step* step; const float* logits; const u32* masks; Part* parts; u8* top; int vocab, mask_words; };
static_assert(sizeof(TopArgs) == 48 && sizeof(Part) == 1056, "mirrored in args.go");

DEV u32 order_key(float v) {
  u32 b = as_uint(v + 0.0f); // −0 and 0 are equal
  return b & 0x80000000 ? ~b : b | 0x80000000;
}
// exp_d for |x| of some tens: 2^n times a polynomial.
DEV double exp_d(double x) {
  double q = x * 1.44269504088896338700;
  int n = (int)(q + (q >= 0 ? 0.5 : -0.5));
  double r = x - n * 6.93147180369123816490e-01 - n * 1.90821492927058770002e-10, t = 1;
  UNROLL for (int i = 14; i > 0; i--) t = 1 + t * r * (1.0 / i);
  return t * __builtin_bit_cast(double, (u64)(n + 1023) << 52);
}
DEV double log_d(double x) { // one Newton step from an f32 start; x ≥ 1
  double y = (double)log2_fast((float)x) * 0.693147180559945309;
  return y + (x * exp_d(-y) - 1);
}
template <int THREADS> DEV double block_sum_d(double v) {
  SHARED double part[THREADS];
  sync_block();
  part[threadIdx.x] = v;
  sync_block();
  for (int n = THREADS / 2; n; n /= 2) {
    if ((int)threadIdx.x < n) part[threadIdx.x] += part[threadIdx.x + n];
    sync_block();
  }
  return part[0];
}

// A candidate is its key above the complement of its id: all differ, and the greater is the better. 0 is none. The lowest bits
// change no order: one is set, the other keeps the sign of a zero.
DEV u64 candidate(float v, int id) { return (u64)order_key(v) << 32 | (u64)(0xffffff - id) << 8 | 1 | (as_uint(v) == 0x80000000u ? 2 : 0); }
DEV int candidate_id(u64 c) { return 0xffffff - (int)(c >> 8 & 0xffffff); }
DEV u32 candidate_bits(u64 c) { // of its logit
  u32 k = (u32)(c >> 32);
  return c & 2 ? 0x80000000u : k & 0x80000000 ? k & 0x7fffffff : ~k;
}

// keep_best moves the `want` greatest of keys (n, in shared memory, at least `want` of them not 0) to out, in no order: radix
// digits from the top find the least of them.
template <int THREADS> DEV void keep_best(const u64* keys, int n, int want, u64* out) {
  SHARED u32 hist[256], chosen[2], found;
  u64 least = 0;
  u32 left = want;
  for (int shift = 56; shift >= 0 && want > 0; shift -= 8) {
    for (int i = threadIdx.x; i < 256; i += THREADS) hist[i] = 0;
    sync_block();
    for (int i = threadIdx.x; i < n; i += THREADS) {
      u64 k = keys[i];
      if (k && (shift == 56 || k >> (shift + 8) == least >> (shift + 8))) atomic_add(&hist[k >> shift & 255], 1);
    }
    sync_block();
    if (threadIdx.x < 32) { // a lane sums eight bins, from the top
      u32 bins[8], sum = 0, before = 0;
      UNROLL for (int i = 0; i < 8; i++) { bins[i] = hist[255 - 8 * lane_id() - i]; sum += bins[i]; }
      for (int l = 0; l < 32; l++) {
        u32 v = shfl(sum, l);
        if (l < lane_id()) before += v;
      }
      UNROLL for (int i = 0; i < 8; i++) {
        if (before < left && before + bins[i] >= left) { chosen[0] = 255 - 8 * lane_id() - i; chosen[1] = left - before; }
        before += bins[i];
      }
    }
    sync_block();
    least |= (u64)chosen[0] << shift;
    left = chosen[1];
    sync_block();
  }
  if (threadIdx.x == 0) found = 0;
  sync_block();
  for (int i = threadIdx.x; i < n && want > 0; i += THREADS)
    if (keys[i] && keys[i] >= least) out[atomic_add(&found, 1)] = keys[i];
  sync_block();
}

// sort_best sorts runs of 128, descending, in shared memory: bitonic; from is 2, or 128 where runs are bitonic already.
template <int THREADS> DEV void sort_best(u64* best, int n, int from) {
  for (int size = from; size <= TOP_COUNT; size *= 2)
    for (int s = size / 2; s; s /= 2) {
      for (int p = threadIdx.x; p < n / 2; p += THREADS) {
        int i = 2 * p - (p & (s - 1)), j = i + s; // the p-th pair s apart
        u64 x = best[i], y = best[j];
        if (size < TOP_COUNT && i & size ? x > y : x < y) { best[i] = y; best[j] = x; }
      }
      sync_block();
    }
}

// top_parts: (part, query). Dynamic shared memory: a key and an adjusted logit for every token of the piece.
KERNEL(top_parts, TopArgs, 512) {
  wait_previous();
  allow_next();
  if ((int)blockIdx.y >= a.step->tops) return;
  TopQuery t = tops_of(a.step)[blockIdx.y];
  int size = (a.vocab + TOP_PARTS - 1) / TOP_PARTS, first = blockIdx.x * size, n = min_i(size, a.vocab - first);
  u64* keys = (u64*)dynamic_shared;
  float* adj = (float*)(keys + size);
  Part* out = a.parts + blockIdx.y * TOP_PARTS + blockIdx.x;
  if (n <= 0) {
    if (threadIdx.x == 0) { out->sum_raw = out->sum_adj = 0; out->max_raw = out->max_adj = -3.4e38f; out->allowed = out->kept = 0; }
    return;
  }
  const float* raw = a.logits + (u64)t.out * a.vocab + first;
  const u32* mask = t.mask >= 0 ? a.masks + (u64)t.mask * a.mask_words : nullptr;
  float max_raw = -3.4e38f, max_adj = -3.4e38f;
  for (int i = threadIdx.x; i < n; i += 512) {
    adj[i] = raw[i];
    max_raw = max_f(max_raw, raw[i]);
  }
  sync_block();
  for (int i = threadIdx.x; i < t.biases; i += 512) { // an id occurs once in a query
    Bias b = biases_of(a.step)[t.bias + i];
    int at = b.id - first;
    if (at < 0 || at >= n) continue;
    float l = adj[at];
    adj[at] = (l > 0 ? l / b.rep : l * b.rep) + b.add;
  }
  sync_block();
  int mine = 0;
  for (int i = threadIdx.x; i < n; i += 512) {
    int id = first + i;
    bool allowed = !mask || (mask[id / 32] >> (id % 32) & 1);
    keys[i] = allowed ? candidate(adj[i], id) : 0;
    if (allowed) { max_adj = max_f(max_adj, adj[i]); mine++; }
  }
  max_raw = block_max<512>(max_raw);
  max_adj = block_max<512>(max_adj);
  double sum_raw = 0, sum_adj = 0;
  for (int i = threadIdx.x; i < n; i += 512) {
    sum_raw += exp_f(raw[i] - max_raw);
    if (keys[i]) sum_adj += exp_f((adj[i] - max_adj) * t.inv_temp);
  }
  sum_raw = block_sum_d<512>(sum_raw);
  sum_adj = block_sum_d<512>(sum_adj);
  int allowed = (int)block_sum_d<512>(mine), want = min_i(TOP_COUNT, allowed);
  SHARED u64 best[TOP_COUNT];
  if (threadIdx.x < TOP_COUNT) best[threadIdx.x] = 0;
  sync_block();
  keep_best<512>(keys, n, want, best);
  sort_best<512>(best, TOP_COUNT, 2);
  if (threadIdx.x < TOP_COUNT) out->best[threadIdx.x] = best[threadIdx.x];
  if (threadIdx.x == 0) {
    out->sum_raw = sum_raw; out->sum_adj = sum_adj; out->max_raw = max_raw; out->max_adj = max_adj; out->allowed = allowed; out->kept = want;
  }
}

KERNEL(top_merge, TopArgs, 1024) { // a block a query
  SHARED u64 best[TOP_PARTS * TOP_COUNT];
  wait_previous();
  allow_next();
  int tid = threadIdx.x, total = 0;
  if ((int)blockIdx.x >= a.step->tops) return;
  TopQuery t = tops_of(a.step)[blockIdx.x];
  const Part* parts = a.parts + blockIdx.x * TOP_PARTS;
  float max_raw = -3.4e38f, max_adj = -3.4e38f;
  const Part& mine = parts[lane_id()]; // a lane a part, in every warp
  float part_raw = mine.max_raw, part_adj = mine.max_adj;
  int part_allowed = mine.allowed;
  max_raw = warp_max(part_raw);
  max_adj = warp_max(part_adj);
  for (int p = 0; p < TOP_PARTS; p++) total += (int)shfl((u32)part_allowed, p);
  for (int i = tid; i < TOP_PARTS * TOP_COUNT; i += 1024) best[i] = parts[i / TOP_COUNT].kept ? parts[i / TOP_COUNT].best[i % TOP_COUNT] : 0;
  sync_block();
  int want = min_i(TOP_COUNT, total);
  for (int lists = TOP_PARTS; lists > 1; lists /= 2) { // of two sorted lists, the best 128: pairwise against the other's end
    u64 kept[2];
    UNROLL for (int h = 0; h < 2; h++) {
      int i = tid + 1024 * h, l = i / TOP_COUNT, k = i % TOP_COUNT;
      if (i < lists / 2 * TOP_COUNT) {
        u64 x = best[2 * l * TOP_COUNT + k], y = best[(2 * l + 2) * TOP_COUNT - 1 - k];
        kept[h] = x > y ? x : y;
      }
    }
    sync_block();
    UNROLL for (int h = 0; h < 2; h++)
      if (tid + 1024 * h < lists / 2 * TOP_COUNT) best[tid + 1024 * h] = kept[h];
    sync_block();
    sort_best<1024>(best, lists / 2 * TOP_COUNT, TOP_COUNT);
  }
  u8* out = a.top + (u64)blockIdx.x * TOP_BYTES;
  SHARED double sums[2][TOP_PARTS];
  if (tid < TOP_PARTS) {
    sums[0][tid] = mine.sum_raw > 0 ? mine.sum_raw * exp_f(max_f(part_raw - max_raw, -80)) : 0;
    sums[1][tid] = part_allowed ? mine.sum_adj * exp_f(max_f((part_adj - max_adj) * t.inv_temp, -80)) : 0;
  }
  sync_block();
  if (tid == 0) {
    double raw = 0, adj = 0;
    for (int p = 0; p < TOP_PARTS; p++) { raw += sums[0][p]; adj += sums[1][p]; }
    ((double*)out)[0] = (double)max_raw + log_d(raw);
    ((double*)out)[1] = adj;
    ((float*)out)[4] = max_raw;
    ((float*)out)[5] = want ? max_adj : -__builtin_inff();
    ((int*)out)[6] = want;
    ((int*)out)[7] = 0;
  }
  if (tid < TOP_COUNT) {
    ((int*)(out + 32))[2 * tid] = tid < want ? candidate_id(best[tid]) : 0;
    ((u32*)(out + 32))[2 * tid + 1] = tid < want ? candidate_bits(best[tid]) : 0;
  }
}
