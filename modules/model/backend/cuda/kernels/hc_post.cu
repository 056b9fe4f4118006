// HCPost redistributes a sublayer's output to the four streams, in place. comb[s][t] weighs source s into target t.
#include "common.cuh"

struct HCPostArgs { const Step* step; const float *mix, *steer; float *hc, *y, *tap; int d; float steer_scale; };
static_assert(sizeof(HCPostArgs) == 56, "mirrored in args.go");

// steer takes y's component along v away, before hc_post.
KERNEL(steer, HCPostArgs, 256) {
  wait_previous();
  allow_next();
  int row = blockIdx.x;
  if (row >= a.step->rows) return;
  float *y = a.y + (u64)row * a.d, s = 0;
  for (int i = threadIdx.x; i < a.d; i += 256) s = fma_rn(y[i], a.steer[i], s);
  s = a.steer_scale * block_sum<256>(s);
  for (int i = threadIdx.x; i < a.d; i += 256) y[i] -= s * a.steer[i];
}

KERNEL(hc_post, HCPostArgs, 256) { // a thread owns four columns of all streams
  wait_previous();
  allow_next();
  int row = blockIdx.y, at = (blockIdx.x * 256 + threadIdx.x) * 4;
  if (row >= a.step->rows || at >= a.d) return;
  const float* mix = a.mix + (u64)row * 24;
  float4 y = *(const float4*)(a.y + (u64)row * a.d + at), x[4];
  float* hc = a.hc + (u64)row * 4 * a.d + at;
  UNROLL for (int s = 0; s < 4; s++) x[s] = *(const float4*)(hc + (u64)s * a.d);
  UNROLL for (int t = 0; t < 4; t++) {
    float p = mix[4 + t];
    float4 v = {y.x * p, y.y * p, y.z * p, y.w * p};
    UNROLL for (int s = 0; s < 4; s++) {
      float c = mix[8 + 4 * s + t];
      v.x += c * x[s].x; v.y += c * x[s].y; v.z += c * x[s].z; v.w += c * x[s].w;
    }
    *(float4*)(hc + (u64)t * a.d) = v;
    if (a.tap) *(float4*)(a.tap + ((u64)row * 4 + t) * a.d + at) = v;
  }
}
