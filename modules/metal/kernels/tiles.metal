// Tiles: 32 weight rows by 32 tokens as 8×8 simdgroup matrices, with the order of sums of product.metal.

constant int tile_rows = 32, tile_tokens = 32, stage_inputs = 64;
constant int stage_stride = 72; // halfs between rows of a stage: 64 and 8 more, which spreads the banks

// Threadgroup memory of a tile.
struct tile_memory {
    half w[32 * 72];     // (row, input): codes times sub-scales
    half a[32 * 72];     // (token, input)
    half wm[32 * 8];     // (row, 16 inputs): minimums, K-quants only
    half am[32 * 8];     // (token, 16 inputs): sums
    float scale[32 * 2]; // (row, group)
    float least[32];
    float d[32 * 2];     // (token, group)
    float place[64];     // 0 … 63: shows which element a lane holds
};

// A simdgroup has 16 rows by 16 tokens: four matrices. Element e of matrix (i, j) is at row[e], token[e] of the matrix.
struct tile_sums { float p[4][4][2], total[4][2]; };

// decode16 turns 16 inputs, k … k+15 of the row, into integers, and says the scale of their group.
static inline void decode16(int type, device const uchar * row, int k, threadgroup half * out, table_ptr table, thread float & scale, thread float & least, thread float & minimum) {
    least = 0;
    minimum = 0;
    if (type == type_q8_0) {
        device const ushort * p = (device const ushort *)(row + (ulong)(k >> 5) * 34);
        scale = float(as_type<half>(p[0]));
        p += 1 + (k & 16) / 2;
        for (int i = 0; i < 8; i++) {
            const uint w = p[i];
            out[2 * i] = half(float(as_type<char>(uchar(w))));
            out[2 * i + 1] = half(float(as_type<char>(uchar(w >> 8))));
        }
        return;
    }
    if (type == type_mxfp4) {
        device const uchar * p = row + (ulong)(k >> 5) * 17;
        scale = e8m0_half(p[0]);
        const int shift = k & 16 ? 4 : 0;
        for (int i = 0; i < 16; i++) out[i] = half(float(e2m1_twice(uint(p[1 + i]) >> shift)));
        return;
    }
    device const uchar * b = row + (ulong)(k >> 8) * block_bytes(type);
    const int piece = k >> 4 & 15; // of 16 inputs
    if (type == type_iq2_xxs) {
        scale = 0.125f * half_at(b);
        device const ushort * p = (device const ushort *)(b + 2 + 8 * (piece >> 1));
        const uint codes = uint(p[0]) | uint(p[1]) << 16, t = uint(p[2]) | uint(p[3]) << 16;
        const float ls = float(2 * (t >> 28) + 1);
        for (int l = 2 * (piece & 1); l < 2 * (piece & 1) + 2; l++) {
            threadgroup const uchar * mag = table + (codes >> (8 * l) & 255) * 8;
            const uint sign = sign_mask(t >> (7 * l) & 127);
            for (int j = 0; j < 8; j++) {
                const float m = ls * float(mag[j]);
                *out++ = half(sign >> j & 1 ? -m : m);
            }
        }
        return;
    }
    if (type == type_q2_k) {
        const uint sc = b[piece];
        device const uchar * codes = b + 16 + 32 * (piece >> 3) + 16 * (piece & 1);
        const int shift = 2 * (piece >> 1 & 3);
        scale = half_at(b + 80);
        least = half_at(b + 82);
        minimum = float(sc >> 4);
        for (int i = 0; i < 16; i++) out[i] = half(float((sc & 15) * (uint(codes[i]) >> shift & 3)));
        return;
    }
    const uint2 sc = q4_k_scale(b + 4, piece >> 1); // Q4_K
    device const uchar * codes = b + 16 + 32 * (piece >> 2) + 16 * (piece & 1);
    const int shift = 4 * (piece >> 1 & 1);
    scale = half_at(b);
    least = half_at(b + 2);
    minimum = float(sc.y);
    for (int i = 0; i < 16; i++) out[i] = half(float(sc.x * (uint(codes[i]) >> shift & 15)));
}

