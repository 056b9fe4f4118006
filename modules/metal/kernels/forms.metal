// The int8 forms of activations that quantised weights are multiplied with, kept as half: integers to 127 are exact, and feed
// fma and simdgroup matrices without a conversion.
//
//   q8   blocks of 32:  q (n), d (n/32) f32, d = max|x|/127
//   q8k  blocks of 256: q (n), d (n/256) f32, the extreme element is -127; s (n/16) sums of codes, exact in half

enum { form_q8 = 1, form_q8k = 2 };

// Codes go to half in device memory, to char in a threadgroup's. A lane holds 8 consecutive values of a block of 256. All lanes come here; those past the end hold zeros and store nothing.
template<typename Q, typename D>
static inline void store_q8(thread const float * v, uint lane, bool live, Q q, D d) {
    float a = 0;
    for (int i = 0; i < 8; i++) a = max(a, fabs(v[i]));
    a = max(a, simd_shuffle_xor(a, 1));
    a = max(a, simd_shuffle_xor(a, 2));
    const float scale = a / 127.0f, inv = scale != 0 ? 1.0f / scale : 0.0f;
    if (!live) return;
    for (int i = 0; i < 8; i++) q[8 * lane + i] = clamp(rint(v[i] * inv), -128.0f, 127.0f);
    if ((lane & 3) == 0) d[lane >> 2] = scale;
}
template<typename Q, typename D, typename S>
static inline void store_q8k(thread const float * v, uint lane, Q q, D d, S s) {
    float a = 0;
    for (int i = 0; i < 8; i++) a = max(a, fabs(v[i]));
    a = simd_max(a);
    uint at = 256; // the first of the largest
    for (int i = 7; i >= 0; i--) at = fabs(v[i]) == a ? 8 * lane + i : at;
    at = simd_min(at);
    float mine = 0;
    for (int i = 0; i < 8; i++) mine = at == 8 * lane + i ? v[i] : mine;
    const float ext = simd_shuffle(mine, ushort(min(at, 255u) >> 3));
    float inv = a != 0 ? -127.0f / ext : 0.0f;
    if (isinf(inv) || isnan(inv)) inv = 0;
    float sum = 0;
    for (int i = 0; i < 8; i++) {
        const float c = clamp(rint(inv * v[i]), -128.0f, 127.0f);
        q[8 * lane + i] = c;
        sum += c;
    }
    sum += simd_shuffle_xor(sum, 1);
    if ((lane & 1) == 0) s[lane >> 1] = half(sum);
    if (lane == 0) d[0] = inv != 0 ? 1.0f / inv : 0.0f;
}

struct quantize_args {
    int which, per_row, cols, forms;
    float limit;
    int pad;
};

// quantize: (tokens, cols) f32 to forms. A simdgroup takes 256 values. Grid: blocks of 8 · 256 values, tokens.
// Cost of quantize: moves 4 bytes a value in, 2 out, twice that for both forms. Threadgroup: 256 threads, 2048 values; 0 bytes
// of threadgroup memory, about 30 registers. If slow: nothing: a thousandth of a prompt; at decode joined kernels do it.
kernel void quantize(
        constant quantize_args & a    [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const float * x        [[buffer(2)]],
        device       half  * q8       [[buffer(3)]],
        device       float * q8d      [[buffer(4)]],
        device       half  * q8k      [[buffer(5)]],
        device       float * q8kd     [[buffer(6)]],
        device       half  * q8ks     [[buffer(7)]],
        uint3 tg    [[threadgroup_position_in_grid]],
        uint  simd  [[simdgroup_index_in_threadgroup]],
        uint  simds [[simdgroups_per_threadgroup]],
        uint  lane  [[thread_index_in_simdgroup]]) {
    const int token = tg.y, block = tg.x * simds + simd, k = 256 * block + 8 * lane;
    if (token >= tokens_of(step, a.which) * a.per_row || 256 * block >= a.cols) return;
    const ulong at = (ulong) token * a.cols + 256 * block;
    const bool live = k < a.cols;
    float v[8];
    for (int i = 0; i < 8; i++) v[i] = live ? x[at + 8 * lane + i] : 0.0f;
    if (a.forms & form_q8) store_q8(v, lane, live, q8 + at, q8d + at / 32);
    if (a.forms & form_q8k) store_q8k(v, lane, q8k + at, q8kd + at / 256, q8ks + at / 16);
}
