// Products of weight matrices with the step's activations, y = W x.
//
// One order of sums serves every kernel, so that a row's bits do not depend on how many rows there are. Inputs are cut into
// runs of 512. In a run there are four partial sums; a quantised group of inputs (32, of K-quants 64) belongs to partial
// (group mod 4), an F16 piece of 8 inputs to (piece mod 4). A partial is a chain of fma in ascending order; a run is
// (p0+p1)+(p2+p3); runs are added ascending. Sums inside a group are sums of integers below 2^24, exact in f32 in any order:
// activations are int8 (kept as half), codes times their sub-scales are integers below 2048. That is what lets simdgroup
// matrices, whose order inside is their own, give the bits of the mat-vec.
//
// Mat-vec (1 to 4 tokens). Moves the matrix once. Four lanes share a run, so a simdgroup reads 8 runs of a row, each lane whole
// groups; rows shorter than 4096 leave room for 2, 4 or 8 rows a simdgroup. No threadgroup memory but the IQ2_XXS table; about
// 40 registers. If it is slow on a Mac: more rows a threadgroup (rows_per_group), or 8 bytes a load from a split layout.
//
// Tile (more tokens). 32 rows by 32 tokens, 128 threads; the weights are turned to half once for 32 tokens and multiplied as
// 8×8 simdgroup matrices; 11 KiB of threadgroup memory, about 70 registers (four partials and a total of two elements for
// each of four matrices). If it is slow: 64 rows a threadgroup, or two tiles in flight.

enum { type_f32 = 0, type_f16 = 1, type_q8_0 = 8, type_q2_k = 10, type_q4_k = 12, type_iq2_xxs = 16, type_mxfp4 = 39 }; // GGUF's numbers

constant int run_inputs = 512;

struct matrix_args {
    int type, rows, first, stride; // first: threadgroup that starts it; stride: floats between tokens of the output
    int ape, add;                  // ape: 0 none, 1 f16, 2 f32, added by position mod ratio; add: y += W x
};
struct product_args {
    int which, per_row, cols, act_cols; // tokens: see tokens_of; act_cols: floats of an activation row
    int group, matrices, ratio, pad;    // group: rows that share a slice of the activations; 0: all
    matrix_args m[7];
};

static inline int block_inputs(int type) { return type == type_q8_0 || type == type_mxfp4 ? 32 : 256; }
static inline int block_bytes(int type) { return type == type_q8_0 ? 34 : type == type_mxfp4 ? 17 : type == type_q2_k ? 84 : type == type_q4_k ? 144 : 66; }
static inline ulong row_bytes(int type, int cols) {
    if (type == type_f32) return (ulong) cols * 4;
    if (type == type_f16) return (ulong) cols * 2;
    return (ulong)(cols / block_inputs(type)) * block_bytes(type);
}

// Activations of one token, in the form that a type wants. d: of 32 inputs, or of 256 for K-quants; s: sums of 16 codes.
struct activation {
    device const half * q;
    device const float * d;
    device const half * s;
    device const float * x;
};
// The same that a threadgroup has made for itself: codes as bytes, so that eight experts' fit.
struct local_activation {
    threadgroup const char * q;
    threadgroup const float * d;
    threadgroup const half * s;
    threadgroup const float * x; // none
};

// ---- decoding: a group of codes as integers, its scale and the scale of its minimums

// The IQ2_XXS codebook lies in threadgroup memory where many lanes look things up.
typedef threadgroup const uchar * table_ptr;

static inline uint sign_mask(uint g) { return g | (popcount(g) & 1) << 7; }

// q4_k_scale unpacks scale and minimum j of eight.
static inline uint2 q4_k_scale(device const uchar * s, int j) {
    if (j < 4) return uint2(uint(s[j]) & 63, uint(s[j + 4]) & 63);
    return uint2((uint(s[j + 4]) & 15) | (uint(s[j - 4]) >> 6) << 4, (uint(s[j + 4]) >> 4) | (uint(s[j]) >> 6) << 4);
}