// stage fills threadgroup memory with inputs k … k+63 of 32 rows and 32 tokens. tokens[t] is the activation row of token t, -1 none.
static inline void stage(int type, device const uchar * w, int rows, ulong row_size, int cols, int k, device const half * q, device const float * d, device const half * s,
                         threadgroup const int * tokens, int act_cols, int at, threadgroup tile_memory * m, uint tid, table_ptr table) {
    const int per = block_inputs(type);
    const int r = tid >> 2, piece = tid & 3, kk = k + 16 * piece; // a thread: 16 inputs of a row, and of a token
    threadgroup half * out = m->w + r * stage_stride + 16 * piece;
    float scale = 0, least = 0, minimum = 0;
    if (r < rows && kk < cols) decode16(type, w + (ulong) r * row_size, kk, out, table, scale, least, minimum);
    else for (int i = 0; i < 16; i++) out[i] = 0.0h;
    if (per == 32 && (piece & 1) == 0) m->scale[2 * r + (piece >> 1)] = scale;
    if (per == 256) {
        if (piece == 0) { m->scale[2 * r] = scale; m->least[r] = least; }
        m->wm[8 * r + piece] = half(minimum);
        m->wm[8 * r + 4 + piece] = 0.0h;
    }
    const int token = tokens[r];
    out = m->a + r * stage_stride + 16 * piece;
    if (token >= 0 && kk < cols) {
        device const half4 * from = (device const half4 *)(q + (ulong) token * act_cols + at + kk);
        threadgroup half4 * to = (threadgroup half4 *) out;
        for (int i = 0; i < 4; i++) to[i] = from[i];
        if (per == 32 && (piece & 1) == 0) m->d[2 * r + (piece >> 1)] = d[((ulong) token * act_cols + at + kk) / 32];
        if (per == 256) {
            if (piece == 0) m->d[2 * r] = d[((ulong) token * act_cols + at + kk) / 256];
            m->am[8 * r + piece] = s[((ulong) token * act_cols + at + kk) / 16];
            m->am[8 * r + 4 + piece] = 0.0h;
        }
    } else {
        for (int i = 0; i < 16; i++) out[i] = 0.0h;
        if (per == 32 && (piece & 1) == 0) m->d[2 * r + (piece >> 1)] = 0;
        if (per == 256) {
            if (piece == 0) m->d[2 * r] = 0;
            m->am[8 * r + piece] = 0.0h;
            m->am[8 * r + 4 + piece] = 0.0h;
        }
    }
}

// places says which element of an 8×8 matrix a lane holds: row in bits 3 to 5, column in bits 0 to 2. Only load and store are
// documented, so the lane asks them.
static inline void places(threadgroup const float * table, thread int * place) {
    simdgroup_float8x8 m;
    simdgroup_load(m, table, 8);
    place[0] = int(m.thread_elements()[0]);
    place[1] = int(m.thread_elements()[1]);
}

// group_product is the integer sum of one group for the four matrices of a simdgroup, at halfs k0 … k0+8·steps−1 of the stage.
static inline void group_product(threadgroup const half * w, threadgroup const half * a, int stride, int k0, int steps, thread simdgroup_float8x8 * sum) {
    for (int i = 0; i < 4; i++) sum[i] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    for (int k = k0; k < k0 + 8 * steps; k += 8) {
        simdgroup_half8x8 mw[2], ma[2];
        for (int i = 0; i < 2; i++) {
            simdgroup_load(mw[i], w + 8 * i * stride + k, stride);
            simdgroup_load(ma[i], a + 8 * i * stride + k, stride, 0, true);
        }
        for (int i = 0; i < 4; i++) simdgroup_multiply_accumulate(sum[i], mw[i >> 1], ma[i & 1], sum[i]);
    }
}

// tile adds up one tile; its sums are each lane's elements.
static inline void tile(int type, device const uchar * w, int rows, int cols, device const half * q, device const float * d, device const half * s,
                        threadgroup const int * tokens, int act_cols, int at, threadgroup tile_memory * m, uint tid, uint simd, table_ptr table, thread const int * place, thread tile_sums & t) {
    const ulong row_size = row_bytes(type, cols);
    const int r0 = 16 * (simd >> 1), t0 = 16 * (simd & 1);
    for (int i = 0; i < 4; i++) t.total[i][0] = t.total[i][1] = 0;
    for (int run = 0; run < cols; run += run_inputs) {
        for (int i = 0; i < 4; i++) for (int j = 0; j < 4; j++) t.p[i][j][0] = t.p[i][j][1] = 0;
        for (int half_run = 0; half_run < 2; half_run++) {
            for (int st = 0; st < 4; st++) { // unrolled: indices of partials are constants then
                const int k = run + 256 * half_run + stage_inputs * st;
                if (k >= cols) continue;
                threadgroup_barrier(mem_flags::mem_threadgroup);
                stage(type, w, rows, row_size, cols, k, q, d, s, tokens, act_cols, at, m, tid, table);
                threadgroup_barrier(mem_flags::mem_threadgroup);
                simdgroup_float8x8 sum[4];
                if (block_inputs(type) == 32) {
                    for (int g = 0; g < 2; g++) {
                        group_product(m->w + r0 * stage_stride, m->a + t0 * stage_stride, stage_stride, 32 * g, 4, sum);
                        for (int i = 0; i < 4; i++)
                            for (int e = 0; e < 2; e++) {
                                const int row = r0 + 8 * (i >> 1) + (place[e] >> 3), token = t0 + 8 * (i & 1) + (place[e] & 7);
                                const int part = (2 * st + g) & 3;
                                t.p[i][part][e] = fma(sum[i].thread_elements()[e], m->scale[2 * row + g] * m->d[2 * token + g], t.p[i][part][e]);
                            }
                    }
                } else {
                    group_product(m->w + r0 * stage_stride, m->a + t0 * stage_stride, stage_stride, 0, 8, sum);
                    for (int i = 0; i < 4; i++)
                        for (int e = 0; e < 2; e++) {
                            const int row = r0 + 8 * (i >> 1) + (place[e] >> 3), token = t0 + 8 * (i & 1) + (place[e] & 7);
                            t.p[i][st][e] = fma(sum[i].thread_elements()[e], m->scale[2 * row] * m->d[2 * token], t.p[i][st][e]);
                        }
                    if (type == type_q2_k || type == type_q4_k) {
                        group_product(m->wm + r0 * 8, m->am + t0 * 8, 8, 0, 1, sum);
                        for (int i = 0; i < 4; i++)
                            for (int e = 0; e < 2; e++) {
                                const int row = r0 + 8 * (i >> 1) + (place[e] >> 3), token = t0 + 8 * (i & 1) + (place[e] & 7);
                                t.p[i][st][e] = fma(-sum[i].thread_elements()[e], m->least[row] * m->d[2 * token], t.p[i][st][e]);
                            }
                    }
                }
            }
        }
        for (int i = 0; i < 4; i++)
            for (int e = 0; e < 2; e++) t.total[i][e] += (t.p[i][0][e] + t.p[i][1][e]) + (t.p[i][2][e] + t.p[i][3][e]);
    }
}

