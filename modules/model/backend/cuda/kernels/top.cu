// Top reduces a row of logits to what a sampler needs: sums, maxima, and the best 128 after mask and biases.
#include "common.cuh"

struct TopArgs { const Step* step; const float* logits; const u32* masks; float* adj; u8* top; int vocab, mask_words; };
static_assert(sizeof(TopArgs) == 48, "mirrored in args.go");
const int TOP_COUNT = 128, TOP_BYTES = 32 + 8 * TOP_COUNT;

DEV u32 order_key(float v) {
  u32 b = as_uint(v);
  return b & 0x80000000 ? ~b : b | 0x80000000;
}
// exp_d for |x| of some tens: 2^n times a polynomial.
DEV double exp_d(double x) {
  double q = x * 1.44269504088896338700;
  int n = (int)(q + (q >= 0 ? 0.5 : -0.5));
  double r = x - n * 6.93147180369123816490e-01 - n * 1.90821492927058770002e-10, t = 1;
  for (int i = 14; i > 0; i--) t = 1 + t * r / i;
  return t * __builtin_bit_cast(double, (u64)(n + 1023) << 52);
}
DEV double log_d(double x) { // one Newton step from an f32 start; x ≥ 1
  double y = (double)log2_fast((float)x) * 0.693147180559945309;
  return y + (x * exp_d(-y) - 1);
}
DEV double block_sum_d(double v) {
  SHARED double part[1024];
  sync_block();
  part[threadIdx.x] = v;
  sync_block();
  for (int n = 512; n; n /= 2) {
    if ((int)threadIdx.x < n) part[threadIdx.x] += part[threadIdx.x + n];
    sync_block();
  }
  return part[0];
}

KERNEL(top, TopArgs, 1024) { // a block a query
  SHARED u32 hist[256], chosen[2], found;
  SHARED u64 best[256];
  wait_previous();
  allow_next();
  int tid = threadIdx.x;
  if ((int)blockIdx.x >= a.step->tops) return;
  TopQuery t = tops_of(a.step)[blockIdx.x];
  const float* raw = a.logits + (u64)t.out * a.vocab;
  const u32* mask = t.mask >= 0 ? a.masks + (u64)t.mask * a.mask_words : nullptr;
  float *adj = a.adj + (u64)blockIdx.x * a.vocab, max_raw = -3.4e38f, max_adj = -3.4e38f;
  auto allowed = [&](int i) { return !mask || (mask[i / 32] >> (i % 32) & 1); };
  for (int i = tid; i < a.vocab; i += 1024) adj[i] = raw[i];
  sync_block();
  for (int i = tid; i < t.biases; i += 1024) { // an id occurs once in a query
    Bias b = biases_of(a.step)[t.bias + i];
    float l = adj[b.id];
    adj[b.id] = (l > 0 ? l / b.rep : l * b.rep) + b.add;
  }
  sync_block();
  int mine = 0;
  for (int i = tid; i < a.vocab; i += 1024) {
    max_raw = max_f(max_raw, raw[i]);
    if (allowed(i)) { max_adj = max_f(max_adj, adj[i]); mine++; }
  }
  max_raw = block_max<1024>(max_raw);
  max_adj = block_max<1024>(max_adj);
  double sum_raw = 0, sum_adj = 0;
  for (int i = tid; i < a.vocab; i += 1024) {
    sum_raw += exp_f(raw[i] - max_raw);
    if (allowed(i)) sum_adj += exp_f((adj[i] - max_adj) * t.inv_temp);
  }
  sum_raw = block_sum_d(sum_raw);
  sum_adj = block_sum_d(sum_adj);
  int total = (int)block_sum_d(mine), want = min_i(TOP_COUNT, total);

  // The threshold by radix digits; a masked token has no key.
  u32 prefix = 0, left = want;
  for (int shift = 24; shift >= 0 && want > 0; shift -= 8) {
    if (tid < 256) hist[tid] = 0;
    sync_block();
    for (int i = tid; i < a.vocab; i += 1024) {
      u32 k = order_key(adj[i]);
      if (allowed(i) && (shift == 24 || k >> (shift + 8) == prefix >> (shift + 8))) atomic_add(&hist[k >> shift & 255], 1);
    }
    sync_block();
    if (tid < 32) {
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
    prefix |= chosen[0] << shift;
    left = chosen[1];
    sync_block();
  }
  // Above the threshold: all; equal to it: the first `left` in order of id, found by counting tile by tile.
  if (tid == 0) found = 0;
  if (tid < 256) best[tid] = 0;
  sync_block();
  for (int i = tid; i < a.vocab && want > 0; i += 1024) {
    u32 k = order_key(adj[i]);
    if (allowed(i) && k > prefix) best[atomic_add(&found, 1)] = (u64)k << 32 | ~(u32)i;
  }
  sync_block();
  if (tid < 32 && want > 0) { // one warp walks the ties
    u32 taken = 0, at = found;
    for (int base = 0; base < a.vocab && taken < left; base += 32) {
      int i = base + lane_id();
      bool eq = i < a.vocab && allowed(i) && order_key(adj[i]) == prefix;
      u32 m = ballot(eq), rank = taken + popc(m & ((1u << lane_id()) - 1));
      if (eq && rank < left) best[at + rank] = (u64)prefix << 32 | ~(u32)i;
      taken += popc(m);
    }
  }
  sync_block();
  for (int n = 2; n <= 128; n *= 2) // bitonic, descending
    for (int s = n / 2; s; s /= 2) {
      int i = tid, j = tid ^ s;
      if (i < 128 && j > i) {
        bool down = !(i & n);
        u64 x = best[i], y = best[j];
        if (down ? x < y : x > y) { best[i] = y; best[j] = x; }
      }
      sync_block();
    }
  u8* out = a.top + (u64)blockIdx.x * TOP_BYTES;
  if (tid == 0) {
    ((double*)out)[0] = (double)max_raw + log_d(sum_raw);
    ((double*)out)[1] = sum_adj;
    ((float*)out)[4] = max_raw;
    ((float*)out)[5] = want ? max_adj : -__builtin_inff();
    ((int*)out)[6] = want;
    ((int*)out)[7] = 0;
  }
  if (tid < TOP_COUNT) {
    bool in = tid < want;
    int id = in ? (int)~(u32)best[tid] : 0;
    ((int*)(out + 32))[2 * tid] = id;
    ((float*)(out + 32))[2 * tid + 1] = in ? adj[id] : 0.0f;
  }
}
