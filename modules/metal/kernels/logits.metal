// Logits is a product (product.metal) over the wanted rows: 563 MB of Q8_0, a sixteenth of a token's bytes, in 16,160 threadgroups
// of 8 rows. logits_rows gives each simdgroup four rows, one after the other, so that the activations stay in registers' reach and
// a threadgroup lives longer than its start.

// Grid: 32 rows, outs; 256 threads.
// Cost of logits_rows: moves the output matrix once for each token, 563 MB. Threadgroup: 256 threads, 32 rows; 0 bytes of
// threadgroup memory, about 40 registers. If slow: 64 rows a threadgroup.
kernel void logits_rows(
        constant product_args & a     [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const half  * q        [[buffer(2)]],
        device const float * d        [[buffer(3)]],
        device const uchar * w        [[buffer(4)]],
        device       float * y        [[buffer(5)]],
        uint3 tg    [[threadgroup_position_in_grid]],
        uint  simd  [[simdgroup_index_in_threadgroup]],
        uint  lane  [[thread_index_in_simdgroup]]) {
    const int token = tg.y;
    if (token >= step->outs) return;
    const int lanes = lanes_of(a.cols), each = 32 / lanes;
    const activation act = activation_of(q, d, q, d, token, a.cols, 0, 32);
    for (int i = simd * each; i < 32; i += 8 * each) {
        const int row = 32 * tg.x + i + int(lane) / lanes;
        const bool live = row < a.m[0].rows;
        const float v = row_dot(type_q8_0, w + (ulong)(live ? row : 0) * row_bytes(type_q8_0, a.cols), live, a.cols, lane, lanes, act, 0);
        if (live && int(lane) % lanes == 0) y[(ulong) token * a.m[0].stride + row] = v;
    }
}