// product_tiles: as product_rows, for Q8_0. Grid: tiles of rows, tiles of tokens.
// Cost of product_tiles: moves each matrix once for 32 tokens, their int8 forms once for 32 rows. Threadgroup: 128 threads, 32
// rows by 32 tokens; 11264 bytes of threadgroup memory, about 70 registers. If slow: 64 rows a threadgroup, or the next stage's
// loads before this one's products.
kernel void product_tiles(
        constant product_args & a          [[buffer(0)]],
        device const step_head * step      [[buffer(1)]],
        device const half  * q             [[buffer(2)]],
        device const float * d             [[buffer(3)]],
        device const float * x             [[buffer(4)]],
        device const uchar * w0            [[buffer(5)]],
        device const uchar * w1            [[buffer(6)]],
        device const uchar * w2            [[buffer(7)]],
        device const uchar * w3            [[buffer(8)]],
        device       float * y0            [[buffer(9)]],
        device       float * y1            [[buffer(10)]],
        device       float * y2            [[buffer(11)]],
        device       float * y3            [[buffer(12)]],
        device const uchar * ape0          [[buffer(13)]],
        uint3 tg    [[threadgroup_position_in_grid]],
        uint  tid   [[thread_index_in_threadgroup]],
        uint  simd  [[simdgroup_index_in_threadgroup]]) {
    threadgroup tile_memory m[1];
    threadgroup int tokens[32];
    const int count = tokens_of(step, a.which) * a.per_row, first = tg.y * tile_tokens;
    if (first >= count) return;
    int i = 0;
    while (i + 1 < a.matrices && int(tg.x) >= a.m[i + 1].first) i++;
    device const uchar * w = i == 0 ? w0 : i == 1 ? w1 : i == 2 ? w2 : w3;
    device float * y = i == 0 ? y0 : i == 1 ? y1 : i == 2 ? y2 : y3;
    const int row = (int(tg.x) - a.m[i].first) * tile_rows;
    const int at = a.group == 0 ? 0 : row / a.group * a.cols;
    if (tid < 32) tokens[tid] = first + int(tid) < count ? first + int(tid) : -1;
    if (tid < 64) m->place[tid] = float(tid);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    int place[2];
    places(m->place, place);
    // a group of rows that share inputs may end within the tile
    const int rows = min(min(tile_rows, a.m[i].rows - row), a.group == 0 ? tile_rows : a.group - row % a.group);
    tile_sums t;
    tile(type_q8_0, w + (ulong) row * row_bytes(type_q8_0, a.cols), rows, a.cols, q, d, q, tokens, a.act_cols, at, m, tid, simd, 0, place, t);
    for (int j = 0; j < 4; j++)
        for (int e = 0; e < 2; e++) {
            const int r = 16 * (int(simd) >> 1) + 8 * (j >> 1) + (place[e] >> 3), token = tokens[16 * (simd & 1) + 8 * (j & 1) + (place[e] & 7)];
            if (r < rows && token >= 0) store_product(a.m[i], step, y, ape0, a.which, a.per_row, a.ratio, token, row + r, t.total[j][e]);
        }
}

