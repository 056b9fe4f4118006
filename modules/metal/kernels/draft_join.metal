// DraftJoin: norms of the token's embedding and of the previous streams, two products (product.metal), and their sum.

struct draft_args { int width, f32; float eps; int pad; };

// draft_norms writes the int8 forms of job 0, the embedding, and jobs 1 to 4, the streams. Grid: jobs, rows. Threads: 32 for each
// 256 components.
// Cost of draft_norms: moves five rows of D in, 2 bytes a value out. Threadgroup: 512 threads at 4096 components, a job; 128
// bytes of threadgroup memory, about 30 registers. If slow: nothing: once a draft step.
kernel void draft_norms(
        constant draft_args & a       [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const uchar * table    [[buffer(2)]],
        device const float * prev     [[buffer(3)]],
        device const float * enorm    [[buffer(4)]],
        device const float * hnorm    [[buffer(5)]],
        device       half  * e8       [[buffer(6)]],
        device       float * e8d      [[buffer(7)]],
        device       half  * h8       [[buffer(8)]],
        device       float * h8d      [[buffer(9)]],
        uint3 tg    [[threadgroup_position_in_grid]],
        uint  tid   [[thread_index_in_threadgroup]],
        uint  simd  [[simdgroup_index_in_threadgroup]],
        uint  simds [[simdgroups_per_threadgroup]],
        uint  lane  [[thread_index_in_simdgroup]]) {
    threadgroup float sums[32];
    const int row = tg.y, job = tg.x;
    if (row >= step->rows) return;
    const step_row r = rows_of(step)[row];
    float v[8], squares = 0;
    for (int i = 0; i < 8; i++) {
        const int j = 8 * tid + i;
        const ulong at = (ulong) r.token * a.width + j;
        if (job > 0) v[i] = prev[((ulong) r.from * 4 + job - 1) * a.width + j];
        else v[i] = a.f32 ? ((device const float *) table)[at] : float(((device const half *) table)[at]);
        squares = fma(v[i], v[i], squares);
    }
    const float inv = inverse_rms(group_sum(squares, sums, simd, lane, simds), a.width, a.eps);
    device const float * norm = job == 0 ? enorm : hnorm;
    for (int i = 0; i < 8; i++) v[i] = v[i] * inv * norm[8 * tid + i];
    if (job == 0) {
        const ulong at = (ulong) row * a.width + 256 * simd;
        store_q8(v, lane, true, e8 + at, e8d + at / 32);
    } else {
        const ulong at = ((ulong) row * 4 + job - 1) * a.width + 256 * simd;
        store_q8(v, lane, true, h8 + at, h8d + at / 32);
    }
}

// draft_sum: hc (rows, 4, D) += ep (rows, D). Grid: pieces of 256 components, rows.
// Cost of draft_sum: moves the streams in and out, one row of D. Threadgroup: 256 threads, 256 components; 0 bytes of
// threadgroup memory, about 16 registers. If slow: nothing: once a draft step.
kernel void draft_sum(
        constant draft_args & a       [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const float * ep       [[buffer(2)]],
        device       float * hc       [[buffer(3)]],
        uint3 tg  [[threadgroup_position_in_grid]],
        uint  tid [[thread_index_in_threadgroup]]) {
    const int row = tg.y, j = tg.x * 256 + tid;
    if (row >= step->rows || j >= a.width) return;
    for (int s = 0; s < 4; s++) {
        device float * h = hc + ((ulong) row * 4 + s) * a.width + j;
        *h = ep[(ulong) row * a.width + j] + *h;
    }
}