static inline float half_at(device const uchar * p) { return float(as_type<half>(ushort(uint(p[0]) | uint(p[1]) << 8))); }

static inline float e8m0_half(uint e) { return e < 2 ? 0.0f : as_type<float>((e - 1) << 23); } // half of 2^(e-127)

// group_dot is one group's term: the exact integer sum of codes times activations, and of minimums times sums. g counts groups
// of 32 (Q8_0, MXFP4) or 64 (K-quants) from the row's start.
template<typename Q, typename S>
static inline float group_dot(int type, device const uchar * row, int g, Q q, S s, table_ptr table, thread float & scale, thread float & least, thread float & minimum) {
    float sum = 0;
    least = 0;
    minimum = 0;
    if (type == type_q8_0) {
        device const ushort * p = (device const ushort *)(row + (ulong) g * 34);
        scale = float(as_type<half>(p[0]));
        for (int i = 0; i < 8; i++) {
            const uint w = uint(p[1 + 2 * i]) | uint(p[2 + 2 * i]) << 16;
            sum = fma(float(as_type<char>(uchar(w))), float(q[4 * i]), sum);
            sum = fma(float(as_type<char>(uchar(w >> 8))), float(q[4 * i + 1]), sum);
            sum = fma(float(as_type<char>(uchar(w >> 16))), float(q[4 * i + 2]), sum);
            sum = fma(float(as_type<char>(uchar(w >> 24))), float(q[4 * i + 3]), sum);
        }
        return sum;
    }
    if (type == type_mxfp4) {
        device const uchar * p = row + (ulong) g * 17;
        scale = e8m0_half(p[0]);
        for (int i = 0; i < 16; i++) {
            const uint c = p[1 + i];
            sum = fma(float(e2m1_twice(c)), float(q[i]), sum);
            sum = fma(float(e2m1_twice(c >> 4)), float(q[16 + i]), sum);
        }
        return sum;
    }
    const int quarter = g & 3;
    device const uchar * b = row + (ulong)(g >> 2) * block_bytes(type);
    if (type == type_iq2_xxs) {
        scale = 0.125f * half_at(b);
        for (int h = 0; h < 2; h++) {
            device const ushort * p = (device const ushort *)(b + 2 + 16 * quarter + 8 * h);
            const uint codes = uint(p[0]) | uint(p[1]) << 16, t = uint(p[2]) | uint(p[3]) << 16;
            float part = 0;
            for (int l = 0; l < 4; l++) {
                threadgroup const uchar * mag = table + (codes >> (8 * l) & 255) * 8;
                const uint sign = sign_mask(t >> (7 * l) & 127);
                for (int j = 0; j < 8; j++) {
                    const float m = float(mag[j]);
                    part = fma(sign >> j & 1 ? -m : m, float(q[32 * h + 8 * l + j]), part);
                }
            }
            sum = fma(float(2 * (t >> 28) + 1), part, sum);
        }
        return sum;
    }
    if (type == type_q2_k) {
        device const uint * codes = (device const uint *)(b + 16 + 32 * (quarter >> 1));
        scale = half_at(b + 80);
        least = half_at(b + 82);
        for (int j = 0; j < 4; j++) {
            const uint sc = b[4 * quarter + j];
            const int shift = 4 * (quarter & 1) + 2 * (j >> 1);
            float part = 0;
            for (int i = 0; i < 4; i++) {
                const uint c = codes[4 * (j & 1) + i] >> shift;
                for (int k = 0; k < 4; k++) part = fma(float(c >> (8 * k) & 3), float(q[16 * j + 4 * i + k]), part);
            }
            sum = fma(float(sc & 15), part, sum);
            minimum = fma(float(sc >> 4), float(s[j]), minimum);
        }
        return sum;
    }
    // Q4_K
    device const uint * codes = (device const uint *)(b + 16 + 32 * quarter);
    scale = half_at(b);
    least = half_at(b + 2);
    for (int h = 0; h < 2; h++) {
        const uint2 sc = q4_k_scale(b + 4, 2 * quarter + h);
        float part = 0;
        for (int i = 0; i < 8; i++) {
            const uint c = codes[i] >> (4 * h);
            for (int k = 0; k < 4; k++) part = fma(float(c >> (8 * k) & 15), float(q[32 * h + 4 * i + k]), part);
        }
        sum = fma(float(sc.x), part, sum);
        minimum = fma(float(sc.y), float(s[2 * h]) + float(s[2 * h + 1]), minimum);
    }
    return sum;
}

