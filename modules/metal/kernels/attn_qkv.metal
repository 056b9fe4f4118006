// AttnQKV: after the products of product.metal, norms, rotation, and the packed KV row with its place in the ring.

struct latent_args {
    int rank, head, rope, kind;
    int forms, in_place; // in_place: some span writes its ring here
    float eps;
    int pad;
    state_args st;
};


// pack_kv packs a rotated KV row that lies in threadgroup memory. A simdgroup takes blocks of 64, two values a lane.
static inline void pack_kv(threadgroup const float * v, int head, int rope, int exp_at, int row_bytes, device uchar * out, uint simd, uint simds, uint lane) {
    const int nope = head - rope;
    for (int b = simd; b < nope / 64; b += simds) {
        const float x = v[64 * b + lane], z = v[64 * b + 32 + lane];
        const int e = scale_exponent(max(simd_max(max(fabs(x), fabs(z))), 1e-4f), 448.0f);
        const float inv = pow2(-e);
        out[64 * b + lane] = to_e4m3(x * inv);
        out[64 * b + 32 + lane] = to_e4m3(z * inv);
        if (lane == 0) out[exp_at + b] = uchar(e);
    }
    for (int i = simd * 32 + lane; i < rope; i += simds * 32) ((device half *)(out + nope))[i] = half(v[nope + i]);
    for (int i = exp_at + nope / 64 + simd * 32 + lane; i < row_bytes; i += simds * 32) out[i] = 0;
}

// rotate turns the pair that holds component i: v is the component, other its partner.
static inline float rotated(float v, float other, int i, device const float * cs, bool back) {
    const float c = cs[i & ~1], s = back ? -cs[i | 1] : cs[i | 1];
    return i & 1 ? fma(other, s, v * c) : fma(-other, s, v * c);
}

// latent_kv: the query latent's norm and forms, and the KV row. Grid: 2 jobs, rows; 256 threads.
kernel void latent_kv(
        constant latent_args & a      [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const float * raw      [[buffer(2)]], // (rows, rank + head)
        device const float * q_norm   [[buffer(3)]],
        device const float * kv_norm  [[buffer(4)]],
        device       float * qlat     [[buffer(5)]],
        device       half  * q8       [[buffer(6)]],
        device       float * q8d      [[buffer(7)]],
        device       uchar * kv       [[buffer(8)]],
        device       uchar * slots    [[buffer(9)]],
        uint3 tg   [[threadgroup_position_in_grid]],
        uint  tid  [[thread_index_in_threadgroup]],
        uint  simd [[simdgroup_index_in_threadgroup]],
        uint  lane [[thread_index_in_simdgroup]]) {
    threadgroup float sums[32];
    threadgroup float v[1024];
    const int row = tg.y;
    if (row >= step->rows) return;
    const step_row r = rows_of(step)[row];
    device const float * x = raw + (ulong) row * (a.rank + a.head) + (tg.x == 0 ? 0 : a.rank);
    const int n = tg.x == 0 ? a.rank : a.head;
    float squares = 0;
    for (int i = tid; i < n; i += 256) squares = fma(x[i], x[i], squares);
    const float inv = inverse_rms(group_sum(squares, sums, simd, lane, 8), n, a.eps);
    if (tg.x == 0) {
        for (int b = simd; 256 * b < n; b += 8) {
            const bool live = 256 * b + 8 * int(lane) < n;
            float z[8];
            for (int i = 0; i < 8; i++) {
                const int k = 256 * b + 8 * lane + i;
                z[i] = live ? x[k] * inv * q_norm[k] : 0.0f;
                if (live) qlat[(ulong) row * n + k] = z[i];
            }
            const ulong at = (ulong) row * n + 256 * b;
            store_q8(z, lane, live, q8 + at, q8d + at / 32);
        }
        return;
    }
    for (int i = tid; i < n; i += 256) {
        float z = x[i] * inv * kv_norm[i];
        const int k = i - (n - a.rope);
        if (k >= 0) z = rotated(z, x[i ^ 1] * inv * kv_norm[i ^ 1], k, rope_of(step, row, a.kind), false);
        v[i] = z;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    device uchar * out = kv + (ulong) row * a.st.kv_row;
    pack_kv(v, a.head, a.rope, a.st.kv_exp, a.st.kv_row, out, simd, 8, lane);
    const step_span sp = spans_of(step)[r.span];
    if (sp.slot == sp.into)
        pack_kv(v, a.head, a.rope, a.st.kv_exp, a.st.kv_row, slots + (ulong) sp.into * a.st.slot_stride + (ulong)(r.pos % a.st.ring) * a.st.kv_row, simd, 8, lane);
}

struct heads_args { int heads, head, rope, kind; float eps; int pad; };

// q_heads norms and rotates every head of a query in place. A simdgroup a head. Grid: 8 heads, rows.
kernel void q_heads(
        constant heads_args & a       [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device       float * q        [[buffer(2)]],
        uint3 tg   [[threadgroup_position_in_grid]],
        uint  simd [[simdgroup_index_in_threadgroup]],
        uint  lane [[thread_index_in_simdgroup]]) {
    const int row = tg.y, h = tg.x * 8 + simd;
    if (row >= step->rows || h >= a.heads) return;
    device float * v = q + ((ulong) row * a.heads + h) * a.head;
    float squares = 0;
    for (int i = lane; i < a.head; i += 32) squares = fma(v[i], v[i], squares);
    const float inv = inverse_rms(simd_sum(squares), a.head, a.eps);
    device const float * cs = rope_of(step, row, a.kind);
    for (int i = lane; i < a.head; i += 32) { // all lanes come along: head is a multiple of 32
        float z = v[i] * inv;
        const float other = simd_shuffle_xor(z, 1);
        const int k = i - (a.head - a.rope);
        if (k >= 0) z = rotated(z, other, k, cs, false);
        v[i] = z;
    }
}

struct keep_args { ulong slot_stride; int base, ring, row_bytes, pad; };

// keep_ring fills the ring of a span that moves to a spare slot: positions of this step from `fresh`, older ones from the slot it
// leaves. Grid: rows of the ring, spans.
kernel void keep_ring(
        constant keep_args & a        [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const uchar * fresh    [[buffer(2)]],
        device       uchar * slots    [[buffer(3)]],
        uint3 tg  [[threadgroup_position_in_grid]],
        uint  tid [[thread_index_in_threadgroup]]) {
    if (int(tg.y) >= step->spans) return;
    const step_span sp = spans_of(step)[tg.y];
    if (sp.slot == sp.into) return;
    const int end = sp.pos + sp.rows, last = (end - 1) % a.ring;
    const int p = end - 1 - (last - int(tg.x) + a.ring) % a.ring; // the newest position that lies in this row
    if (p < 0) return;
    device const uint * from = (device const uint *)(p >= sp.pos ? fresh + (ulong)(sp.row + p - sp.pos) * a.row_bytes
                                                                 : slots + (ulong) sp.slot * a.slot_stride + a.base + (ulong) tg.x * a.row_bytes);
    device uint * to = (device uint *)(slots + (ulong) sp.into * a.slot_stride + a.base + (ulong) tg.x * a.row_bytes);
    for (int i = tid; i < a.row_bytes / 4; i += 128) to[i] = from[i];
}
