// Every stream starts as the token's embedding, or as a row that was given. Moves 4 · D f32 a row and D of the table.

struct embed_args { int width, f32; };

// A threadgroup a piece of 256 of a row. Grid: pieces, rows.
// Cost of embed: moves 2 bytes a value of the table, 16 out. Threadgroup: 256 threads, 256 components; 0 bytes of threadgroup
// memory, about 16 registers. If slow: nothing: one dispatch a step.
kernel void embed(
        constant embed_args & a       [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const uchar * table    [[buffer(2)]],
        device const float * given    [[buffer(3)]],
        device       float * hc       [[buffer(4)]],
        uint3 tg  [[threadgroup_position_in_grid]],
        uint  tid [[thread_index_in_threadgroup]]) {
    const int row = tg.y, j = tg.x * 256 + tid;
    if (row >= step->rows || j >= a.width) return;
    const step_row r = rows_of(step)[row];
    const ulong at = (ulong) r.token * a.width + j;
    float v;
    if (r.from >= 0) v = given[(ulong) r.from * a.width + j];
    else v = a.f32 ? ((device const float *) table)[at] : float(((device const half *) table)[at]);
    for (int s = 0; s < 4; s++) hc[((ulong) row * 4 + s) * a.width + j] = v;
}
