// Joined operations: what one to four rows launch where the calls of a layer come in their usual order. Each kernel does what two or
// more kernels of the operations' own files do, with their functions, so a row's bits are the same; a layer at decode takes 15
// dispatches where it took 26. A barrier between two dispatches costs a Mac 2 to 4 µs, about as much as a product's start and end.

struct latent_rows_args {
    latent_args l;
    compress_args c;
    int compress, jobs, rows, index_rows; // jobs: threadgroups before those of products; rows of QB, and of the indexer's QB
    int index_type, pad;
};

constant int latent_piece = 64; // rows of a product that a threadgroup makes: the latent's norm is made anew by each

// latent_rows: job 0 is the KV row and the normed latent, job 1 (if compress) the compressor's row; the other threadgroups are the
// products over the normed query latent, QB's and then the indexer's, each with the norm and int8 form in its own memory. Moves
// both matrices once. Grid: jobs and pieces, rows. 512 threads: what Compress wants; 11 KiB of threadgroup memory.
// Cost of latent_rows: moves QB (34 MiB) and the indexer's QB (16 MiB) once for each token; the latent (6 KiB) in each
// threadgroup. Threadgroup: 512 threads, 64 rows or a job; 10624 bytes of threadgroup memory, about 44 registers. If slow: 128
// rows a threadgroup: half the norms.
kernel void latent_rows(
        constant latent_rows_args & a  [[buffer(0)]],
        device const step_head * step  [[buffer(1)]],
        device const float * raw       [[buffer(2)]], // (rows, rank + head)
        device const float * q_norm    [[buffer(3)]],
        device const float * kv_norm   [[buffer(4)]],
        device       float * qlat      [[buffer(5)]],
        device       uchar * kv        [[buffer(6)]],
        device       uchar * slots     [[buffer(7)]],
        device       uchar * pages     [[buffer(8)]],
        device const int   * table     [[buffer(9)]],
        device const float * comp_in   [[buffer(10)]],
        device const float * norm      [[buffer(11)]],
        device const float * index_norm [[buffer(12)]],
        device const uchar * qb        [[buffer(13)]],
        device const uchar * index_qb  [[buffer(14)]],
        device       float * q         [[buffer(15)]],
        device       float * index_q   [[buffer(16)]],
        uint3 tg    [[threadgroup_position_in_grid]],
        uint  tid   [[thread_index_in_threadgroup]],
        uint  simd  [[simdgroup_index_in_threadgroup]],
        uint  simds [[simdgroups_per_threadgroup]],
        uint  lane  [[thread_index_in_simdgroup]]) {
    threadgroup float sums[32];
    threadgroup float z[2048];
    threadgroup char codes[2048];
    threadgroup float d[64];
    const int row = tg.y, job = tg.x, n = a.l.rank;
    if (row >= step->rows) return;
    if (job == 1 && a.compress) {
        compress_row(a.c, step, row, comp_in, norm, index_norm, slots, pages, table, sums, z, z + 1024, tid, simd, simds, lane);
        return;
    }
    device const float * x = raw + (ulong) row * (n + a.l.head);
    const float inv = latent_inverse(x, n, a.l.eps, sums, tid, simd, simds, lane);
    if (job == 0) {
        for (int i = tid; i < n; i += 32 * simds) qlat[(ulong) row * n + i] = x[i] * inv * q_norm[i];
        kv_row(a.l, step, row, x + n, kv_norm, kv, slots, sums, z, tid, simd, simds, lane);
        return;
    }
    for (int b = simd; 256 * b < n; b += simds) {
        float v[8];
        latent_value(x, q_norm, inv, n, b, lane, v);
        store_q8(v, lane, 256 * b + 8 * int(lane) < n, codes + 256 * b, d + 8 * b);
        for (int i = 0; i < 8; i++) z[256 * b + 8 * int(lane) + i] = v[i];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    int first = (job - a.jobs) * latent_piece, rows = a.rows;
    const int pieces = (a.rows + latent_piece - 1) / latent_piece;
    const bool index = job - a.jobs >= pieces;
    if (index) { first -= pieces * latent_piece; rows = a.index_rows; }
    local_activation act;
    act.q = codes;
    act.d = d;
    act.s = 0;
    act.x = z;
    const int lanes = lanes_of(n), each = 32 / lanes;
    device const uchar * w = index ? index_qb : qb;
    device float * y = (index ? index_q : q) + (ulong) row * rows;
    const ulong size = row_bytes(index ? a.index_type : type_q8_0, n);
    for (int r = simd * each; r < latent_piece; r += simds * each) {
        const int at = first + r + int(lane) / lanes;
        const bool live = at < rows;
        device const uchar * p = w + (ulong)(live ? at : 0) * size;
        float v;
        if (!index) v = row_dot(type_q8_0, p, live, n, lane, lanes, act, 0);
        else if (a.index_type == type_f16) v = row_dot(type_f16, p, live, n, lane, lanes, act, 0);
        else v = row_dot(type_f32, p, live, n, lane, lanes, act, 0);
        if (live && int(lane) % lanes == 0) y[at] = v;
    }
}

struct query_args { heads_args q; index_args i; int groups, pad; };

// query_heads: q_heads, and index_queries. Grid: 8 heads of each, rows; 256 threads.
// Cost of query_heads: moves 256 KiB of query in and out; the indexer's 32 KiB in, 17 KiB out. Threadgroup: 256 threads, 8
// heads; 0 bytes of threadgroup memory, about 30 registers. If slow: keep the head's 16 values a lane between its two passes.
kernel void query_heads(
        constant query_args & a       [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device       float * q        [[buffer(2)]],
        device const float * index_q  [[buffer(3)]],
        device       half  * codes    [[buffer(4)]],
        device       float * scale    [[buffer(5)]],
        uint3 tg   [[threadgroup_position_in_grid]],
        uint  simd [[simdgroup_index_in_threadgroup]],
        uint  lane [[thread_index_in_simdgroup]]) {
    const int row = tg.y, h = tg.x * 8 + simd, k = h - 8 * a.groups;
    if (row >= step->rows) return;
    if (k < 0) {
        if (h < a.q.heads) q_head(a.q, step, q, row, h, lane);
    } else if (k < a.i.padded) index_query(a.i, step, index_q, codes, scale, row, k, lane);
}

struct out_args { hc_args h; int cols, pad; };

// attn_out_post: AttnOut's B for one slice of the components, HCPost with it, and the slice's part of the next HCPre. Moves B and
// that projection once, and the streams. Grid: slices, rows; 512 threads.
// Cost of attn_out_post: moves B (34 MiB) and the next projection (768 KiB) once, the streams in and out. Threadgroup: 512
// threads, 64 components; 1408 bytes of threadgroup memory, about 48 registers. If slow: 32 components: twice the threadgroups,
// where a chip has more than 40 cores.
kernel void attn_out_post(
        constant out_args & a         [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const half  * q        [[buffer(2)]],
        device const float * d        [[buffer(3)]],
        device const uchar * w        [[buffer(4)]],
        device       float * y        [[buffer(5)]],
        device       float * hc       [[buffer(6)]],
        device const uchar * fn       [[buffer(7)]],
        device       float * part     [[buffer(8)]],
        device const float * mix      [[buffer(9)]],
        device       float * tap      [[buffer(10)]],
        uint3 tg    [[threadgroup_position_in_grid]],
        uint  tid   [[thread_index_in_threadgroup]],
        uint  simd  [[simdgroup_index_in_threadgroup]],
        uint  simds [[simdgroups_per_threadgroup]],
        uint  lane  [[thread_index_in_simdgroup]]) {
    threadgroup float v[256];
    threadgroup float sums[32];
    threadgroup float out[64];
    const int token = tg.y;
    if (token >= step->rows) return;
    const int lanes = lanes_of(a.cols), each = 32 / lanes;
    const activation act = activation_of(q, d, q, d, token, a.cols, 0, 32);
    for (int r = simd * each; r < slice; r += simds * each) {
        const int mine = r + int(lane) / lanes, at = slice * tg.x + mine;
        const float s = row_dot(type_q8_0, w + (ulong) at * row_bytes(type_q8_0, a.cols), true, a.cols, lane, lanes, act, 0);
        if (int(lane) % lanes == 0) out[mine] = y[(ulong) token * a.h.width + at] = s;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    hc_slice(a.h, token, token, tg.x, out[tid % slice], hc, fn, part, mix, tap, v, sums, tid, simd, simds, lane);
}

struct down_args { experts_args e; hc_args h; };

// What a threadgroup of experts_down_post keeps: the int8 forms of all choices' gated products, and of the shared expert's.
struct down_memory {
    char q[12288];
    half s[768];
    float d[384];
    char q_shared[2048];
    float d_shared[64];
    float v[256], sums[32], out[64];
};

// down_post: down of all choices of a token and of the shared expert, for one slice of the components, then as attn_out_post. Moves
// each chosen expert's and the shared expert's down once; every threadgroup reads and rounds the gated products (48 KiB, from
// the cache) instead of a dispatch that does so once. 22 KiB of threadgroup memory. Grid: slices, rows; 512 threads.
static inline void down_post(int type, constant down_args & a, device const step_head * step, device const float * h, device const float * gate, device const float * up, device const uchar * down,
                             device const uchar * shared, device const int * ids, device float * y, device float * hc, device const uchar * fn, device float * part, device const float * mix,
                             device float * tap, threadgroup down_memory * m, threadgroup uchar * table, uint3 tg, uint tid, uint simd, uint simds, uint lane) {
    const int token = tg.y, cols = a.e.cols, lanes = lanes_of(cols), each = 32 / lanes, per = block_inputs(type);
    for (int b = simd; 256 * b < (a.e.active + 1) * cols; b += simds) {
        float v[8];
        const int k = 256 * b + 8 * lane, own = k - a.e.active * cols; // a block is of one choice: cols is a multiple of 256
        if (own < 0) {
            for (int i = 0; i < 8; i++) v[i] = h[(ulong) token * a.e.active * cols + k + i];
            if (per == 256) store_q8k(v, lane, m->q + 256 * b, m->d + b, m->s + 16 * b);
            else store_q8(v, lane, true, m->q + 256 * b, m->d + 8 * b);
        } else {
            const ulong at = (ulong) token * cols + own;
            for (int i = 0; i < 8; i++) v[i] = swiglu(gate[at + i], up[at + i], a.e.limit);
            const int o = own - 8 * int(lane);
            store_q8(v, lane, true, m->q_shared + o, m->d_shared + o / 32);
        }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    local_activation act;
    act.x = 0;
    for (int r = simd * each; r < slice; r += simds * each) {
        const int mine = r + int(lane) / lanes, row = slice * tg.x + mine;
        float sum = 0;
        for (int k = 0; k < a.e.active; k++) {
            act.q = m->q + k * cols;
            act.d = m->d + k * cols / per;
            act.s = m->s + k * cols / 16;
            sum += row_dot(type, down + ((ulong) ids[token * a.e.active + k] * a.e.rows + row) * row_bytes(type, cols), true, cols, lane, lanes, act, table);
        }
        act.q = m->q_shared;
        act.d = m->d_shared;
        sum += row_dot(type_q8_0, shared + (ulong) row * row_bytes(type_q8_0, cols), true, cols, lane, lanes, act, table);
        if (int(lane) % lanes == 0) m->out[mine] = y[(ulong) token * a.e.rows + row] = sum;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    hc_slice(a.h, token, token, tg.x, m->out[tid % slice], hc, fn, part, mix, tap, m->v, m->sums, tid, simd, simds, lane);
}

// Cost of experts_down_post: moves each chosen expert's down and the shared one's (8.5 MiB) once, 48 KiB of gated products in
// each threadgroup. Threadgroup: 512 threads, 64 components; 19072 bytes of threadgroup memory and 2048 of the codebook where
// it is IQ2_XXS, about 52 registers. If slow: int8 forms by a dispatch of their own: the rounding is done by 64 threadgroups.
#define DOWN_POST(name, type, TABLE, LOAD)                                                                                            \
kernel void experts_down_post_##name(                                                                                                 \
        constant down_args & a [[buffer(0)]], device const step_head * step [[buffer(1)]], device const float * h [[buffer(2)]],      \
        device const float * gate [[buffer(3)]], device const float * up [[buffer(4)]], device const uchar * down [[buffer(5)]],      \
        device const uchar * shared [[buffer(6)]], device const int * ids [[buffer(7)]], device float * y [[buffer(8)]],              \
        device float * hc [[buffer(9)]], device const uchar * fn [[buffer(10)]], device float * part [[buffer(11)]],                  \
        device const float * mix [[buffer(12)]], device float * tap [[buffer(13)]], device const uchar * codebook [[buffer(14)]],     \
        uint3 tg [[threadgroup_position_in_grid]], uint tid [[thread_index_in_threadgroup]],                                          \
        uint simd [[simdgroup_index_in_threadgroup]], uint simds [[simdgroups_per_threadgroup]], uint lane [[thread_index_in_simdgroup]]) { \
    threadgroup down_memory m[1];                                                                                                     \
    TABLE                                                                                                                             \
    if (int(tg.y) >= step->rows) return;                                                                                              \
    LOAD(32 * simds)                                                                                                                  \
    down_post(type, a, step, h, gate, up, down, shared, ids, y, hc, fn, part, mix, tap, m, table, tg, tid, simd, simds, lane);        \
}
DOWN_POST(iq2_xxs, type_iq2_xxs, CODEBOOK, LOAD_CODEBOOK)
DOWN_POST(q2_k, type_q2_k, NO_CODEBOOK, LOAD_NOTHING)
DOWN_POST(q4_k, type_q4_k, NO_CODEBOOK, LOAD_NOTHING)
DOWN_POST(mxfp4, type_mxfp4, NO_CODEBOOK, LOAD_NOTHING)
