// Compress keeps the compressors' inputs by position, and makes the compressed rows that complete in this step. The inputs v and
// g (with APE) are products (product.metal). A threadgroup a row: it stores the row in the ring, and if the row ends a window pools
// it, a channel a thread. Moves 8 (or 128) rows of v and g once for a completed row; none of it matters beside the products.

struct compress_args {
    int width, index_width, head, rope; // width of v and of g; 0: no indexer
    int kind, pad;                      // kind of rotation of a completed row
    float eps;
    int pad2;
    state_args st;
};

constant float no_score = -1e30f; // of a row that is not there

// input_row is the v and g of a position: of this step, or kept.
static inline device const float * input_row(device const float * in, device const uchar * slots, constant state_args & st, step_span sp, int pos) {
    if (pos >= sp.pos) return in + (ulong)(sp.row + pos - sp.pos) * st.comp_row;
    return (device const float *)(slots + (ulong) sp.slot * st.slot_stride + st.comp_base) + (ulong)(pos % st.comp_ring) * st.comp_row;
}

// pooled is channel j of the window that ends at pos. Values start at `at`, scores at at+width. Overlapped windows (width is twice
// the head) take the low half of the four rows before and the high half of their own.
static inline float pooled(device const float * in, device const uchar * slots, constant state_args & st, step_span sp, int pos, int at, int width, int head, int j) {
    float top = no_score, sum = 0, den = 0;
    if (width == head) {
        for (int p = pos + 1 - st.ratio; p <= pos; p++) top = max(top, input_row(in, slots, st, sp, p)[at + width + j]);
        for (int p = pos + 1 - st.ratio; p <= pos; p++) {
            device const float * r = input_row(in, slots, st, sp, p);
            const float w = precise::exp(r[at + width + j] - top);
            den += w;
            sum = fma(w, r[at + j], sum);
        }
    } else {
        for (int k = 0; k < 8; k++) {
            const int p = pos - 7 + k;
            if (p >= 0) top = max(top, input_row(in, slots, st, sp, p)[at + width + (k < 4 ? 0 : head) + j]);
        }
        for (int k = 0; k < 8; k++) {
            const int p = pos - 7 + k;
            if (p < 0) continue;
            device const float * r = input_row(in, slots, st, sp, p) + at + (k < 4 ? 0 : head) + j;
            const float w = precise::exp(r[width] - top);
            den += w;
            sum = fma(w, r[0], sum);
        }
    }
    return top <= 0.5f * no_score ? 0.0f : sum / den;
}

// hadamard128 transforms 128 values, four a lane at lane+32i, in natural order, normalised.
static inline void hadamard128(thread float * v, uint lane) {
    for (ushort s = 1; s < 32; s *= 2)
        for (int i = 0; i < 4; i++) {
            const float o = simd_shuffle_xor(v[i], s);
            v[i] = lane & s ? o - v[i] : v[i] + o;
        }
    const float a = v[0] + v[1], b = v[0] - v[1], c = v[2] + v[3], d = v[2] - v[3];
    v[0] = a + c;
    v[1] = b + d;
    v[2] = a - c;
    v[3] = b - d;
    for (int i = 0; i < 4; i++) v[i] *= 0.08838834764831845f;
}

// index_codes rounds them to E2M1 with an exponent for each 32.
static inline void index_codes(thread const float * v, thread uint * code, thread int * e) {
    for (int i = 0; i < 4; i++) {
        e[i] = scale_exponent(max(simd_max(fabs(v[i])), 7.052966104933725e-38f), 6.0f);
        code[i] = to_e2m1(v[i] * pow2(-e[i]));
    }
}

