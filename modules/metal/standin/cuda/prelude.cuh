// What the kernels' sources need of metal_stdlib, in CUDA: for nvcc, and for clang as a check of syntax. One thread of a warp is a
// lane of a simdgroup. Nothing is fast here; everything is exact where Metal is (nvcc -fmad=false, IEEE division and root).
#pragma once
#ifndef __NVCC__
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __launch_bounds__(n) __attribute__((launch_bounds(n)))
#include <__clang_cuda_builtin_vars.h>
extern "C" __device__ float expf(float), logf(float), sqrtf(float), rintf(float), fabsf(float), fmaf(float, float, float);
extern "C" __device__ int __popc(unsigned);
extern "C" __device__ unsigned atomicAdd(unsigned *, unsigned);
extern "C" __device__ void __syncthreads(), __syncwarp();
template<typename T> __device__ T __shfl_sync(unsigned, T, int);
template<typename T> __device__ T __shfl_xor_sync(unsigned, T, int);
template<typename T> __device__ T __shfl_up_sync(unsigned, T, unsigned);
#endif

// The whole call of a kernel: what is bound, and the bytes at index 0.
struct msl_call { void *b[31]; alignas(16) unsigned char args[1024]; };

namespace msl {
#define MSL static __device__ inline
#define INFINITY_BITS 0x7f800000
typedef unsigned char uchar; typedef unsigned short ushort; typedef unsigned int uint; typedef unsigned long ulong;

template<typename To, typename From> MSL To as_type(From x) {
  static_assert(sizeof(To) == sizeof(From), "as_type of another size");
  To t; __builtin_memcpy(&t, &x, sizeof t); return t;
}
#undef INFINITY
#define INFINITY (as_type<float>(uint(INFINITY_BITS)))

struct half {
  ushort bits;
  half() = default;
  __device__ half(float v) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(v)); }
  __device__ operator float() const { float v; asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"(bits)); return v; }
};
struct alignas(8) half4 { half x, y, z, w; };
struct uint2 { uint x, y; uint2() = default; __device__ uint2(uint a, uint b) : x(a), y(b) {} };
struct uint3 { uint x, y, z; __device__ uint3(uint a, uint b, uint c) : x(a), y(b), z(c) {} };

MSL float exp(float x) { return ::expf(x); }
MSL float log(float x) { return ::logf(x); }
MSL float sqrt(float x) { return ::sqrtf(x); }
MSL float rint(float x) { return ::rintf(x); }
MSL float fabs(float x) { return ::fabsf(x); }
MSL float fma(float a, float b, float c) { return ::fmaf(a, b, c); }
MSL uint popcount(uint x) { return ::__popc(x); }
MSL bool isnan(float x) { return x != x; }
MSL bool isinf(float x) { return (as_type<uint>(x) & 0x7fffffff) == INFINITY_BITS; }
template<typename T> MSL T max(T a, T b) { return a > b ? a : b; }
template<typename T> MSL T min(T a, T b) { return a < b ? a : b; }
template<typename T> MSL T clamp(T x, T a, T b) { return min(max(x, a), b); }
namespace precise { using msl::exp; using msl::log; using msl::sqrt; }

struct mem_flags { enum flag { mem_none = 0, mem_device = 1, mem_threadgroup = 2 }; };
MSL void threadgroup_barrier(int) { __syncthreads(); }
MSL void simdgroup_barrier(int) { __syncwarp(); }
MSL uint msl_tindex() { return threadIdx.x; }

static const unsigned all_lanes = 0xffffffffu;
template<typename T> MSL T simd_shuffle(T v, int l) { return __shfl_sync(0xffffffffu, v, l & 31); }
template<typename T> MSL T simd_shuffle_xor(T v, int l) { return __shfl_xor_sync(0xffffffffu, v, l); }
template<typename T> MSL T simd_broadcast(T v, int l) { return simd_shuffle(v, l); }
template<typename T> MSL T simd_sum(T v) { for (int m = 16; m; m >>= 1) v += simd_shuffle_xor(v, m); return v; }
template<typename T> MSL T simd_max(T v) { for (int m = 16; m; m >>= 1) v = max(v, simd_shuffle_xor(v, m)); return v; }
template<typename T> MSL T simd_min(T v) { for (int m = 16; m; m >>= 1) v = min(v, simd_shuffle_xor(v, m)); return v; }
template<typename T> MSL T simd_prefix_exclusive_sum(T v) {
  const int lane = msl_tindex() & 31;
  T s = v;
  for (int m = 1; m < 32; m <<= 1) { const T o = __shfl_up_sync(0xffffffffu, s, m); if (lane >= m) s += o; }
  return s - v;
}

struct atomic_uint { uint v; };
enum { memory_order_relaxed };
MSL uint atomic_fetch_add_explicit(atomic_uint *p, uint n, int) { return ::atomicAdd(&p->v, n); }
MSL uint atomic_load_explicit(atomic_uint *p, int) { return *(volatile uint *)&p->v; }
MSL void atomic_store_explicit(atomic_uint *p, uint n, int) { *(volatile uint *)&p->v = n; }

// An 8×8 matrix: lane l holds row l/4, columns 2(l mod 4) and the next. Products are taken in f32, ascending.
template<typename T, int R, int C> struct simdgroup_matrix { T e[2]; };
#define thread_elements() e
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
template<typename T, int R, int C> MSL simdgroup_matrix<T, R, C> make_filled_simdgroup_matrix(T v) { simdgroup_matrix<T, R, C> m; m.e[0] = m.e[1] = v; return m; }
template<typename T> MSL void simdgroup_load(simdgroup_matrix<T, 8, 8> &m, const T *p, ulong stride = 8, int = 0, bool t = false) {
  const int l = msl_tindex() & 31, r = l / 4, c = 2 * (l & 3);
  for (int j = 0; j < 2; j++) m.e[j] = t ? p[(c + j) * stride + r] : p[r * stride + c + j];
}
template<typename T> MSL void simdgroup_store(simdgroup_matrix<T, 8, 8> m, T *p, ulong stride = 8) {
  const int l = msl_tindex() & 31, r = l / 4, c = 2 * (l & 3);
  for (int j = 0; j < 2; j++) p[r * stride + c + j] = m.e[j];
}
template<typename A, typename B>
MSL void simdgroup_multiply_accumulate(simdgroup_float8x8 &d, simdgroup_matrix<A, 8, 8> &a, simdgroup_matrix<B, 8, 8> &b, simdgroup_float8x8 &c) {
  const int l = msl_tindex() & 31;
  float s[2] = {c.e[0], c.e[1]};
  for (int k = 0; k < 8; k++) {
    const float x = simd_shuffle(float(a.e[k & 1]), (l & ~3) + k / 2);
    for (int j = 0; j < 2; j++) s[j] = fma(x, simd_shuffle(float(b.e[j]), 4 * k + (l & 3)), s[j]);
  }
  d.e[0] = s[0];
  d.e[1] = s[1];
}
