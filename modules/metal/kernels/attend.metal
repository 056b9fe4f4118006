// Attend is attention over the window and the compressed rows, with sinks. Visible rows, raw then compressed, are cut into tiles of
// 64; a tile's softmax is relative to its own maximum, and tiles are merged in order, the sink first. Eight heads of one row are the
// rows of a matrix product, so a row's bits do not depend on the step. Cached values are f16 and enter as they are; queries and
// weights stay f32: simdgroup products of float by half.
//
// attend_tiles (few rows): a threadgroup a tile and 8 heads; attend_merge adds up. attend_rows (many): a threadgroup a row and 8
// heads, all tiles. Moves each visible row (592 bytes) once for each 8 heads, from the cache that holds it after the first time.
// 256 threads; 19 KiB of threadgroup memory: scores, and for each simdgroup a piece of 16 rows by 64 values. If it is slow on a
// Mac: 16 heads a threadgroup in attend_rows.

struct attend_args {
    int heads, head, rope, kind;
    int window, topk, tiles, indexed; // tiles: room of the partials
    float scale;
    int forms, ratio, pad;
    state_args st;
};

constant int attend_tile = 64;

struct attend_memory {
    float p[8 * 64];      // (head, row): scores, then weights
    half kv[8][16 * 64];  // of a simdgroup: (row, component)
    float m[8], l[8];     // of the tile
    float fa[8], fb[8];   // factors of a merge: of what was, of the tile
    float top[8], den[8]; // so far
    float place[64];
};

static inline int visible_count(constant attend_args & a, int pos, thread int & raw) {
    raw = min(pos + 1, a.window);
    if (a.ratio == 0) return raw;
    const int c = (pos + 1) / a.ratio;
    return raw + (a.indexed ? min(c, a.topk) : c);
}

// visible_row is the packed row j that a row of the step sees.
static inline device const uchar * visible_row(constant attend_args & a, step_row r, step_span sp, int row, int raw, int j, device const uchar * kv, device const int * sel,
                                               device uchar * slots, device uchar * pages, device const int * table) {
    if (j < raw) {
        const int p = r.pos + 1 - raw + j;
        if (p >= sp.pos) return kv + (ulong)(sp.row + p - sp.pos) * a.st.kv_row;
        return slots + (ulong) sp.slot * a.st.slot_stride + (ulong)(p % a.st.ring) * a.st.kv_row;
    }
    int c = j - raw, at;
    if (a.indexed) c = sel[(ulong) row * a.topk + c];
    device uchar * page = page_row(a.st, pages, table, sp.seq, c, at);
    return page + (ulong) at * a.st.kv_row;
}

// fetch decodes 16 rows by 64 components for one simdgroup: two lanes a row. Rows past the end are zero.
static inline void fetch(constant attend_args & a, step_row r, step_span sp, int row, int raw, int n, int j0, int c0, device const uchar * kv, device const int * sel,
                         device uchar * slots, device uchar * pages, device const int * table, threadgroup half * out, uint lane) {
    const int j = j0 + int(lane >> 1), nope = a.head - a.rope;
    threadgroup half * to = out + (lane >> 1) * 64 + 32 * (lane & 1);
    c0 += 32 * (lane & 1);
    if (j >= n) {
        for (int i = 0; i < 32; i++) to[i] = 0.0h;
        return;
    }
    device const uchar * p = visible_row(a, r, sp, row, raw, j, kv, sel, slots, pages, table);
    if (c0 + 32 <= nope) {
        const float s = pow2(int(as_type<char>(p[a.st.kv_exp + c0 / 64])));
        device const uint * w = (device const uint *)(p + c0);
        for (int i = 0; i < 8; i++) {
            const uint v = w[i];
            for (int k = 0; k < 4; k++) to[4 * i + k] = half(from_e4m3(v >> (8 * k) & 255) * s);
        }
        return;
    }
    for (int i = 0; i < 32; i++) to[i] = c0 + i < a.head ? kv_value(p, c0 + i, nope, a.st.kv_exp) : 0.0h;
}

