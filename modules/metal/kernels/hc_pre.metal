// HCPre folds the four residual streams into the row that a sublayer reads, and makes the weights by which HCPost gives it back.
//
// hc_mix is the projection to 24 control values, cut into slices of 64 components of all four streams: partial products and the
// sum of squares of each slice. A threadgroup a slice: 12 KiB of F16 weights, 8 simdgroups with three control values each. It
// can first do what HCPost does to its slice: the streams are then read and written once for both.
// hc_pre adds the slices up in order, applies the norm, splits, and folds. A threadgroup a row; one simdgroup does the 39
// normalisations of the 4×4 matrix, an element a lane. Latency is all of it: about 5 µs.

struct hc_args {
    int which, width, values, f32; // values: 24, or 4 of the head
    int post, steer, tap, pad;     // post: do HCPost first; −1: nothing at all
    float steer_scale;
    int pad2;
};

struct hc_pre_args {
    int which, width, values, rounds;
    int forms, head;
    float eps, hc_eps;
};

constant int slice = 64; // components of a slice

static inline int hc_row(device const step_head * step, int which, int i) { return which == count_outs ? outs_of(step)[i] : i; }

// hc_posted is stream t of component j after HCPost.
static inline float hc_posted(device const float * hc, device const float * mix, float y, int width, int j, int t) {
    float v = y * mix[4 + t];
    for (int s = 0; s < 4; s++) v = fma(mix[8 + 4 * s + t], hc[s * width + j], v);
    return v;
}

// hc_slice does slice `at` of one row: HCPost with y, of the thread's component, if a.post; then the slice's part of the projection.
// The first 256 threads hold a value each; v: 256 floats.
static inline void hc_slice(constant hc_args & a, ulong row, int i, int at, float y, device float * hc, device const uchar * fn, device float * part, device const float * mix, device float * tap,
                            threadgroup float * v, threadgroup float * sums, uint tid, uint simd, uint simds, uint lane) {
    if (a.post < 0) return; // neither
    device float * h = hc + row * 4 * a.width;
    const bool live = tid < 4 * slice;
    const int j = at * slice + tid % slice, t = (tid / slice) & 3;
    float x = 0;
    if (live) {
        x = a.post ? hc_posted(h, mix + row * 24, y, a.width, j, t) : h[t * a.width + j];
        v[tid] = x;
    }
    const float squares = group_sum(x * x, sums, simd, lane, simds); // its barriers order v, and the reads of h before the writes
    if (a.post && live) {
        h[t * a.width + j] = x;
        if (a.tap) tap[row * 4 * a.width + t * a.width + j] = x;
    }
    if (a.values == 0) return;
    device float * out = part + ((ulong) i * (a.width / slice) + at) * 32;
    if (tid == 0) out[24] = squares;
    for (int c = simd; c < a.values; c += simds) {
        float s = 0;
        for (int e = lane; e < 256; e += 32) {
            const ulong from = ((ulong) c * 4 + e / slice) * a.width + at * slice + e % slice;
            const float w = a.f32 ? ((device const float *) fn)[from] : float(((device const half *) fn)[from]);
            s = fma(w, v[e], s);
        }
        s = simd_sum(s);
        if (lane == 0) out[c] = s;
    }
}

