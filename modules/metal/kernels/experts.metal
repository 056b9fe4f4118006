// Experts: gate and up of the chosen experts, the gated product times the routing weight, down, summed in choice order.
//
// Few rows: experts_gate_up takes all (row, choice) pairs in one dispatch, eight rows of both matrices a threadgroup; experts_down
// takes a row of the output for all choices of a token, so that the sum needs no second pass. Moves each chosen expert once a
// token: 3.0 MiB of gate and up and 3.4 MiB of down each (q2). About 48 registers; 2 KiB of threadgroup memory for the codebook.
// The 2-bit types are near the limit of arithmetic on a Mac: if slow, two output rows a simdgroup to reuse the activations.
//
// Many rows: pairs are grouped by expert (experts_plan), and tiles of 32 pairs go through tiles.metal.
//
// EXPERT_TYPES and the wrappers below make one kernel for each type: a constant type lets the compiler drop the other decoders.

struct experts_args {
    int rows, cols, active, type;  // rows, cols of one expert's matrix
    int share, weighted, one, add; // share: pairs that share an activation row; one: no choice, expert 0; add: y += …
    float limit;
    int experts;
};

// The codebook in threadgroup memory.
static inline void load_table(device const uchar * codebook, threadgroup uchar * table, uint tid, uint threads) {
    for (uint i = tid; i < 512; i += threads) ((threadgroup uint *) table)[i] = ((device const uint *) codebook)[i];
    threadgroup_barrier(mem_flags::mem_threadgroup);
}

// gate_up_rows: h (pairs, rows). Grid: threadgroups of rows, pairs.
static inline void gate_up_rows(int type, constant experts_args & a, device const step_head * step, device const half * q, device const float * d, device const half * s, device const uchar * gate,
                                device const uchar * up, device const int * ids, device const float * weights, device float * h, threadgroup uchar * table, uint3 tg, uint simd, uint simds, uint lane) {
    const int pair = tg.y, token = pair / a.share;
    const int lanes = lanes_of(a.cols), row = (int(tg.x) * int(simds) + int(simd)) * (32 / lanes) + int(lane) / lanes;
    const bool live = row < a.rows;
    const ulong size = row_bytes(type, a.cols), at = ((ulong)(a.one ? 0 : ids[pair]) * a.rows + (live ? row : 0)) * size;
    const activation act = activation_of(q, d, s, d, token, a.cols, 0, block_inputs(type));
    const float g = row_dot(type, gate + at, live, a.cols, lane, lanes, act, table);
    const float u = row_dot(type, up + at, live, a.cols, lane, lanes, act, table);
    if (live && int(lane) % lanes == 0) {
        float v = swiglu(g, u, a.limit);
        if (a.weighted) v *= weights[pair];
        h[(ulong) pair * a.rows + row] = v;
    }
}

// down_rows: y (tokens, rows), the sum over a token's pairs. Grid: threadgroups of rows, tokens.
static inline void down_rows(int type, constant experts_args & a, device const half * q, device const float * d, device const half * s, device const uchar * down, device const int * ids,
                             device float * y, threadgroup uchar * table, uint3 tg, uint simd, uint simds, uint lane) {
    const int token = tg.y, lanes = lanes_of(a.cols), row = (int(tg.x) * int(simds) + int(simd)) * (32 / lanes) + int(lane) / lanes;
    const bool live = row < a.rows;
    const ulong size = row_bytes(type, a.cols);
    float sum = 0;
    for (int k = 0; k < a.active; k++) {
        const int pair = token * a.active + k;
        const activation act = activation_of(q, d, s, d, pair, a.cols, 0, block_inputs(type));
        sum += row_dot(type, down + ((ulong)(a.one ? 0 : ids[pair]) * a.rows + (live ? row : 0)) * size, live, a.cols, lane, lanes, act, table);
    }
    if (live && int(lane) % lanes == 0) {
        device float * out = y + (ulong) token * a.rows + row;
        *out = a.add ? *out + sum : sum;
    }
}

// ---- many rows

