// Index rows and queries: a Hadamard transform of 128 values, rounded to E2M1 in blocks of 32.
#pragma once
#include "common.cuh"

// hadamard is the normalised Walsh–Hadamard transform of 128 values, four a lane: element 32·i + lane.
DEV void hadamard(float (&v)[4]) {
  UNROLL for (int o = 1; o < 32; o *= 2)
    UNROLL for (int i = 0; i < 4; i++) {
      float u = shfl_xor_f(v[i], o);
      v[i] = lane_id() & o ? u - v[i] : v[i] + u;
    }
  float a = v[0] + v[1], b = v[0] - v[1], c = v[2] + v[3], d = v[2] - v[3];
  v[0] = a + c; v[1] = b + d; v[2] = a - c; v[3] = b - d;
  UNROLL for (int i = 0; i < 4; i++) v[i] *= 0.08838834764831845f;
}

// index_codes rounds the four blocks of 32 to E2M1: code i of the lane belongs to element 32·i + lane, exponent i to its block.
DEV void index_codes(const float (&v)[4], u8 (&code)[4], int (&e)[4]) {
  UNROLL for (int i = 0; i < 4; i++) {
    float m = max_f(warp_max(abs_f(v[i])), 7.052966104933725e-38f) / 6.0f;
    e[i] = as_uint(m) < 0x800000 ? -126 : block_exponent(m);
    float x = e[i] < -100 ? v[i] * pow2(100) * pow2(-e[i] - 100) : v[i] * pow2(-e[i]);
    code[i] = float_e2m1(min_f(max_f(x, -6), 6));
  }
}