// partial is partial sum `sub` of one run of one row, for one token. limit: inputs of the row.
template<typename A>
static inline float partial(int type, device const uchar * row, int run, int sub, int limit, A a, table_ptr table) {
    float p = 0;
    const int at = run * run_inputs, end = min(at + run_inputs, limit);
    if (type == type_f16 || type == type_f32) {
        for (int k = at + 8 * sub; k < end; k += 32) {
            for (int i = 0; i < 8; i++) {
                const float w = type == type_f16 ? float(((device const half *) row)[k + i]) : ((device const float *) row)[k + i];
                p = fma(w, a.x[k + i], p);
            }
        }
        return p;
    }
    const int n = block_inputs(type) == 32 ? 32 : 64, per = block_inputs(type);
    for (int k = at + n * sub; k < end; k += 4 * n) {
        float scale, least, minimum;
        const float sum = group_dot(type, row, k / n, a.q + k, a.s + k / 16, table, scale, least, minimum);
        const float d = a.d[k / per];
        p = fma(sum, scale * d, p);
        if (type == type_q2_k || type == type_q4_k) p = fma(-minimum, least * d, p);
    }
    return p;
}

// lanes_of is the number of lanes that share a row: four a run, up to all.
static inline int lanes_of(int cols) {
    const int runs = (cols + run_inputs - 1) / run_inputs;
    return runs > 4 ? 32 : runs > 2 ? 16 : runs > 1 ? 8 : 4;
}

// row_dot is the whole product of one row for one token; every lane of the row gets it. All lanes of the simdgroup come here.
template<typename A>
static inline float row_dot(int type, device const uchar * row, bool live, int cols, uint lane, int lanes, A a, table_ptr table) {
    const int runs = (cols + run_inputs - 1) / run_inputs, at_once = lanes / 4;
    const int mine = int(lane & (lanes - 1)) >> 2, sub = lane & 3, first = lane & ~(lanes - 1);
    float total = 0;
    for (int r = 0; r < runs; r += at_once) {
        float p = live && r + mine < runs ? partial(type, row, r + mine, sub, cols, a, table) : 0.0f;
        p += simd_shuffle_xor(p, 1);
        p += simd_shuffle_xor(p, 2);
        for (int i = 0; i < at_once; i++) {
            const float run = simd_shuffle(p, first + 4 * i);
            if (r + i < runs) total += run;
        }
    }
    return total;
}

static inline activation activation_of(device const half * q, device const float * d, device const half * s, device const float * x, int token, int cols, int at, int per) {
    activation a;
    a.q = q + (ulong) token * cols + at;
    a.d = d + ((ulong) token * cols + at) / per;
    a.s = s + ((ulong) token * cols + at) / 16;
    a.x = x + (ulong) token * cols + at;
    return a;
}

static inline void store_product(constant matrix_args & m, device const step_head * step, device float * out, device const uchar * ape, int which, int per_row, int ratio, int token, int row, float v) {
    device float * y = out + (ulong) token * m.stride + row;
    if (m.ape != 0) {
        const int at = rows_of(step)[token / per_row].pos % ratio;
        v += m.ape == 1 ? float(((device const half *) ape)[(ulong) at * m.rows + row]) : ((device const float *) ape)[(ulong) at * m.rows + row];
    }
    *y = m.add ? *y + v : v;
}

