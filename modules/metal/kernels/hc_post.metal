// HCPost gives a sublayer's output back to the four streams, in place. Where HCPre follows at once, hc_mix does this on the way;
// this kernel serves the last half of a step, steering and probes. Moves 8 · D f32 a row.

// Grid: pieces of 256 components, rows.
// Cost of hc_post: moves the streams in and out, Y once: 36 bytes a component. Threadgroup: 256 threads, 256 components; 0
// bytes of threadgroup memory, about 24 registers. If slow: four components a thread, as float4.
kernel void hc_post(
        constant hc_args & a          [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device       float * hc       [[buffer(2)]],
        device const float * mix      [[buffer(3)]],
        device const float * y        [[buffer(4)]],
        device       float * tap      [[buffer(5)]],
        uint3 tg  [[threadgroup_position_in_grid]],
        uint  tid [[thread_index_in_threadgroup]]) {
    const int row = tg.y, j = tg.x * 256 + tid;
    if (row >= step->rows || j >= a.width) return;
    device float * h = hc + (ulong) row * 4 * a.width;
    float v[4];
    for (int t = 0; t < 4; t++) v[t] = hc_posted(h, mix + (ulong) row * 24, y[(ulong) row * a.width + j], a.width, j, t);
    for (int t = 0; t < 4; t++) {
        h[t * a.width + j] = v[t];
        if (a.tap) tap[((ulong) row * 4 + t) * a.width + j] = v[t];
    }
}

// hc_steer takes the component along a direction out of y: y -= scale · (y·v) · v. Grid: rows; 256 threads.
// Cost of hc_steer: moves Y twice in, once out; the direction twice. Threadgroup: 256 threads, a row; 128 bytes of threadgroup
// memory, about 16 registers. If slow: nothing: only with steering.
kernel void hc_steer(
        constant hc_args & a          [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const float * v        [[buffer(2)]],
        device       float * y        [[buffer(3)]],
        uint3 tg   [[threadgroup_position_in_grid]],
        uint  tid  [[thread_index_in_threadgroup]],
        uint  simd [[simdgroup_index_in_threadgroup]],
        uint  lane [[thread_index_in_simdgroup]]) {
    threadgroup float sums[32];
    if (int(tg.x) >= step->rows) return;
    device float * r = y + (ulong) tg.x * a.width;
    float s = 0;
    for (int j = tid; j < a.width; j += 256) s = fma(r[j], v[j], s);
    const float f = a.steer_scale * group_sum(s, sums, simd, lane, 8);
    for (int j = tid; j < a.width; j += 256) r[j] = fma(-f, v[j], r[j]);
}