// product_floats: F16 and F32 matrices, 32 rows by 16 tokens, 128 threads. Four lanes share four rows by four tokens and take the
// pieces of 8 inputs in turn, as in the mat-vec. Plain fma: these matrices are a twentieth of a prompt's work.
// Cost of product_floats: moves each matrix once for 16 tokens, their activations once for 32 rows. Threadgroup: 128 threads,
// 32 rows by 16 tokens; 12480 bytes of threadgroup memory, about 50 registers. If slow: simdgroup matrices of float, if their
// order of sums turns out to be ascending.
kernel void product_floats(
        constant product_args & a          [[buffer(0)]],
        device const step_head * step      [[buffer(1)]],
        device const half  * q             [[buffer(2)]],
        device const float * d             [[buffer(3)]],
        device const float * x             [[buffer(4)]],
        device const uchar * w0            [[buffer(5)]],
        device const uchar * w1            [[buffer(6)]],
        device const uchar * w2            [[buffer(7)]],
        device const uchar * w3            [[buffer(8)]],
        device       float * y0            [[buffer(9)]],
        device       float * y1            [[buffer(10)]],
        device       float * y2            [[buffer(11)]],
        device       float * y3            [[buffer(12)]],
        device const uchar * ape0          [[buffer(13)]],
        device const uchar * ape1          [[buffer(14)]],
        device const uchar * ape2          [[buffer(15)]],
        device const uchar * ape3          [[buffer(16)]],
        uint3 tg    [[threadgroup_position_in_grid]],
        uint  tid   [[thread_index_in_threadgroup]]) {
    constexpr int rows = 32, cols = 16, depth = 64; // of a tile; stage of 64 inputs
    threadgroup float sw[32 * 65];
    threadgroup float sx[16 * 65];
    const int count = tokens_of(step, a.which) * a.per_row, first = tg.y * cols;
    if (first >= count) return;
    int i = 0;
    while (i + 1 < a.matrices && int(tg.x) >= a.m[i + 1].first) i++;
    device const uchar * w = i == 0 ? w0 : i == 1 ? w1 : i == 2 ? w2 : w3;
    device const uchar * ape = i == 0 ? ape0 : i == 1 ? ape1 : i == 2 ? ape2 : ape3;
    device float * y = i == 0 ? y0 : i == 1 ? y1 : i == 2 ? y2 : y3;
    const int type = a.m[i].type, row0 = (int(tg.x) - a.m[i].first) * rows;
    const int sub = tid & 3, r0 = 4 * int(tid >> 2 & 7), t0 = 4 * int(tid >> 5);
    float total[4][4], p[4][4];
    for (int r = 0; r < 4; r++) for (int t = 0; t < 4; t++) total[r][t] = 0;
    for (int run = 0; run < a.cols; run += run_inputs) {
        for (int r = 0; r < 4; r++) for (int t = 0; t < 4; t++) p[r][t] = 0;
        for (int k = run; k < min(run + run_inputs, a.cols); k += depth) {
            threadgroup_barrier(mem_flags::mem_threadgroup);
            for (int e = tid; e < rows * depth; e += 128) {
                const int r = e / depth, c = e % depth;
                float v = 0;
                if (row0 + r < a.m[i].rows && k + c < a.cols) {
                    const ulong from = (ulong)(row0 + r) * a.cols + k + c;
                    v = type == type_f16 ? float(((device const half *) w)[from]) : ((device const float *) w)[from];
                }
                sw[r * 65 + c] = v;
            }
            for (int e = tid; e < cols * depth; e += 128) {
                const int t = e / depth, c = e % depth;
                sx[t * 65 + c] = first + t < count && k + c < a.cols ? x[(ulong)(first + t) * a.act_cols + k + c] : 0.0f;
            }
            threadgroup_barrier(mem_flags::mem_threadgroup);
            for (int c = 8 * sub; c < depth; c += 32)
                for (int j = c; j < c + 8; j++)
                    for (int r = 0; r < 4; r++)
                        for (int t = 0; t < 4; t++) p[r][t] = fma(sw[(r0 + r) * 65 + j], sx[(t0 + t) * 65 + j], p[r][t]);
        }
        for (int r = 0; r < 4; r++)
            for (int t = 0; t < 4; t++) {
                float v = p[r][t];
                v += simd_shuffle_xor(v, 1);
                v += simd_shuffle_xor(v, 2);
                total[r][t] += v;
            }
    }
    for (int t = 0; t < 4; t++) {
        const float v = sub == 0 ? total[0][t] : sub == 1 ? total[1][t] : sub == 2 ? total[2][t] : total[3][t];
        const int row = row0 + r0 + sub, token = first + t0 + t;
        if (row < a.m[i].rows && token < count) store_product(a.m[i], step, y, ape, a.which, a.per_row, a.ratio, token, row, v);
    }
}