// experts_plan groups pairs by expert. list (pairs): pairs by expert; items: (expert, first place in list, count) for each tile of
// 32, items[3·pairs … ] unused; total: number of items. One threadgroup of 1024 threads.
// Cost of experts_plan: moves the ids once for each expert, from the cache. Threadgroup: 1024 threads, one threadgroup; 128
// bytes of threadgroup memory, about 24 registers. If slow: a histogram by atomics, then ranks: it reads ids 256 times.
kernel void experts_plan(
        constant experts_args & a     [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const int   * ids      [[buffer(2)]],
        device       int   * list     [[buffer(3)]],
        device       int   * items    [[buffer(4)]],
        device       int   * total    [[buffer(5)]],
        uint  tid   [[thread_index_in_threadgroup]],
        uint  simd  [[simdgroup_index_in_threadgroup]],
        uint  lane  [[thread_index_in_simdgroup]]) {
    threadgroup uint counts[32];
    const int pairs = step->rows * a.active;
    uint place = 0, item = 0;
    for (int base = 0; base < a.experts; base += 1024) { // a thread an expert
        const int e = base + tid;
        int n = 0;
        if (e < a.experts) for (int p = 0; p < pairs; p++) n += ids[p] == e;
        const uint tiles = (n + 31) / 32;
        uint sums[2], starts[2];
        for (int k = 0; k < 2; k++) { // prefix sums of pairs and of tiles
            const uint v = k == 0 ? uint(n) : tiles;
            const uint before = simd_prefix_exclusive_sum(v), mine = simd_sum(v);
            threadgroup_barrier(mem_flags::mem_threadgroup);
            if (lane == 0) counts[simd] = mine;
            threadgroup_barrier(mem_flags::mem_threadgroup);
            const uint c = counts[lane], start = simd_prefix_exclusive_sum(c);
            sums[k] = simd_sum(c);
            starts[k] = simd_shuffle(start, ushort(simd)) + before;
        }
        if (n > 0) {
            uint at = place + starts[0];
            for (int t = 0; t < int(tiles); t++) {
                device int * to = items + 3 * (item + starts[1] + t);
                to[0] = e;
                to[1] = at + 32 * t;
                to[2] = min(32, n - 32 * t);
            }
            for (int p = 0; p < pairs; p++) if (ids[p] == e) list[at++] = p;
        }
        place += sums[0];
        item += sums[1];
    }
    if (tid == 0) total[0] = item;
}

// Tiles: of gate and up, one after the other, the gate's kept in registers; or of down.
static inline void gate_up_tiles(int type, constant experts_args & a, device const half * q, device const float * d, device const half * s, device const uchar * gate, device const uchar * up,
                                 device const float * weights, device const int * list, device const int * items, device const int * total, device float * h, threadgroup tile_memory * m,
                                 threadgroup int * tokens, threadgroup int * pairs, threadgroup uchar * table, uint3 tg, uint tid, uint simd) {
    if (int(tg.y) >= total[0]) return;
    const int expert = items[3 * tg.y], first = items[3 * tg.y + 1], n = items[3 * tg.y + 2], row = tg.x * tile_rows;
    if (tid < 32) {
        pairs[tid] = int(tid) < n ? list[first + tid] : -1;
        tokens[tid] = int(tid) < n ? pairs[tid] / a.share : -1;
    }
    if (tid < 64) m->place[tid] = float(tid);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    int place[2];
    places(m->place, place);
    const int rows = min(tile_rows, a.rows - row);
    const ulong at = ((ulong) expert * a.rows + row) * row_bytes(type, a.cols);
    tile_sums t;
    float g[4][2];
    tile(type, gate + at, rows, a.cols, q, d, s, tokens, a.cols, 0, m, tid, simd, table, place, t);
    for (int i = 0; i < 4; i++) for (int e = 0; e < 2; e++) g[i][e] = t.total[i][e];
    tile(type, up + at, rows, a.cols, q, d, s, tokens, a.cols, 0, m, tid, simd, table, place, t);
    for (int i = 0; i < 4; i++)
        for (int e = 0; e < 2; e++) {
            const int r = 16 * (int(simd) >> 1) + 8 * (i >> 1) + (place[e] >> 3), pair = pairs[16 * (simd & 1) + 8 * (i & 1) + (place[e] & 7)];
            if (r >= rows || pair < 0) continue;
            float v = swiglu(g[i][e], t.total[i][e], a.limit);
            if (a.weighted) v *= weights[pair];
            h[(ulong) pair * a.rows + row + r] = v;
        }
}
static inline void down_tiles(int type, constant experts_args & a, device const half * q, device const float * d, device const half * s, device const uchar * down, device const int * list,
                              device const int * items, device const int * total, device float * products, threadgroup tile_memory * m, threadgroup int * pairs, threadgroup uchar * table, uint3 tg,
                              uint tid, uint simd) {
    if (int(tg.y) >= total[0]) return;
    const int expert = items[3 * tg.y], first = items[3 * tg.y + 1], n = items[3 * tg.y + 2], row = tg.x * tile_rows;
    if (tid < 32) pairs[tid] = int(tid) < n ? list[first + tid] : -1;
    if (tid < 64) m->place[tid] = float(tid);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    int place[2];
    places(m->place, place);
    const int rows = min(tile_rows, a.rows - row);
    tile_sums t;
    tile(type, down + ((ulong) expert * a.rows + row) * row_bytes(type, a.cols), rows, a.cols, q, d, s, pairs, a.cols, 0, m, tid, simd, table, place, t);
    for (int i = 0; i < 4; i++)
        for (int e = 0; e < 2; e++) {
            const int r = 16 * (int(simd) >> 1) + 8 * (i >> 1) + (place[e] >> 3), pair = pairs[16 * (simd & 1) + 8 * (i & 1) + (place[e] & 7)];
            if (r < rows && pair >= 0) products[(ulong) pair * a.rows + row + r] = t.total[i][e];
        }
}

// experts_sum: y = Σ products in choice order. Grid: pieces of 256 components, rows.
// Cost of experts_sum: moves the products once (96 KiB a row), 16 KiB out. Threadgroup: 256 threads, 256 components; 0 bytes of
// threadgroup memory, about 16 registers. If slow: add them in down's tiles by choice, one choice after the other.
kernel void experts_sum(
        constant experts_args & a     [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const float * products [[buffer(2)]],
        device       float * y        [[buffer(3)]],
        uint3 tg  [[threadgroup_position_in_grid]],
        uint  tid [[thread_index_in_threadgroup]]) {
    const int row = tg.y, j = tg.x * 256 + tid;
    if (row >= step->rows || j >= a.rows) return;
    float s = 0;
    for (int k = 0; k < a.active; k++) s += products[((ulong) row * a.active + k) * a.rows + j];
    y[(ulong) row * a.rows + j] = s;
}

// ---- one kernel a type. Grids: see the functions; 256 threads, tiles 128.

// Cost of experts_gate_up: moves each chosen expert's gate and up once a token: 4.1 MiB (IQ2_XXS). Threadgroup: 256 threads, 8
// rows of both; 0 bytes of threadgroup memory and 2048 of the codebook where it is IQ2_XXS, about 48 registers. If slow: two
// rows a simdgroup, so that activations are loaded once for both.
// Cost of experts_down: moves each chosen expert's down once a token: 2.6 MiB (Q2_K). Threadgroup: 256 threads, 16 rows, all
// choices; 0 bytes of threadgroup memory and 2048 of the codebook where it is IQ2_XXS, about 44 registers. If slow: as gate and
// up; at decode experts_down_post does it.
// Cost of experts_gate_up_tiles: moves an expert's gate and up once for 32 of its pairs. Threadgroup: 128 threads, 32 rows by
// 32 pairs; 11392 bytes of threadgroup memory and 2048 of the codebook where it is IQ2_XXS, about 86 registers. If slow: 64
// rows a threadgroup; the gate's sums are eight registers more than a tile's.
// Cost of experts_down_tiles: moves an expert's down once for 32 of its pairs, 4 bytes a product out. Threadgroup: 128 threads,
// 32 rows by 32 pairs; 11264 bytes of threadgroup memory and 2048 of the codebook where it is IQ2_XXS, about 70 registers. If
// slow: as product_tiles.
#define EXPERTS(name, type, TABLE, LOAD)                                                                                              \
kernel void experts_gate_up_##name(                                                                                                   \
        constant experts_args & a [[buffer(0)]], device const step_head * step [[buffer(1)]], device const half * q [[buffer(2)]],    \
        device const float * d [[buffer(3)]], device const half * s [[buffer(4)]], device const uchar * gate [[buffer(5)]],           \
        device const uchar * up [[buffer(6)]], device const int * ids [[buffer(7)]], device const float * weights [[buffer(8)]],      \
        device float * h [[buffer(9)]], device const uchar * codebook [[buffer(10)]],                                                 \
        uint3 tg [[threadgroup_position_in_grid]], uint tid [[thread_index_in_threadgroup]],                                          \
        uint simd [[simdgroup_index_in_threadgroup]], uint simds [[simdgroups_per_threadgroup]], uint lane [[thread_index_in_simdgroup]]) { \
    TABLE                                                                                                                             \
    if (int(tg.y) >= step->rows * a.share) return;                                                                                    \
    LOAD(32 * simds)                                                                                                                  \
    gate_up_rows(type, a, step, q, d, s, gate, up, ids, weights, h, table, tg, simd, simds, lane);                                    \
}                                                                                                                                     \
kernel void experts_down_##name(                                                                                                      \
        constant experts_args & a [[buffer(0)]], device const step_head * step [[buffer(1)]], device const half * q [[buffer(2)]],    \
        device const float * d [[buffer(3)]], device const half * s [[buffer(4)]], device const uchar * down [[buffer(5)]],           \
        device const int * ids [[buffer(6)]], device float * y [[buffer(7)]], device const uchar * codebook [[buffer(8)]],            \
        uint3 tg [[threadgroup_position_in_grid]], uint tid [[thread_index_in_threadgroup]],                                          \
        uint simd [[simdgroup_index_in_threadgroup]], uint simds [[simdgroups_per_threadgroup]], uint lane [[thread_index_in_simdgroup]]) { \
    TABLE                                                                                                                             \
    if (int(tg.y) >= step->rows) return;                                                                                              \
    LOAD(32 * simds)                                                                                                                  \
    down_rows(type, a, q, d, s, down, ids, y, table, tg, simd, simds, lane);                                                          \
}                                                                                                                                     \
kernel void experts_gate_up_tiles_##name(                                                                                             \
        constant experts_args & a [[buffer(0)]], device const half * q [[buffer(1)]], device const float * d [[buffer(2)]],           \
        device const half * s [[buffer(3)]], device const uchar * gate [[buffer(4)]], device const uchar * up [[buffer(5)]],          \
        device const float * weights [[buffer(6)]], device const int * list [[buffer(7)]], device const int * items [[buffer(8)]],    \
        device const int * total [[buffer(9)]], device float * h [[buffer(10)]], device const uchar * codebook [[buffer(11)]],        \
        uint3 tg [[threadgroup_position_in_grid]], uint tid [[thread_index_in_threadgroup]], uint simd [[simdgroup_index_in_threadgroup]]) { \
    threadgroup tile_memory m[1];                                                                                                     \
    threadgroup int tokens[32];                                                                                                       \
    threadgroup int pairs[32];                                                                                                        \
    TABLE                                                                                                                             \
    LOAD(128)                                                                                                                         \
    gate_up_tiles(type, a, q, d, s, gate, up, weights, list, items, total, h, m, tokens, pairs, table, tg, tid, simd);                \
}                                                                                                                                     \
kernel void experts_down_tiles_##name(                                                                                                \
        constant experts_args & a [[buffer(0)]], device const half * q [[buffer(1)]], device const float * d [[buffer(2)]],           \
        device const half * s [[buffer(3)]], device const uchar * down [[buffer(4)]], device const int * list [[buffer(5)]],          \
        device const int * items [[buffer(6)]], device const int * total [[buffer(7)]], device float * products [[buffer(8)]],        \
        device const uchar * codebook [[buffer(9)]],                                                                                  \
        uint3 tg [[threadgroup_position_in_grid]], uint tid [[thread_index_in_threadgroup]], uint simd [[simdgroup_index_in_threadgroup]]) { \
    threadgroup tile_memory m[1];                                                                                                     \
    threadgroup int pairs[32];                                                                                                        \
    TABLE                                                                                                                             \
    LOAD(128)                                                                                                                         \
    down_tiles(type, a, q, d, s, down, list, items, total, products, m, pairs, table, tg, tid, simd);                                 \
}
#define CODEBOOK threadgroup uchar table[2048];
#define NO_CODEBOOK threadgroup uchar * table = 0;
#define LOAD_CODEBOOK(threads) load_table(codebook, table, tid, threads);
#define LOAD_NOTHING(threads)

EXPERTS(iq2_xxs, type_iq2_xxs, CODEBOOK, LOAD_CODEBOOK)
EXPERTS(q2_k, type_q2_k, NO_CODEBOOK, LOAD_NOTHING)
EXPERTS(q4_k, type_q4_k, NO_CODEBOOK, LOAD_NOTHING)
EXPERTS(mxfp4, type_mxfp4, NO_CODEBOOK, LOAD_NOTHING)