// Grid: slices, rows (or outs). 256 threads: one for each value of the slice.
// Cost of hc_mix: moves the slice of the projection (12 KiB) and of the streams (1 KiB), a row. Threadgroup: 256 threads, 64
// components of 4 streams; 1152 bytes of threadgroup memory, about 30 registers. If slow: two rows a threadgroup, so that the
// projection is read once for both.
kernel void hc_mix(
        constant hc_args & a          [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device       float * hc       [[buffer(2)]],
        device const uchar * fn       [[buffer(3)]],
        device       float * part     [[buffer(4)]], // (rows, slices, 32)
        device const float * mix      [[buffer(5)]],
        device const float * y        [[buffer(6)]],
        device       float * tap      [[buffer(7)]],
        uint3 tg    [[threadgroup_position_in_grid]],
        uint  tid   [[thread_index_in_threadgroup]],
        uint  simd  [[simdgroup_index_in_threadgroup]],
        uint  lane  [[thread_index_in_simdgroup]]) {
    threadgroup float v[256];
    threadgroup float sums[32];
    const int i = tg.y;
    if (i >= tokens_of(step, a.which)) return;
    const ulong row = hc_row(step, a.which, i);
    const float one = a.post ? y[row * a.width + tg.x * slice + tid % slice] : 0.0f;
    hc_slice(a, row, i, tg.x, one, hc, fn, part, mix, tap, v, sums, tid, simd, 8, lane);
}

// sinkhorn: lane 4r+c holds an element; every lane of the 16 gets its own.
static inline float sinkhorn(float c, uint lane, int rounds, float eps) {
    float top = max(c, simd_shuffle_xor(c, 1));
    top = max(top, simd_shuffle_xor(top, 2));
    float e = precise::exp(c - top), sum = e + simd_shuffle_xor(e, 1);
    sum += simd_shuffle_xor(sum, 2);
    c = fma(e, 1.0f / sum, eps);
    for (int i = 0; i < rounds; i++) {
        if (i > 0) {
            sum = c + simd_shuffle_xor(c, 1);
            sum += simd_shuffle_xor(sum, 2);
            c *= 1.0f / (sum + eps);
        }
        sum = c + simd_shuffle_xor(c, 4);
        sum += simd_shuffle_xor(sum, 8);
        c *= 1.0f / (sum + eps);
    }
    return c;
}

// Grid: rows (or outs). Threads: 32 for each 256 components, 8 components each.
// Cost of hc_pre: moves the streams once, X and its forms out: 24 bytes a component. Threadgroup: 512 threads at 4096
// components, a row; 144 bytes of threadgroup memory, about 40 registers. If slow: latency is all of it: the sum over slices is
// a chain of 64 loads, cut it in two.
kernel void hc_pre(
        constant hc_pre_args & a      [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const float * part     [[buffer(2)]],
        device const float * scale    [[buffer(3)]],
        device const float * base     [[buffer(4)]],
        device const float * norm     [[buffer(5)]],
        device const float * hc       [[buffer(6)]],
        device       float * x        [[buffer(7)]],
        device       float * mix      [[buffer(8)]],
        device       half  * q8       [[buffer(9)]],
        device       float * q8d      [[buffer(10)]],
        device       half  * q8k      [[buffer(11)]],
        device       float * q8kd     [[buffer(12)]],
        device       half  * q8ks     [[buffer(13)]],
        uint3 tg    [[threadgroup_position_in_grid]],
        uint  tid   [[thread_index_in_threadgroup]],
        uint  simd  [[simdgroup_index_in_threadgroup]],
        uint  simds [[simdgroups_per_threadgroup]],
        uint  lane  [[thread_index_in_simdgroup]]) {
    threadgroup float pre[4];
    threadgroup float sums[32];
    const int i = tg.x, slices = a.width / slice;
    if (i >= tokens_of(step, a.which)) return;
    const ulong row = hc_row(step, a.which, i);
    if (simd == 0) {
        float s = 0;
        if (lane <= 24) for (int k = 0; k < slices; k++) s += part[((ulong) i * slices + k) * 32 + lane];
        const float inv = inverse_rms(simd_shuffle(s, 24), 4 * a.width, a.eps);
        const float m = s * inv;
        if (a.head) {
            if (lane < 4) pre[lane] = sigmoid(fma(m, scale[0], base[lane])) + a.hc_eps;
        } else {
            const float v = lane < 24 ? fma(m, scale[lane < 4 ? 0 : lane < 8 ? 1 : 2], base[lane]) : 0.0f;
            const float c = sinkhorn(simd_shuffle(v, ushort(8 + (lane & 15))), lane, a.rounds, a.hc_eps);
            if (lane < 4) pre[lane] = mix[row * 24 + lane] = 1.0f / (1.0f + precise::exp(-v)) + a.hc_eps;
            else if (lane < 8) mix[row * 24 + lane] = 2.0f / (1.0f + precise::exp(-v));
            if (lane < 16) mix[row * 24 + 8 + lane] = c;
        }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    device const float * h = hc + row * 4 * a.width + 8 * tid;
    float v[8], squares = 0;
    for (int k = 0; k < 8; k++) {
        float s = 0;
        for (int t = 0; t < 4; t++) s = fma(h[t * a.width + k], pre[t], s);
        v[k] = s;
        squares = fma(s, s, squares);
    }
    const float inv = inverse_rms(group_sum(squares, sums, simd, lane, simds), a.width, a.eps);
    for (int k = 0; k < 8; k++) {
        v[k] = v[k] * inv * norm[8 * tid + k];
        x[(ulong) i * a.width + 8 * tid + k] = v[k];
    }
    const ulong at = (ulong) i * a.width + 256 * simd;
    if (a.forms & form_q8) store_q8(v, lane, true, q8 + at, q8d + at / 32);
    if (a.forms & form_q8k) store_q8k(v, lane, q8k + at, q8kd + at / 256, q8ks + at / 16);
}
