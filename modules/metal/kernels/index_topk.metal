// IndexTopK selects the compressed rows that a query attends to. Scores are products of E2M1 values: codes doubled are integers
// to 12, so simdgroup matrices of half give exact sums of each block of 32.
//
// index_scores takes 8 index rows a simdgroup: 128 matrix products for 64 heads. index_select is a radix select of four digits.

struct index_args {
    int heads, topk, rope, kind;
    int first, rows, stride, padded; // rows first … first+rows−1 of the step; scores (rows, stride); padded: heads in eights
    float weight_scale;
    int pad;
    state_args st;
};

static inline int visible_rows(int pos, int ratio) { return (pos + 1) / ratio; }

// index_query rotates, transforms and rounds head h of a row: a simdgroup's work.
static inline void index_query(constant index_args & a, device const step_head * step, device const float * q, device half * codes, device float * scale, int row, int h, uint lane) {
    const ulong at = (ulong) row * a.padded + h;
    if (h >= a.heads) {
        for (int i = 0; i < 4; i++) codes[at * 128 + 32 * i + lane] = 0.0h;
        if (lane < 4) scale[at * 4 + lane] = 0;
        return;
    }
    device const float * cs = rope_of(step, row, a.kind);
    float v[4];
    for (int i = 0; i < 4; i++) {
        const int j = lane + 32 * i, k = j - (128 - a.rope);
        v[i] = q[((ulong) row * a.heads + h) * 128 + j];
        const float other = simd_shuffle_xor(v[i], 1);
        if (k >= 0) v[i] = rotated(v[i], other, k, cs, false);
    }
    hadamard128(v, lane);
    uint code[4];
    int e[4];
    index_codes(v, code, e);
    for (int i = 0; i < 4; i++) {
        codes[at * 128 + 32 * i + lane] = half(float(e2m1_twice(code[i])));
        if (lane == 0) scale[at * 4 + i] = pow2(e[i] - 1);
    }
}