// product_rows: up to seven matrices over the same activations. Grid: threadgroups of rows, tokens.
// Cost of product_rows: moves each matrix once for each token (1 to 4), activations from the cache. Threadgroup: 256 threads, 8
// to 64 rows; 0 bytes of threadgroup memory, about 40 registers. If slow: more rows a threadgroup, or split scales from codes
// for 8-byte loads.
kernel void product_rows(
        constant product_args & a          [[buffer(0)]],
        device const step_head * step      [[buffer(1)]],
        device const half  * q             [[buffer(2)]],
        device const float * d             [[buffer(3)]],
        device const float * x             [[buffer(4)]],
        device const uchar * w0           [[buffer(5)]],
        device const uchar * w1           [[buffer(6)]],
        device const uchar * w2           [[buffer(7)]],
        device const uchar * w3           [[buffer(8)]],
        device const uchar * w4           [[buffer(9)]],
        device const uchar * w5           [[buffer(10)]],
        device const uchar * w6           [[buffer(11)]],
        device       float * y0           [[buffer(12)]],
        device       float * y1           [[buffer(13)]],
        device       float * y2           [[buffer(14)]],
        device       float * y3           [[buffer(15)]],
        device       float * y4           [[buffer(16)]],
        device       float * y5           [[buffer(17)]],
        device       float * y6           [[buffer(18)]],
        device const uchar * ape0         [[buffer(19)]],
        device const uchar * ape1         [[buffer(20)]],
        device const uchar * ape2         [[buffer(21)]],
        device const uchar * ape3         [[buffer(22)]],
        device const uchar * ape4         [[buffer(23)]],
        device const uchar * ape5         [[buffer(24)]],
        device const uchar * ape6         [[buffer(25)]],
        uint3 tg    [[threadgroup_position_in_grid]],
        uint  simd  [[simdgroup_index_in_threadgroup]],
        uint  simds [[simdgroups_per_threadgroup]],
        uint  lane  [[thread_index_in_simdgroup]]) {
    const int token = tg.y;
    if (token >= tokens_of(step, a.which) * a.per_row) return;
    int i = 0;
    while (i + 1 < a.matrices && int(tg.x) >= a.m[i + 1].first) i++;
    device const uchar * w = i == 0 ? w0 : i == 1 ? w1 : i == 2 ? w2 : i == 3 ? w3 : i == 4 ? w4 : i == 5 ? w5 : w6;
    device const uchar * ape = i == 0 ? ape0 : i == 1 ? ape1 : i == 2 ? ape2 : i == 3 ? ape3 : i == 4 ? ape4 : i == 5 ? ape5 : ape6;
    device float * y = i == 0 ? y0 : i == 1 ? y1 : i == 2 ? y2 : i == 3 ? y3 : i == 4 ? y4 : i == 5 ? y5 : y6;
    const int type = a.m[i].type, lanes = lanes_of(a.cols), each = 32 / lanes;
    const int row = ((int(tg.x) - a.m[i].first) * int(simds) + int(simd)) * each + int(lane) / lanes;
    const bool live = row < a.m[i].rows;
    const int at = a.group == 0 ? 0 : (live ? row : 0) / a.group * a.cols;
    const activation act = activation_of(q, d, q, x, token, a.act_cols, at, 32); // no dense matrix is a K-quant: no sums
    float v;
    device const uchar * p = w + (ulong)(live ? row : 0) * row_bytes(type, a.cols);
    if (type == type_q8_0) v = row_dot(type_q8_0, p, live, a.cols, lane, lanes, act, 0);
    else if (type == type_f16) v = row_dot(type_f16, p, live, a.cols, lane, lanes, act, 0);
    else v = row_dot(type_f32, p, live, a.cols, lane, lanes, act, 0);
    if (live && int(lane) % lanes == 0) store_product(a.m[i], step, y, ape, a.which, a.per_row, a.ratio, token, row, v);
}
