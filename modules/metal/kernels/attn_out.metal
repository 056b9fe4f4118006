// AttnOut's two products. B is a product (product.metal); A is grouped, and a threadgroup of attn_out_low makes 32 values of the
// latent between and their int8 block at once: the f32 latent is never stored. Moves A once, for 1 to 4 tokens.

// Grid: blocks of 32 rows, tokens. Threads: 32 a lane of a row (lanes_of), at most 1024.
// Cost of attn_out_low: moves A once for each token (1 to 4), 34 MiB. Threadgroup: 1024 threads, 32 rows; 128 bytes of
// threadgroup memory, about 40 registers. If slow: 512 threads: two rows a lane in turn, if occupancy is what is short.
kernel void attn_out_low(
        constant product_args & a     [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const half  * q        [[buffer(2)]],
        device const float * d        [[buffer(3)]],
        device const uchar * w        [[buffer(4)]],
        device       half  * q8       [[buffer(5)]],
        device       float * q8d      [[buffer(6)]],
        uint3 tg    [[threadgroup_position_in_grid]],
        uint  simd  [[simdgroup_index_in_threadgroup]],
        uint  lane  [[thread_index_in_simdgroup]]) {
    threadgroup float out[32];
    const int token = tg.y;
    if (token >= tokens_of(step, a.which)) return;
    const int lanes = lanes_of(a.cols), mine = int(simd) * (32 / lanes) + int(lane) / lanes, row = 32 * tg.x + mine;
    const activation act = activation_of(q, d, q, d, token, a.act_cols, row / a.group * a.cols, 32);
    const float v = row_dot(type_q8_0, w + (ulong) row * row_bytes(type_q8_0, a.cols), true, a.cols, lane, lanes, act, 0);
    if (int(lane) % lanes == 0) out[mine] = v;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (simd != 0) return;
    const float x = out[lane], scale = simd_max(fabs(x)) / 127.0f, inv = scale != 0 ? 1.0f / scale : 0.0f;
    const ulong at = (ulong) token * a.m[0].rows + 32 * tg.x;
    q8[at + lane] = half(clamp(rint(x * inv), -128.0f, 127.0f));
    if (lane == 0) q8d[at / 32] = scale;
}
