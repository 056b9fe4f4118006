// Top reduces a row of logits to what a sampler needs. top_parts takes a piece of the vocabulary: maxima, sums of exponentials
// relative to them, and the best 128 after mask and biases. top_merge chooses the best of the pieces, in order. The sums of the
// pieces are left for the host, which adds them in f64: there is no double here. Moves the logits once or twice.

constant int top_count = 128, top_parts_max = 32, top_bytes = 32 + 8 * 128;

struct top_args { int vocab, mask_words, parts, pad; };
struct top_part {
    float max_raw, max_adj, sum_raw, sum_adj;
    int allowed, kept, pad0, pad1;
    uint key[128];
    int id[128];
};

// order_key is above 0 for every number, greater for the greater.
static inline uint order_key(float v) { return sort_key(v); }

// keep_best moves the `want` best of n candidates (key, id by index, ascending ids; key 0: none) to out. Ties go to the lower id.
static inline void keep_best(threadgroup const uint * key, int n, uint want, threadgroup atomic_uint * hist, threadgroup uint * chosen, threadgroup uint * counts, uint tid, uint simd, uint lane,
                             device uint * out_key, device int * out_at) {
    uint prefix = 0, left = want;
    for (int shift = 24; shift >= 0; shift -= 8) {
        threadgroup_barrier(mem_flags::mem_threadgroup);
        atomic_store_explicit(&hist[tid], 0, memory_order_relaxed);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (int i = tid; i < n; i += 256) {
            const uint k = key[i];
            if (k != 0 && (shift == 24 || k >> (shift + 8) == prefix >> (shift + 8))) atomic_fetch_add_explicit(&hist[k >> shift & 255], 1, memory_order_relaxed);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (simd == 0) radix_step(hist, left, lane, chosen);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        prefix |= chosen[0] << shift;
        left = chosen[1];
    }
    uint out = 0, equals = 0;
    for (int base = 0; base < n; base += 256) {
        const int i = base + tid;
        const uint k = i < n ? key[i] : 0;
        const bool eq = k == prefix && k != 0;
        uint all_eq, all;
        const uint e = equals + rank_of(eq, counts, simd, lane, 8, all_eq);
        const bool take = k > prefix || (eq && e < left);
        const uint at = out + rank_of(take, counts, simd, lane, 8, all);
        if (take) {
            out_key[at] = k;
            out_at[at] = i;
        }
        equals += all_eq;
        out += all;
    }
}

constant int top_piece = 4096; // of the vocabulary, at most

// Grid: parts, queries; 256 threads.
// Cost of top_parts: moves 16 KiB of logits twice, 1 KiB out. Threadgroup: 256 threads, 4096 tokens; 17680 bytes of threadgroup
// memory, about 30 registers. If slow: smaller pieces: 32 threadgroups are fewer than a large chip has cores for.
kernel void top_parts(
        constant top_args & a         [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const float * logits   [[buffer(2)]],
        device const uint  * masks    [[buffer(3)]],
        device       top_part * parts [[buffer(4)]],
        uint3 tg    [[threadgroup_position_in_grid]],
        uint  tid   [[thread_index_in_threadgroup]],
        uint  simd  [[simdgroup_index_in_threadgroup]],
        uint  lane  [[thread_index_in_simdgroup]]) {
    threadgroup uint key[4096];
    threadgroup atomic_uint hist[256];
    threadgroup uint chosen[2];
    threadgroup uint counts[32];
    threadgroup float sums[32];
    if (int(tg.y) >= step->tops) return;
    const step_top t = tops_of(step)[tg.y];
    const int first = tg.x * top_piece, n = min(top_piece, a.vocab - first);
    device top_part * out = parts + tg.y * a.parts + tg.x;
    device const float * raw = logits + (ulong) t.out * a.vocab + first;
    threadgroup float * adj = (threadgroup float *) key; // until it becomes a key
    float max_raw = -INFINITY, max_adj = -INFINITY;
    for (int i = tid; i < n; i += 256) {
        adj[i] = raw[i];
        max_raw = max(max_raw, raw[i]);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = tid; i < t.biases; i += 256) { // an id occurs once in a query
        const step_bias b = biases_of(step)[t.bias + i];
        const int at = b.id - first;
        if (at < 0 || at >= n) continue;
        const float l = adj[at];
        adj[at] = (l > 0 ? l / b.rep : l * b.rep) + b.add;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    device const uint * mask = masks + (ulong) max(t.mask, 0) * a.mask_words;
    uint mine = 0;
    for (int i = tid; i < n; i += 256) {
        const int id = first + i;
        if (t.mask < 0 || (mask[id / 32] >> (id & 31) & 1) != 0) {
            max_adj = max(max_adj, adj[i]);
            mine++;
        }
    }
    max_raw = group_max(max_raw, sums, simd, lane, 8);
    max_adj = group_max(max_adj, sums, simd, lane, 8);
    float sum_raw = 0, sum_adj = 0;
    for (int i = tid; i < n; i += 256) {
        const int id = first + i;
        sum_raw += precise::exp(raw[i] - max_raw);
        const bool allowed = t.mask < 0 || (mask[id / 32] >> (id & 31) & 1) != 0;
        const float l = adj[i];
        if (allowed) sum_adj += precise::exp((l - max_adj) * t.inv_temp);
        key[i] = allowed ? order_key(l) : 0;
    }
    sum_raw = group_sum(sum_raw, sums, simd, lane, 8);
    sum_adj = group_sum(sum_adj, sums, simd, lane, 8);
    const uint allowed = uint(group_sum(float(mine), sums, simd, lane, 8)), want = min(uint(top_count), allowed);
    if (want > 0) keep_best(key, n, want, hist, chosen, counts, tid, simd, lane, out->key, out->id);
    if (tid == 0) {
        out->max_raw = max_raw;
        out->max_adj = max_adj;
        out->sum_raw = sum_raw;
        out->sum_adj = sum_adj;
        out->allowed = allowed;
        out->kept = want;
    }
    threadgroup_barrier(mem_flags::mem_device);
    for (uint i = tid; i < want; i += 256) out->id[i] += first;
}

// top_merge: the best of all pieces, descending. Grid: queries; 256 threads. Writes the candidates and their number of a Top record.
// Cost of top_merge: moves 1 KiB a piece, 1 KiB out. Threadgroup: 256 threads, a query; 18576 bytes of threadgroup memory,
// about 30 registers. If slow: nothing: one threadgroup, about 20 us.
kernel void top_merge(
        constant top_args & a         [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const float * logits   [[buffer(2)]],
        device const top_part * parts [[buffer(3)]],
        device       uint  * scratch  [[buffer(4)]], // (queries, 2 · 128)
        device       uchar * top      [[buffer(5)]],
        uint3 tg    [[threadgroup_position_in_grid]],
        uint  tid   [[thread_index_in_threadgroup]],
        uint  simd  [[simdgroup_index_in_threadgroup]],
        uint  lane  [[thread_index_in_simdgroup]]) {
    threadgroup uint key[32 * 128];
    threadgroup atomic_uint hist[256];
    threadgroup uint chosen[2];
    threadgroup uint counts[32];
    threadgroup uint best[128];
    threadgroup int best_id[128];
    if (int(tg.x) >= step->tops) return;
    const step_top t = tops_of(step)[tg.x];
    device const top_part * p = parts + tg.x * a.parts;
    uint total = 0;
    for (int i = 0; i < a.parts; i++) total += p[i].allowed;
    for (int i = tid; i < 128 * a.parts; i += 256) key[i] = i % 128 < p[i / 128].kept ? p[i / 128].key[i % 128] : 0;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const uint want = min(uint(top_count), total);
    device uint * out_key = scratch + (ulong) tg.x * 256;
    device int * out_at = (device int *)(out_key + 128);
    if (want > 0) keep_best(key, 128 * a.parts, want, hist, chosen, counts, tid, simd, lane, out_key, out_at);
    threadgroup_barrier(mem_flags::mem_device);
    if (tid < 128) {
        best[tid] = tid < want ? out_key[tid] : 0;
        best_id[tid] = tid < want ? p[out_at[tid] / 128].id[out_at[tid] % 128] : 1 << 30;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    device uchar * record = top + (ulong) tg.x * top_bytes;
    if (tid < 128) {
        // its rank: how many are better. Keys fall, ids rise.
        uint rank = 0;
        for (int i = 0; i < 128; i++) rank += best[i] > best[tid] || (best[i] == best[tid] && best_id[i] < best_id[tid]);
        if (tid < want) {
            device uint * to = (device uint *)(record + 32) + 2 * rank;
            float l = logits[(ulong) t.out * a.vocab + best_id[tid]];
            for (int i = 0; i < t.biases; i++) {
                const step_bias b = biases_of(step)[t.bias + i];
                if (b.id == best_id[tid]) l = (l > 0 ? l / b.rep : l * b.rep) + b.add;
            }
            to[0] = best_id[tid];
            to[1] = as_type<uint>(l);
        } else {
            device uint * to = (device uint *)(record + 32) + 2 * tid;
            to[0] = 0;
            to[1] = 0;
        }
    }
    if (tid == 0) ((device uint *) record)[6] = want;
    if (tid == 1) ((device uint *) record)[7] = 0;
}
