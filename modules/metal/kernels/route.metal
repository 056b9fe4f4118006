// Route picks the experts of a row from the router's logits, which are a product (product.metal). A threadgroup a row; latency is
// all of it: about 4 µs for six of 256.

struct route_args { int experts, active, hash, bias; float scale; int pad; };

// Grid: rows; 256 threads.
// Cost of route: moves 1 KiB of logits and the bias in, 48 bytes out, a row. Threadgroup: 256 threads, a row; 16640 bytes of
// threadgroup memory, about 24 registers. If slow: a simdgroup's choice by one sort of 256 values rather than six passes.
kernel void route(
        constant route_args & a       [[buffer(0)]],
        device const step_head * step [[buffer(1)]],
        device const float * logits   [[buffer(2)]],
        device const float * bias     [[buffer(3)]],
        device const int   * table    [[buffer(4)]],
        device       int   * ids      [[buffer(5)]],
        device       float * weights  [[buffer(6)]],
        device       int   * bad      [[buffer(7)]],
        uint3 tg    [[threadgroup_position_in_grid]],
        uint  tid   [[thread_index_in_threadgroup]],
        uint  simd  [[simdgroup_index_in_threadgroup]],
        uint  lane  [[thread_index_in_simdgroup]]) {
    threadgroup float p[2048];
    threadgroup float score[2048];
    threadgroup int chosen[64];
    const int row = tg.x;
    if (row >= step->rows) return;
    for (int e = tid; e < a.experts; e += 256) {
        const float x = logits[(ulong) row * a.experts + e];
        const float z = precise::exp(min(x, 20.0f));
        // log(1+z): through the rounded sum, whose error the quotient takes back
        const float u = 1.0f + z;
        const float soft = x > 20 ? x : x < -20 ? z : u == 1.0f ? z : precise::log(u) * (z / (u - 1.0f));
        const float v = precise::sqrt(soft);
        p[e] = v;
        score[e] = a.bias ? v + bias[e] : v;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (simd != 0) return;
    if (a.hash) {
        for (int k = lane; k < a.active; k += 32) chosen[k] = table[(ulong) rows_of(step)[row].token * a.active + k];
    } else {
        for (int k = 0; k < a.active; k++) {
            float top = -INFINITY;
            int at = 1 << 30;
            for (int e = lane; e < a.experts; e += 32) {
                const float v = score[e];
                if (v > top) { // ascending: ties stay with the lower index
                    top = v;
                    at = e;
                }
            }
            const float best = simd_max(top);
            at = simd_min(top == best ? at : 1 << 30);
            if (lane == 0) chosen[k] = at < a.experts ? at : 0;
            if (at < a.experts && int(lane) == (at & 31)) score[at] = -INFINITY;
            simdgroup_barrier(mem_flags::mem_threadgroup);
        }
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
    if (lane != 0) return;
    float sum = 0;
    for (int k = 0; k < a.active; k++) {
        int id = chosen[k];
        if (id < 0 || id >= a.experts) { // a table's fault: told to the host, and harmless here
            bad[0] = id;
            bad[1] = 1;
            id = chosen[k] = 0;
        }
        sum += p[id];
    }
    sum = max(sum, 6.103515625e-05f); // 2^-14
    for (int k = 0; k < a.active; k++) {
        ids[(ulong) row * a.active + k] = chosen[k];
        weights[(ulong) row * a.active + k] = p[chosen[k]] / sum * a.scale;
    }
}