// attend_one does one tile for 8 heads: weights in m->p, their maximum and sum in m->m and m->l, products in o: eight matrices of
// 8 heads by 8 components, of the simdgroup's 64 components.
static inline void attend_one(constant attend_args & a, step_row r, step_span sp, int row, int raw, int n, int j0, device const float * q, device const uchar * kv, device const int * sel,
                              device uchar * slots, device uchar * pages, device const int * table, threadgroup attend_memory * m, uint simd, uint lane, thread simdgroup_float8x8 * o) {
    threadgroup half * mine = m->kv[simd];
    // scores: simdgroups in pairs take 16 rows, the even one the first half of the components
    simdgroup_float8x8 s[2];
    for (int i = 0; i < 2; i++) s[i] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    const int rows0 = 16 * (simd >> 1);
    const int pieces = (a.head + 63) / 64, lo = simd & 1 ? (pieces + 1) / 2 : 0, hi = simd & 1 ? pieces : (pieces + 1) / 2;
    for (int c = lo; c < hi; c++) {
        fetch(a, r, sp, row, raw, n, j0 + rows0, 64 * c, kv, sel, slots, pages, table, mine, lane);
        simdgroup_barrier(mem_flags::mem_threadgroup);
        for (int k = 0; k < 64; k += 8) {
            simdgroup_float8x8 mq;
            simdgroup_load(mq, q + 64 * c + k, a.head);
            for (int i = 0; i < 2; i++) {
                simdgroup_half8x8 mk;
                simdgroup_load(mk, mine + 8 * i * 64 + k, 64, 0, true);
                simdgroup_multiply_accumulate(s[i], mq, mk, s[i]);
            }
        }
        simdgroup_barrier(mem_flags::mem_threadgroup);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if ((simd & 1) == 0) for (int i = 0; i < 2; i++) simdgroup_store(s[i], m->p + rows0 + 8 * i, 64);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if ((simd & 1) == 1) for (int i = 0; i < 2; i++) {
        simdgroup_float8x8 t;
        simdgroup_load(t, m->p + rows0 + 8 * i, 64);
        t.thread_elements()[0] += s[i].thread_elements()[0];
        t.thread_elements()[1] += s[i].thread_elements()[1];
        simdgroup_store(t, m->p + rows0 + 8 * i, 64);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    { // softmax: a simdgroup a head, two rows a lane
        const int j = j0 + lane;
        const float x = j < n ? m->p[64 * simd + lane] * a.scale : -INFINITY, y = j + 32 < n ? m->p[64 * simd + 32 + lane] * a.scale : -INFINITY;
        const float top = simd_max(max(x, y));
        const float ex = j < n ? precise::exp(x - top) : 0.0f, ey = j + 32 < n ? precise::exp(y - top) : 0.0f;
        m->p[64 * simd + lane] = ex;
        m->p[64 * simd + 32 + lane] = ey;
        const float sum = simd_sum(ex + ey);
        if (lane == 0) { m->m[simd] = top; m->l[simd] = sum; }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int i = 0; i < 8; i++) o[i] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    if (64 * int(simd) >= a.head) return;
    for (int k0 = 0; k0 < 64; k0 += 16) {
        fetch(a, r, sp, row, raw, n, j0 + k0, 64 * simd, kv, sel, slots, pages, table, mine, lane);
        simdgroup_barrier(mem_flags::mem_threadgroup);
        for (int k = 0; k < 16; k += 8) {
            simdgroup_float8x8 mp;
            simdgroup_load(mp, m->p + k0 + k, 64);
            for (int i = 0; i < 8; i++) {
                simdgroup_half8x8 mv;
                simdgroup_load(mv, mine + k * 64 + 8 * i, 64);
                simdgroup_multiply_accumulate(o[i], mp, mv, o[i]);
            }
        }
        simdgroup_barrier(mem_flags::mem_threadgroup);
    }
}

// merge_factors brings a tile of maximum m and sum l into what was: both are scaled to the greater maximum.
static inline void merge_factors(thread float & top, thread float & den, float m, float l, thread float & was, thread float & is) {
    const float to = max(top, m);
    was = precise::exp(top - to);
    is = precise::exp(m - to);
    den = fma(den, was, l * is);
    top = to;
}

// attend_tiles. Grid: tiles, 8 heads, rows; 256 threads.
// Cost of attend_tiles: moves a visible row (592 bytes) once for 8 heads, 16 KiB of query, 16 KiB of partial sums out.
// Threadgroup: 256 threads, 64 rows and 8 heads; 18880 bytes of threadgroup memory, about 90 registers. If slow: 16 heads a
// threadgroup: half the decoding of rows.
kernel void attend_tiles(
        constant attend_args & a      [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const float * q        [[buffer(2)]],
        device const uchar * kv       [[buffer(3)]],
        device const int   * sel      [[buffer(4)]],
        device       uchar * slots    [[buffer(5)]],
        device       uchar * pages    [[buffer(6)]],
        device const int   * table    [[buffer(7)]],
        device       float * part     [[buffer(8)]], // (rows, tiles, heads, head)
        device       float * part_ml  [[buffer(9)]], // (rows, tiles, heads, 2)
        uint3 tg   [[threadgroup_position_in_grid]],
        uint  tid  [[thread_index_in_threadgroup]],
        uint  simd [[simdgroup_index_in_threadgroup]],
        uint  lane [[thread_index_in_simdgroup]]) {
    threadgroup attend_memory m[1];
    const int row = tg.z, h = 8 * tg.y;
    if (row >= step->rows) return;
    const step_row r = rows_of(step)[row];
    int raw;
    const int n = visible_count(a, r.pos, raw);
    if (attend_tile * int(tg.x) >= n) return;
    simdgroup_float8x8 o[8];
    attend_one(a, r, spans_of(step)[r.span], row, raw, n, attend_tile * tg.x, q + ((ulong) row * a.heads + h) * a.head, kv, sel, slots, pages, table, m, simd, lane, o);
    const ulong at = ((ulong) row * a.tiles + tg.x) * a.heads + h;
    if (64 * int(simd) < a.head)
        for (int i = 0; i < 8; i++) simdgroup_store(o[i], part + at * a.head + 64 * simd + 8 * i, a.head);
    if (tid < 8) {
        part_ml[2 * (at + tid)] = m->m[tid];
        part_ml[2 * (at + tid) + 1] = m->l[tid];
    }
}

// finish writes a head's output, rotated back, and its int8 form. A lane holds component 32b+lane for b in a simdgroup's blocks; v is
// already divided by the denominator.
static inline void finish(constant attend_args & a, device const step_head * step, int row, int h, int block, float v, uint lane, device float * o, device half * q8, device float * q8d) {
    const int i = 32 * block + lane, k = i - (a.head - a.rope);
    const float other = simd_shuffle_xor(v, 1);
    if (k >= 0) v = rotated(v, other, k, rope_of(step, row, a.kind), true);
    const ulong at = ((ulong) row * a.heads + h) * a.head + i;
    o[at] = v;
    const float top = simd_max(fabs(v)), scale = top / 127.0f, inv = scale != 0 ? 1.0f / scale : 0.0f;
    q8[at] = half(clamp(rint(v * inv), -128.0f, 127.0f));
    if (lane == 0) q8d[at / 32] = scale;
}

// attend_merge adds the tiles of a head up. A threadgroup a head. Grid: heads, rows; 256 threads.
// Cost of attend_merge: moves a head's partial sums once, 2 KiB a tile; 3 KiB out. Threadgroup: 256 threads, a head; 0 bytes of
// threadgroup memory, about 24 registers. If slow: nothing: at most 10 tiles where the indexer selects.
kernel void attend_merge(
        constant attend_args & a      [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const float * sinks    [[buffer(2)]],
        device const float * part     [[buffer(3)]],
        device const float * part_ml  [[buffer(4)]],
        device       float * o        [[buffer(5)]],
        device       half  * q8       [[buffer(6)]],
        device       float * q8d      [[buffer(7)]],
        uint3 tg   [[threadgroup_position_in_grid]],
        uint  simd [[simdgroup_index_in_threadgroup]],
        uint  lane [[thread_index_in_simdgroup]]) {
    const int row = tg.y, h = tg.x;
    if (row >= step->rows) return;
    int raw;
    const int n = visible_count(a, rows_of(step)[row].pos, raw), tiles = (n + attend_tile - 1) / attend_tile;
    for (int b = simd; 32 * b < a.head; b += 8) {
        float top = sinks[h], den = 1, v = 0;
        for (int t = 0; t < tiles; t++) {
            const ulong at = ((ulong) row * a.tiles + t) * a.heads + h;
            float was, is;
            merge_factors(top, den, part_ml[2 * at], part_ml[2 * at + 1], was, is);
            v = fma(v, was, part[at * a.head + 32 * b + lane] * is);
        }
        finish(a, step, row, h, b, v * (1.0f / den), lane, o, q8, q8d);
    }
}

// attend_rows. Grid: 8 heads, rows; 256 threads. O is written once undivided, then finished.
// Cost of attend_rows: moves a visible row once for 8 heads, 16 KiB of query in, 24 KiB out. Threadgroup: 256 threads, a row
// and 8 heads; 18880 bytes of threadgroup memory, about 120 registers. If slow: 16 heads a threadgroup, or eight matrices fewer
// by two passes over the components.
kernel void attend_rows(
        constant attend_args & a      [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const float * q        [[buffer(2)]],
        device const uchar * kv       [[buffer(3)]],
        device const int   * sel      [[buffer(4)]],
        device       uchar * slots    [[buffer(5)]],
        device       uchar * pages    [[buffer(6)]],
        device const int   * table    [[buffer(7)]],
        device const float * sinks    [[buffer(8)]],
        device       float * o        [[buffer(9)]],
        device       half  * q8       [[buffer(10)]],
        device       float * q8d      [[buffer(11)]],
        uint3 tg   [[threadgroup_position_in_grid]],
        uint  tid  [[thread_index_in_threadgroup]],
        uint  simd [[simdgroup_index_in_threadgroup]],
        uint  lane [[thread_index_in_simdgroup]]) {
    threadgroup attend_memory m[1];
    const int row = tg.y, h = 8 * tg.x;
    if (row >= step->rows) return;
    const step_row r = rows_of(step)[row];
    const step_span sp = spans_of(step)[r.span];
    int raw;
    const int n = visible_count(a, r.pos, raw);
    if (tid < 64) m->place[tid] = float(tid);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    int place[2];
    places(m->place, place);
    simdgroup_float8x8 sum[8], one[8];
    for (int i = 0; i < 8; i++) sum[i] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    float top = sinks[h + (lane & 7)], den = 1; // of head lane & 7, in every simdgroup
    for (int j = 0; j < n; j += attend_tile) {
        attend_one(a, r, sp, row, raw, n, j, q + ((ulong) row * a.heads + h) * a.head, kv, sel, slots, pages, table, m, simd, lane, one);
        float was, is;
        merge_factors(top, den, m->m[lane & 7], m->l[lane & 7], was, is);
        for (int e = 0; e < 2; e++) {
            const float fw = simd_shuffle(was, ushort(place[e] >> 3)), fi = simd_shuffle(is, ushort(place[e] >> 3));
            for (int i = 0; i < 8; i++) sum[i].thread_elements()[e] = fma(sum[i].thread_elements()[e], fw, one[i].thread_elements()[e] * fi);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    const float inv = 1.0f / den;
    const ulong at = ((ulong) row * a.heads + h) * a.head;
    for (int e = 0; e < 2; e++) {
        const float f = simd_shuffle(inv, ushort(place[e] >> 3));
        for (int i = 0; i < 8; i++) sum[i].thread_elements()[e] *= f;
    }
    if (64 * int(simd) < a.head)
        for (int i = 0; i < 8; i++) simdgroup_store(sum[i], o + at + 64 * simd + 8 * i, a.head);
    threadgroup_barrier(mem_flags::mem_device);
    for (int b = 2 * simd; b < 2 * int(simd) + 2; b++)
        for (int k = 0; k < 8 && 32 * b < a.head; k++) finish(a, step, row, h + k, b, o[at + (ulong) k * a.head + 32 * b + lane], lane, o, q8, q8d);
}
