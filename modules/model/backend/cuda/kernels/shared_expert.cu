// SharedExpert: between its two products, the gated product and its int8 form.
#include "quant.cuh"

struct SwigluArgs { const Step* step; const float *gate, *up; Forms f; int n; float clamp; };
static_assert(sizeof(SwigluArgs) == 80, "mirrored in args.go");
KERNEL(swiglu_quantize, SwigluArgs, 256) { // a block a row
  wait_previous();
  allow_next();
  int row = blockIdx.x;
  if (row >= a.step->rows) return;
  for (int b = warp_id(); b * 256 < a.n; b += 8) {
    u64 at = (u64)row * a.n + 256 * b;
    float g[8], u[8];
    load8(g, a.gate + at, 8 * lane_id(), a.n - 256 * b);
    load8(u, a.up + at, 8 * lane_id(), a.n - 256 * b);
    UNROLL for (int i = 0; i < 8; i++) g[i] = swiglu(g[i], u[i], a.clamp);
    quantize_block(a.f, at, a.n - 256 * b, g);
  }
}
