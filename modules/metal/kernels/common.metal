// What all kernels share: the step block, reductions, order of sums, rotation, cached rows.
//
// The sources keep to a plain subset of MSL, so that the stand-in can run them unedited: no templated kernels, no function
// constants, vectors by constructor calls. Bits must not depend on how a compiler fuses: a product that is added is an fma.
#include <metal_stdlib>
using namespace metal;

// ---- the step block: written by the host once a step, little-endian, sections behind the head

struct step_row { int token, pos, span, from; };
struct step_span { int seq, slot, into, pos, row, rows; };
struct step_top { int out, mask, bias, biases; float inv_temp; };
struct step_bias { int id; float add, rep; };
struct step_head {
    int rows, spans, outs, tops, biases, tape, indexed, kinds;  // kinds: of rotation, in the table
    uint at_rows, at_spans, at_outs, at_tops, at_bias, at_rope; // bytes from the head
    int rope;                                                   // rotary components
    int pad;
};

static inline device const step_row * rows_of(device const step_head * s) { return (device const step_row *)((device const char *) s + s->at_rows); }
static inline device const step_span * spans_of(device const step_head * s) { return (device const step_span *)((device const char *) s + s->at_spans); }
static inline device const int * outs_of(device const step_head * s) { return (device const int *)((device const char *) s + s->at_outs); }
static inline device const step_top * tops_of(device const step_head * s) { return (device const step_top *)((device const char *) s + s->at_tops); }
static inline device const step_bias * biases_of(device const step_head * s) { return (device const step_bias *)((device const char *) s + s->at_bias); }

// Rotations of a row: cos and sin of its pairs, interleaved. The host makes them with full range reduction. Kinds: 0 of
// layers without compression, 1 of the others; from 2 on that of the window a row completes, by ratio.
static inline device const float * rope_of(device const step_head * s, int row, int kind) {
    return (device const float *)((device const char *) s + s->at_rope) + ((ulong) row * s->kinds + kind) * s->rope;
}

// Tokens of a product: rows of the step, or its outs.
enum { count_rows = 0, count_outs = 1 };
static inline int tokens_of(device const step_head * s, int which) { return which == count_outs ? s->outs : s->rows; }

// ---- sums over a threadgroup: every thread gets the result

static inline float group_sum(float v, threadgroup float * part, uint simd, uint lane, uint simds) {
    v = simd_sum(v);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (lane == 0) part[simd] = v;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    return simd_sum(lane < simds ? part[lane] : 0.0f);
}
static inline float group_max(float v, threadgroup float * part, uint simd, uint lane, uint simds) {
    v = simd_max(v);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (lane == 0) part[simd] = v;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    return simd_max(lane < simds ? part[lane] : -INFINITY);
}

// ---- functions of the model

static inline float sigmoid(float x) {
    const float e = precise::exp(x < 0 ? x : -x);
    return (x < 0 ? e : 1.0f) / (1.0f + e);
}
// swiglu clamps the gate from above and the up value on both sides.
static inline float swiglu(float g, float u, float limit) {
    g = min(g, limit);
    return g * sigmoid(g) * clamp(u, -limit, limit);
}
static inline float inverse_rms(float squares, int n, float eps) { return 1.0f / precise::sqrt(squares / float(n) + eps); }

static inline float pow2(int e) { return as_type<float>(uint(clamp(e, -126, 127) + 127) << 23); }

// scale_exponent is the exponent of the smallest power of two that brings a down to limit.
static inline int scale_exponent(float a, float limit) {
    const float r = a / limit;
    const uint b = as_type<uint>(r);
    return int(b >> 23) - 127 + ((b & 0x7fffff) != 0 ? 1 : 0);
}

// ---- E4M3 and E2M1, nearest, ties to even; finite values only

static inline uchar to_e4m3(float v) {
    const uint sign = as_type<uint>(v) >> 24 & 128;
    const float a = min(fabs(v), 448.0f);
    if (a < 0.015625f) return uchar(sign | uint(rint(a * 512.0f))); // subnormal: steps of 2^-9; 8 is the least normal
    uint b = as_type<uint>(a);
    b += 0x7ffff + (b >> 20 & 1);
    return uchar(sign | ((b >> 20) - (120 << 3)));
}
static inline float from_e4m3(uint c) {
    uint m = c & 127;
    if (m == 127) m = 126; // NaN codes, which no writer makes
    const float a = m < 8 ? float(m) * 0.001953125f : as_type<float>((m + (120 << 3)) << 20);
    return c & 128 ? -a : a;
}
static inline uint to_e2m1(float v) {
    const float a = min(fabs(v), 6.0f);
    const uint sign = as_type<uint>(v) >> 28 & 8;
    uint c;
    if (a < 2.0f) c = uint(rint(a * 2.0f)); // 0, .5, 1, 1.5, 2 are codes 0 to 4; a tie goes to the even one
    else if (a < 4.0f) c = 2 + uint(rint(a)); // 2, 3, 4 are 4 to 6
    else c = a > 5.0f ? 7 : 6;
    return sign | c;
}
// twice the value: an integer
static inline int e2m1_twice(uint c) {
    const int m = int(c & 7), a = m < 4 ? m : (m == 4 ? 4 : m == 5 ? 6 : m == 6 ? 8 : 12);
    return c & 8 ? -a : a;
}

// ---- cached rows

// Where a layer's rings and pages lie: offsets and strides in bytes within the buffers bound for that layer's part.
struct state_args {
    ulong slot_stride, page_stride;
    int ratio, ring, comp_ring, comp_row;     // comp_row: f32 of a position in the compressor's ring
    int page_rows, kv_row, kv_exp, comp_base; // comp_base: bytes from the part's start to that ring
    int index_at, index_exp_at, table_stride, pad;
};

static inline device uchar * page_row(constant state_args & st, device uchar * pages, device const int * table, int seq, int c, thread int & at) {
    const int page = table[(ulong) seq * st.table_stride + c / st.page_rows];
    at = c % st.page_rows;
    return pages + (ulong) page * st.page_stride;
}

// kv_value is component i of a packed row: always an f16.
static inline half kv_value(device const uchar * row, int i, int nope, int exp_at) {
    if (i >= nope) return ((device const half *)(row + nope))[i - nope];
    return half(from_e4m3(row[i]) * pow2(int(as_type<char>(row[exp_at + i / 64]))));
}
