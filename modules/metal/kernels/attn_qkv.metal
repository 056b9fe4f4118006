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

// latent_inverse is the inverse root mean square of n values. 256 threads add them up, whatever the threadgroup has: one order.
static inline float latent_inverse(device const float * x, int n, float eps, threadgroup float * sums, uint tid, uint simd, uint simds, uint lane) {
    float squares = 0;
    if (tid < 256) for (int i = tid; i < n; i += 256) squares = fma(x[i], x[i], squares);
    return inverse_rms(group_sum(squares, sums, simd, lane, simds), n, eps);
}

// latent_value is eight values of block b of the normed query latent, one lane's.
static inline void latent_value(device const float * x, device const float * norm, float inv, int n, int b, uint lane, thread float * z) {
    for (int i = 0; i < 8; i++) {
        const int k = 256 * b + 8 * int(lane) + i;
        z[i] = k < n ? x[k] * inv * norm[k] : 0.0f;
    }
}

// kv_row norms, rotates and packs the KV row of one row of the step, and puts it in its ring. x: head floats; v: as many.
static inline void kv_row(constant latent_args & a, device const step_head * step, int row, device const float * x, device const float * norm, device uchar * kv, device uchar * slots,
                          threadgroup float * sums, threadgroup float * v, uint tid, uint simd, uint simds, uint lane) {
    const step_row r = rows_of(step)[row];
    const float inv = latent_inverse(x, a.head, a.eps, sums, tid, simd, simds, lane);
    for (int i = tid; i < a.head; i += 32 * simds) {
        float z = x[i] * inv * norm[i];
        const int k = i - (a.head - a.rope);
        if (k >= 0) z = rotated(z, x[i ^ 1] * inv * norm[i ^ 1], k, rope_of(step, row, a.kind), false);
        v[i] = z;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    pack_kv(v, a.head, a.rope, a.st.kv_exp, a.st.kv_row, kv + (ulong) row * a.st.kv_row, simd, simds, lane);
    const step_span sp = spans_of(step)[r.span];
    if (sp.slot == sp.into)
        pack_kv(v, a.head, a.rope, a.st.kv_exp, a.st.kv_row, slots + (ulong) sp.into * a.st.slot_stride + (ulong)(r.pos % a.st.ring) * a.st.kv_row, simd, simds, lane);
}

// latent_kv: the query latent's norm and forms, and the KV row. Grid: 2 jobs, rows; 256 threads.
// Cost of latent_kv: moves 6 KiB in, 6 KiB and a packed row (584 bytes) out, a row. Threadgroup: 256 threads, a job; 4224 bytes
// of threadgroup memory, about 32 registers. If slow: nothing: at decode latent_rows does it.
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
    device const float * x = raw + (ulong) row * (a.rank + a.head);
    if (tg.x == 1) {
        kv_row(a, step, row, x + a.rank, kv_norm, kv, slots, sums, v, tid, simd, 8, lane);
        return;
    }
    const int n = a.rank;
    const float inv = latent_inverse(x, n, a.eps, sums, tid, simd, 8, lane);
    for (int b = simd; 256 * b < n; b += 8) {
        const bool live = 256 * b + 8 * int(lane) < n;
        float z[8];
        latent_value(x, q_norm, inv, n, b, lane, z);
        const ulong at = (ulong) row * n + 256 * b;
        if (live) for (int i = 0; i < 8; i++) qlat[at + 8 * lane + i] = z[i];
        store_q8(z, lane, live, q8 + at, q8d + at / 32);
    }
}

struct heads_args { int heads, head, rope, kind; float eps; int pad; };

// q_head norms and rotates head h of a row's query in place: a simdgroup's work.
static inline void q_head(constant heads_args & a, device const step_head * step, device float * q, int row, int h, uint lane) {
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

// q_heads. Grid: 8 heads, rows.
// Cost of q_heads: moves the query in and out: 256 KiB a row. Threadgroup: 256 threads, 8 heads; 0 bytes of threadgroup memory,
// about 24 registers. If slow: keep the head's 16 values a lane between its two passes.
kernel void q_heads(
        constant heads_args & a       [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device       float * q        [[buffer(2)]],
        uint3 tg   [[threadgroup_position_in_grid]],
        uint  simd [[simdgroup_index_in_threadgroup]],
        uint  lane [[thread_index_in_simdgroup]]) {
    const int row = tg.y, h = tg.x * 8 + simd;
    if (row < step->rows && h < a.heads) q_head(a, step, q, row, h, lane);
}

struct keep_args { ulong slot_stride; int base, ring, row_bytes, pad; };

// keep_ring fills the ring of a span that moves to a spare slot: positions of this step from `fresh`, older ones from the slot it
// leaves. Grid: rows of the ring, spans.
// Cost of keep_ring: moves a packed row or a compressor's row, in and out. Threadgroup: 128 threads, a row of the ring; 0 bytes
// of threadgroup memory, about 16 registers. If slow: nothing: only for a span that moves.
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