// compress_row does one row of the step: all threads of the threadgroup come here. z, rot: 1024 floats each.
static inline void compress_row(constant compress_args & a, device const step_head * step, int row, device const float * in, device const float * norm, device const float * index_norm,
                                device uchar * slots, device uchar * pages, device const int * table, threadgroup float * sums, threadgroup float * z, threadgroup float * rot,
                                uint tid, uint simd, uint simds, uint lane) {
    const step_row r = rows_of(step)[row];
    const step_span sp = spans_of(step)[r.span];
    if (sp.slot == sp.into) {
        device float * to = (device float *)(slots + (ulong) sp.into * a.st.slot_stride + a.st.comp_base) + (ulong)(r.pos % a.st.comp_ring) * a.st.comp_row;
        for (int i = tid; i < a.st.comp_row; i += 32 * simds) to[i] = in[(ulong) row * a.st.comp_row + i];
    }
    if ((r.pos + 1) % a.st.ratio != 0) return;
    device const float * cs = rope_of(step, row, a.kind);
    int c;
    device uchar * page = page_row(a.st, pages, table, sp.seq, r.pos / a.st.ratio, c);
    float squares = 0;
    if (int(tid) < a.head) {
        const float v = pooled(in, slots, a.st, sp, r.pos, 0, a.width, a.head, tid);
        z[tid] = v;
        squares = v * v;
    }
    float inv = inverse_rms(group_sum(squares, sums, simd, lane, simds), a.head, a.eps);
    if (int(tid) < a.head) {
        float v = z[tid] * inv * norm[tid];
        const int k = int(tid) - (a.head - a.rope);
        if (k >= 0) v = rotated(v, z[tid ^ 1] * inv * norm[tid ^ 1], k, cs, false);
        rot[tid] = v;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    pack_kv(rot, a.head, a.rope, a.st.kv_exp, a.st.kv_row, page + (ulong) c * a.st.kv_row, simd, simds, lane);
    if (a.index_width == 0) return;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    squares = 0;
    if (tid < 128) {
        const float v = pooled(in, slots, a.st, sp, r.pos, 2 * a.width, a.index_width, 128, tid);
        z[tid] = v;
        squares = v * v;
    }
    inv = inverse_rms(group_sum(squares, sums, simd, lane, simds), 128, a.eps);
    if (simd != 0) return;
    float v[4];
    for (int i = 0; i < 4; i++) {
        const int at = lane + 32 * i, k = at - (128 - a.rope);
        v[i] = z[at] * inv * index_norm[at];
        if (k >= 0) v[i] = rotated(v[i], z[at ^ 1] * inv * index_norm[at ^ 1], k, cs, false);
    }
    hadamard128(v, lane);
    uint code[4];
    int e[4];
    index_codes(v, code, e);
    device uchar * vals = page + a.st.index_at + (ulong) c * 64;
    for (int i = 0; i < 4; i++) {
        const uint high = simd_shuffle_xor(code[i], 1);
        if ((lane & 1) == 0) vals[16 * i + lane / 2] = uchar(code[i] | high << 4);
        if (lane == 0) page[a.st.index_exp_at + (ulong) c * 4 + i] = uchar(e[i]);
    }
}

// Grid: rows. Threads: as many as the head has components, in whole simdgroups.
// Cost of compress: moves a compressor's row in and out; where a window closes, its rows in and two packed rows out.
// Threadgroup: 512 threads, a row; 8320 bytes of threadgroup memory, about 40 registers. If slow: a threadgroup for each of the
// two compressors, where both close.
kernel void compress(
        constant compress_args & a     [[buffer(0)]],
        device const step_head * step  [[buffer(1)]],
        device const float * in        [[buffer(2)]], // (rows, comp_row)
        device const float * norm      [[buffer(3)]],
        device const float * index_norm [[buffer(4)]],
        device       uchar * slots     [[buffer(5)]],
        device       uchar * pages     [[buffer(6)]],
        device const int   * table     [[buffer(7)]],
        uint3 tg    [[threadgroup_position_in_grid]],
        uint  tid   [[thread_index_in_threadgroup]],
        uint  simd  [[simdgroup_index_in_threadgroup]],
        uint  simds [[simdgroups_per_threadgroup]],
        uint  lane  [[thread_index_in_simdgroup]]) {
    threadgroup float sums[32];
    threadgroup float z[1024];
    threadgroup float rot[1024];
    if (int(tg.x) < step->rows) compress_row(a, step, tg.x, in, norm, index_norm, slots, pages, table, sums, z, rot, tid, simd, simds, lane);
}
