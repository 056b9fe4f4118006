// What clang needs in place of the CUDA SDK: qualifiers, index variables, and the instructions that the kernels use.
// With SIM defined the same names run on the host (see ../sim), so that the conformance suite needs no card.
#pragma once
typedef unsigned char u8;
typedef signed char i8;
typedef unsigned short u16;
typedef short i16;
typedef unsigned int u32;
typedef unsigned long long u64;

struct __attribute__((aligned(8))) int2 { int x, y; };
struct __attribute__((aligned(8))) uint2 { u32 x, y; };
struct __attribute__((aligned(16))) uint4 { u32 x, y, z, w; };
struct __attribute__((aligned(8))) float2 { float x, y; };
struct __attribute__((aligned(16))) float4 { float x, y, z, w; };

#ifdef SIM
#include "../sim/src/sim.h"
#else

#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __constant__ __attribute__((constant))
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#include <__clang_cuda_builtin_vars.h>
#define DEV static __device__ __forceinline__
#define DEVM __device__ __forceinline__
#define KERNEL(name, Args, ...) extern "C" __global__ void __launch_bounds__(__VA_ARGS__) name(const Args a)
#define SHARED __shared__
extern __shared__ __attribute__((aligned(128))) u8 dynamic_shared[];
#define UNROLL _Pragma("unroll")

DEV void sync_block() { __nvvm_bar_sync(0); }
DEV void sync_warp() { asm volatile("bar.warp.sync 0xffffffff;" ::: "memory"); }
DEV u32 shfl_xor(u32 v, int mask) { return (u32)__nvvm_shfl_sync_bfly_i32(~0u, (int)v, mask, 31); }
DEV u32 shfl(u32 v, int lane) { return (u32)__nvvm_shfl_sync_idx_i32(~0u, (int)v, lane, 31); }
DEV u32 ballot(bool p) { return __nvvm_vote_ballot_sync(~0u, p); }
DEV int popc(u32 v) { return __builtin_popcount(v); }

DEV float fma_rn(float a, float b, float c) { float r; asm("fma.rn.f32 %0,%1,%2,%3;" : "=f"(r) : "f"(a), "f"(b), "f"(c)); return r; }
DEV float sqrt_rn(float x) { float r; asm("sqrt.rn.f32 %0,%1;" : "=f"(r) : "f"(x)); return r; }
DEV float rint_even(float x) { float r; asm("cvt.rni.f32.f32 %0,%1;" : "=f"(r) : "f"(x)); return r; }
DEV float exp2_fast(float x) { float r; asm("ex2.approx.ftz.f32 %0,%1;" : "=f"(r) : "f"(x)); return r; }
DEV float reciprocal_fast(float x) { float r; asm("rcp.approx.ftz.f32 %0,%1;" : "=f"(r) : "f"(x)); return r; }
DEV float log2_fast(float x) { float r; asm("lg2.approx.f32 %0,%1;" : "=f"(r) : "f"(x)); return r; }
DEV float half_float(u16 h) { float f; asm("cvt.f32.f16 %0,%1;" : "=f"(f) : "h"(h)); return f; }
DEV u16 float_half(float f) { u16 h; asm("cvt.rn.f16.f32 %0,%1;" : "=h"(h) : "f"(f)); return h; }
DEV u32 half2_mul(u32 a, u32 b) { u32 r; asm("mul.rn.f16x2 %0,%1,%2;" : "=r"(r) : "r"(a), "r"(b)); return r; }
DEV u32 byte_perm(u32 a, u32 b, u32 s) { u32 r; asm("prmt.b32 %0,%1,%2,%3;" : "=r"(r) : "r"(a), "r"(b), "r"(s)); return r; }

DEV uint4 load16(const void* p) { // streamed: read once by this launch
  uint4 r;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3},[%4];" : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w) : "l"(p));
  return r;
}

// mma_s8 is c += A·B for a 16×32 by 32×8 int8 tile: lane 4g+t holds rows g, g+8 of A and column g of B.
DEV void mma_s8(int (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3]) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
// mma_s8_zero is c = A·B.
DEV void mma_s8_zero(int (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%10,%10,%10,%10};"
      : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3]) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1), "r"(0));
}
// mma_s8_from is c = A·B + from.
DEV void mma_s8_from(int (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1, int from) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%10,%10,%10,%10};"
      : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3]) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1), "r"(from));
}
// mma_f16 is the same for a 16×16 by 16×8 f16 tile with f32 sums.
DEV void mma_f16(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
DEV u32 shared_addr(const void* p) { return (u32)(u64)(__attribute__((address_space(3))) const void*)p; }
// load_matrices_t loads four transposed 8×8 f16 matrices; lane i gives the address of row i%8 of matrix i/8.
DEV void load_matrices_t(u32 (&r)[4], const void* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3},[%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_addr(p)) : "memory");
}
DEV void load_matrices(u32 (&r)[4], const void* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3},[%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_addr(p)) : "memory");
}
DEV void copy16_async(void* dst, const void* src) {
  asm volatile("cp.async.cg.shared.global [%0],[%1],16;" ::"r"(shared_addr(dst)), "l"(src) : "memory");
}
DEV void copy4_async(void* dst, const void* src) {
  asm volatile("cp.async.ca.shared.global [%0],[%1],4;" ::"r"(shared_addr(dst)), "l"(src) : "memory");
}
DEV void copies_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> DEV void copies_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
DEV u32 atomic_add(u32* p, u32 v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }

// Programmatic dependent launch: nothing that the launch before wrote may be read before wait_previous.
DEV void wait_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
DEV void allow_next() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
#endif

DEV float as_float(u32 v) { return __builtin_bit_cast(float, v); }
DEV u32 as_uint(float v) { return __builtin_bit_cast(u32, v); }
DEV float abs_f(float x) { return __builtin_fabsf(x); }
DEV float max_f(float a, float b) { return __builtin_fmaxf(a, b); }
DEV float min_f(float a, float b) { return __builtin_fminf(a, b); }
DEV int min_i(int a, int b) { return a < b ? a : b; }
DEV int max_i(int a, int b) { return a > b ? a : b; }