// index_queries. Grid: 8 heads, rows.
// Cost of index_queries: moves 32 KiB in, 17 KiB out, a row. Threadgroup: 256 threads, 8 heads; 0 bytes of threadgroup memory,
// about 30 registers. If slow: nothing: at decode query_heads does it.
kernel void index_queries(
        constant index_args & a       [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const float * q        [[buffer(2)]],
        device       half  * codes    [[buffer(3)]], // (rows, padded, 128), doubled
        device       float * scale    [[buffer(4)]], // (rows, padded, 4), halved
        uint3 tg   [[threadgroup_position_in_grid]],
        uint  simd [[simdgroup_index_in_threadgroup]],
        uint  lane [[thread_index_in_simdgroup]]) {
    const int row = tg.y, h = tg.x * 8 + simd;
    if (row < step->rows && h < a.padded) index_query(a, step, q, codes, scale, row, h, lane);
}

// index_scores: Σ over heads of max(0, q·row)·w. Grid: 32 compressed rows, query rows; 128 threads.
// Cost of index_scores: moves each index row (68 bytes) once a query row, the queries (17 KiB) from the cache, 4 bytes out.
// Threadgroup: 128 threads, 32 compressed rows; 10496 bytes of threadgroup memory, about 60 registers. If slow: two query rows
// a threadgroup in a prompt, so that keys are decoded once for both.
kernel void index_scores(
        constant index_args & a        [[buffer(0)]],
        device const step_head * step  [[buffer(1)]],
        device const half  * codes     [[buffer(2)]],
        device const float * scale     [[buffer(3)]],
        device const float * weights   [[buffer(4)]], // (rows, heads)
        device const uchar * pages_in  [[buffer(5)]],
        device const int   * table     [[buffer(6)]],
        device       float * scores    [[buffer(7)]],
        uint3 tg   [[threadgroup_position_in_grid]],
        uint3 grid [[threadgroups_per_grid]],
        uint  tid  [[thread_index_in_threadgroup]],
        uint  simd [[simdgroup_index_in_threadgroup]],
        uint  lane [[thread_index_in_simdgroup]]) {
    threadgroup half keys[32 * 136];
    threadgroup float key_scale[32 * 4];
    threadgroup float sums[4 * 64];
    threadgroup float iota[64];
    const int row = a.first + tg.y;
    if (row >= step->rows) return;
    const step_row r = rows_of(step)[row];
    const int visible = visible_rows(r.pos, a.st.ratio), seq = spans_of(step)[r.span].seq;
    if (visible <= a.topk) return;
    device uchar * pages = (device uchar *) pages_in;
    if (tid < 64) iota[tid] = float(tid);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    int place[2];
    places(iota, place);
    for (int base = 32 * int(tg.x); base < visible; base += 32 * int(grid.x)) {
        threadgroup_barrier(mem_flags::mem_threadgroup);
        { // a thread decodes a block of 32 of one row
            const int c = base + (int(tid) >> 2), b = tid & 3;
            threadgroup half * out = keys + (tid >> 2) * 136 + 32 * b;
            if (c < visible) {
                int at;
                device uchar * page = page_row(a.st, pages, table, seq, c, at);
                device const uint * p = (device const uint *)(page + a.st.index_at + (ulong) at * 64 + 16 * b);
                key_scale[tid] = pow2(int(as_type<char>(page[a.st.index_exp_at + (ulong) at * 4 + b])) - 1);
                for (int i = 0; i < 4; i++) {
                    const uint w = p[i];
                    for (int k = 0; k < 8; k++) out[8 * i + k] = half(float(e2m1_twice(w >> (4 * k) & 15)));
                }
            } else {
                key_scale[tid] = 0;
                for (int k = 0; k < 32; k++) out[k] = 0.0h;
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        float acc[2] = {0, 0};
        for (int h = 0; h < a.heads; h += 8) {
            float dot[2] = {0, 0};
            for (int b = 0; b < 4; b++) {
                simdgroup_float8x8 m = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
                for (int k = 0; k < 32; k += 8) {
                    simdgroup_half8x8 mq, mk;
                    simdgroup_load(mq, codes + ((ulong) row * a.padded + h) * 128 + 32 * b + k, 128);
                    simdgroup_load(mk, keys + 8 * simd * 136 + 32 * b + k, 136, 0, true);
                    simdgroup_multiply_accumulate(m, mq, mk, m);
                }
                for (int e = 0; e < 2; e++) {
                    const int head = h + (place[e] >> 3), c = 8 * simd + (place[e] & 7);
                    dot[e] = fma(m.thread_elements()[e], scale[((ulong) row * a.padded + head) * 4 + b] * key_scale[4 * c + b], dot[e]);
                }
            }
            for (int e = 0; e < 2; e++) {
                const int head = h + (place[e] >> 3);
                const float w = head >= a.heads ? 0.0f : weights[(ulong) row * a.heads + head] * a.weight_scale;
                acc[e] = fma(max(dot[e], 0.0f), w, acc[e]);
            }
        }
        for (int e = 0; e < 2; e++) sums[64 * simd + place[e]] = acc[e];
        simdgroup_barrier(mem_flags::mem_threadgroup);
        if (lane < 8) {
            float s = 0;
            for (int h = 0; h < 8; h++) s += sums[64 * simd + 8 * h + lane];
            const int c = base + 8 * simd + lane;
            if (c < visible) scores[(ulong) tg.y * a.stride + c] = s;
        }
    }
}

// sort_key orders floats as unsigned integers.
static inline uint sort_key(float v) {
    const uint b = as_type<uint>(v + 0.0f); // −0 and 0 are equal
    return b & 0x80000000u ? ~b : b | 0x80000000u;
}

// radix_step finds, in a histogram of 256 digits, the one that holds the want-th greatest, and how many are wanted of it. The
// first simdgroup does it, eight digits a lane.
static inline void radix_step(threadgroup atomic_uint * hist, uint want, uint lane, threadgroup uint * chosen) {
    uint bins[8], mine = 0;
    for (int i = 0; i < 8; i++) {
        bins[i] = atomic_load_explicit(&hist[255 - 8 * lane - i], memory_order_relaxed);
        mine += bins[i];
    }
    uint before = simd_prefix_exclusive_sum(mine);
    for (int i = 0; i < 8; i++) {
        if (before < want && before + bins[i] >= want) {
            chosen[0] = 255 - 8 * lane - i;
            chosen[1] = want - before;
        }
        before += bins[i];
    }
}

// rank_of is the number of threads before this one that hold p, over threads in order; all is the count. 1024 threads at most.
static inline uint rank_of(bool p, threadgroup uint * counts, uint simd, uint lane, uint simds, thread uint & all) {
    const uint before = simd_prefix_exclusive_sum(uint(p)), mine = simd_sum(uint(p));
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (lane == 0) counts[simd] = mine;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    const uint v = lane < simds ? counts[lane] : 0;
    const uint start = simd_prefix_exclusive_sum(v);
    all = simd_sum(v);
    return simd_shuffle(start, ushort(simd)) + before;
}

// index_select writes the topk greatest in ascending order, ties to the lower index; the identity where all are visible.
// Grid: rows; 256 threads.
// Cost of index_select: moves the scores five times, 4 bytes a visible row, from the cache. Threadgroup: 256 threads, a row;
// 1184 bytes of threadgroup memory, about 24 registers. If slow: several threadgroups a row for the histograms: one alone takes
// about 50 us at 128k tokens.
kernel void index_select(
        constant index_args & a       [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const float * scores   [[buffer(2)]],
        device       int   * sel      [[buffer(3)]],
        uint3 tg    [[threadgroup_position_in_grid]],
        uint  tid   [[thread_index_in_threadgroup]],
        uint  simd  [[simdgroup_index_in_threadgroup]],
        uint  lane  [[thread_index_in_simdgroup]]) {
    threadgroup atomic_uint hist[256];
    threadgroup uint chosen[2];
    threadgroup uint counts[32];
    const int row = a.first + tg.x;
    if (row >= step->rows) return;
    const int visible = visible_rows(rows_of(step)[row].pos, a.st.ratio);
    device int * out = sel + (ulong) row * a.topk;
    if (visible <= a.topk) {
        for (int i = tid; i < a.topk; i += 256) out[i] = i;
        return;
    }
    device const float * s = scores + (ulong) tg.x * a.stride;
    uint prefix = 0, want = a.topk;
    for (int shift = 24; shift >= 0; shift -= 8) {
        atomic_store_explicit(&hist[tid], 0, memory_order_relaxed);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (int i = tid; i < visible; i += 256) {
            const uint k = sort_key(s[i]);
            if (shift == 24 || k >> (shift + 8) == prefix >> (shift + 8)) atomic_fetch_add_explicit(&hist[k >> shift & 255], 1, memory_order_relaxed);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (simd == 0) radix_step(hist, want, lane, chosen);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        prefix |= chosen[0] << shift;
        want = chosen[1];
    }
    uint n = 0, equals = 0;
    for (int base = 0; base < visible; base += 256) { // greater than the least: all; equal to it: the first `want`
        const int i = base + tid;
        const uint k = i < visible ? sort_key(s[i]) : 0;
        const bool eq = i < visible && k == prefix;
        uint all_eq, all;
        const uint e = equals + rank_of(eq, counts, simd, lane, 8, all_eq);
        const bool take = i < visible && (k > prefix || (eq && e < want));
        const uint at = n + rank_of(take, counts, simd, lane, 8, all);
        if (take) out[at] = i;
        equals += all_eq;
        n += all;
    }
}
