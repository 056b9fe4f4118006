// SharedExpert is the expert that every row has: gate and up of Q8_0 with one dispatch, 32 values of the gated product and their
// int8 block in a threadgroup, so that the product between is never stored in f32. Down is a product that adds (product.metal).

// Grid: blocks of 32 rows, tokens. Threads: 32 a lane of a row (lanes_of), at most 1024.
// Cost of shared_gate_up: moves gate and up once for each token, 17 MiB. Threadgroup: 1024 threads, 32 rows of both; 128 bytes
// of threadgroup memory, about 44 registers. If slow: 512 threads; where the choice of experts waits, product_rows does it.
kernel void shared_gate_up(
        constant experts_args & a     [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const half  * q        [[buffer(2)]],
        device const float * d        [[buffer(3)]],
        device const uchar * gate     [[buffer(4)]],
        device const uchar * up       [[buffer(5)]],
        device       half  * q8       [[buffer(6)]],
        device       float * q8d      [[buffer(7)]],
        uint3 tg    [[threadgroup_position_in_grid]],
        uint  simd  [[simdgroup_index_in_threadgroup]],
        uint  lane  [[thread_index_in_simdgroup]]) {
    threadgroup float out[32];
    const int token = tg.y;
    if (token >= step->rows) return;
    const int lanes = lanes_of(a.cols), mine = int(simd) * (32 / lanes) + int(lane) / lanes, row = 32 * tg.x + mine;
    const activation act = activation_of(q, d, q, d, token, a.cols, 0, 32);
    const ulong at = (ulong) row * row_bytes(type_q8_0, a.cols);
    const float g = row_dot(type_q8_0, gate + at, true, a.cols, lane, lanes, act, 0);
    const float u = row_dot(type_q8_0, up + at, true, a.cols, lane, lanes, act, 0);
    if (int(lane) % lanes == 0) out[mine] = swiglu(g, u, a.limit);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (simd != 0) return;
    const float x = out[lane], scale = simd_max(fabs(x)) / 127.0f, inv = scale != 0 ? 1.0f / scale : 0.0f;
    const ulong to = (ulong) token * a.rows + 32 * tg.x;
    q8[to + lane] = half(clamp(rint(x * inv), -128.0f, 127.0f));
    if (lane == 0) q8d[to / 32] = scale;
}

// shared_swiglu: of many rows, whose gate and up are tiles. v: 8 values a lane. Grid: blocks of 8 · 256 values, rows.
// Cost of shared_swiglu: moves 8 bytes a value in, 2 out. Threadgroup: 256 threads, 2048 values; 0 bytes of threadgroup memory,
// about 30 registers. If slow: nothing: a thousandth of a prompt.
kernel void shared_swiglu(
        constant experts_args & a     [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const float * gate     [[buffer(2)]],
        device const float * up       [[buffer(3)]],
        device       half  * q8       [[buffer(4)]],
        device       float * q8d      [[buffer(5)]],
        uint3 tg    [[threadgroup_position_in_grid]],
        uint  simd  [[simdgroup_index_in_threadgroup]],
        uint  lane  [[thread_index_in_simdgroup]]) {
    const int token = tg.y, block = tg.x * 8 + simd;
    if (token >= step->rows || 256 * block >= a.rows) return;
    const ulong at = (ulong) token * a.rows + 256 * block;
    float v[8];
    for (int i = 0; i < 8; i++) v[i] = swiglu(gate[at + 8 * lane + i], up[at + 8 * lane + i], a.limit);
    store_q8(v, lane, true, q8 + at, q8d + at / 32);
}
