// Activations as products want them: int8 with f32 scales over 32 (Q8_0) or 256 (Q8_K) values, and f16 in two pieces.
#pragma once
#include "common.cuh"

// Forms of (rows, cols) activations; null where not wanted. cols is a multiple of 32, of 256 for q8k.
struct Forms {
  i8* q8; float* q8_d;   // (rows, cols), (rows, cols/32)
  i8* q8k; float* q8k_d; // (rows, cols), (rows, cols/256)
  u16 *hi, *lo;          // (rows, cols): f16(x), f16(x − hi)
};

DEV u32 pack4(float a, float b, float c, float d) {
  return ((u32)(int)a & 255) | ((u32)(int)b & 255) << 8 | ((u32)(int)c & 255) << 16 | ((u32)(int)d & 255) << 24;
}
DEV float clamp8(float v) { return min_f(max_f(rint_even(v), -128), 127); }

// quantize_block makes the forms of 256 values (or a tail of 32·k), eight to a lane: element 8·lane + i. Quads hold a block of 32.
DEV void quantize_block(const Forms& f, u64 at, int n, const float (&x)[8]) {
  int lane = lane_id();
  bool in = 8 * lane < n;
  float m = 0;
  UNROLL for (int i = 0; i < 8; i++) m = max_f(m, abs_f(x[i]));
  if (f.q8) {
    float a = max_f(m, shfl_xor_f(m, 1));
    a = max_f(a, shfl_xor_f(a, 2));
    float d = a / 127.0f, inv = d != 0 ? 1.0f / d : 0.0f;
    if (in) {
      u32 w[2];
      UNROLL for (int i = 0; i < 2; i++)
        w[i] = pack4(clamp8(x[4 * i] * inv), clamp8(x[4 * i + 1] * inv), clamp8(x[4 * i + 2] * inv), clamp8(x[4 * i + 3] * inv));
      *(uint2*)(f.q8 + at + 8 * lane) = {w[0], w[1]};
      if (lane % 4 == 0) f.q8_d[(at + 8 * lane) / 32] = d;
    }
  }
  if (f.q8k) {
    float a = warp_max(m), ext = 0; // the first element of that magnitude
    bool found = false;
    UNROLL for (int i = 0; i < 8; i++)
      if (!found && abs_f(x[i]) == a) { ext = x[i]; found = true; }
    u32 who = ballot(found);
    ext = shfl_f(ext, who ? __builtin_ctz(who) : 0);
    float inv = -127.0f / ext;
    bool zero = a == 0 || abs_f(inv) > 3.4e38f;
    u32 w[2];
    UNROLL for (int i = 0; i < 2; i++)
      w[i] = zero ? 0 : pack4(clamp8(x[4 * i] * inv), clamp8(x[4 * i + 1] * inv), clamp8(x[4 * i + 2] * inv), clamp8(x[4 * i + 3] * inv));
    *(uint2*)(f.q8k + at + 8 * lane) = {w[0], w[1]};
    if (lane == 0) f.q8k_d[at / 256] = zero ? 0.0f : 1.0f / inv;
  }
  if (f.hi && in) {
    u32 hi[4], lo[4];
    UNROLL for (int i = 0; i < 4; i++) {
      u16 h0 = float_half(x[2 * i]), h1 = float_half(x[2 * i + 1]);
      hi[i] = h0 | (u32)h1 << 16;
      lo[i] = float_half(x[2 * i] - half_float(h0)) | (u32)float_half(x[2 * i + 1] - half_float(h1)) << 16;
    }
    *(uint4*)(f.hi + at + 8 * lane) = {hi[0], hi[1], hi[2], hi[3]};
    *(uint4*)(f.lo + at + 8 * lane) = {lo[0], lo[1], lo[2], lo[3]};
  }
}

DEV void load8(float (&v)[8], const float* x, int i, int n) {
  UNROLL for (int j = 0; j < 8; j++) v[j] = 0;
  if (i < n) {
    float4 p = *(const float4*)(x + i), q = *(const float4*)(x + i + 4);
    v[0] = p.x; v[1] = p.y; v[2] = p.z; v[3] = p.w; v[4] = q.x; v[5] = q.y; v[6] = q.z; v[7] = q.w;
  }
}

// quantize_row makes the forms of one row of cols values, a warp for every 256.
DEV void quantize_row(const Forms& f, u64 row, const float* x, int cols, int warp, int warps) {
  for (int b = warp; b * 256 < cols; b += warps) {
    float v[8];
    load8(v, x, 256 * b + 8 * lane_id(), cols);
    quantize_block(f, row * cols + 256 * b, cols - 256 * b, v);
  }
}

// quantize: the forms of (rows, cols) activations that no other kernel made.
struct QuantizeArgs { const Step* step; const float* x; Forms f; int cols, which, per_row; };
static_assert(sizeof(QuantizeArgs) == 80, "mirrored in args.go");
KERNEL(quantize, QuantizeArgs, 128) { // x: a row, y: 1024 of its columns
  wait_previous();
  allow_next();
  if ((int)blockIdx.x >= count_of(a.step, a.which) * a.per_row) return;
  quantize_row(a.f, blockIdx.x, a.x + (u64)blockIdx.x * a.cols, a.cols, blockIdx.y * 4 + warp_id(), 4 * gridDim.y);
}
