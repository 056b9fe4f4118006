// The host stand-in for a CUDA device: one fiber a thread, rendezvous for everything that a warp or a block does together.
// Slow and exact about what it checks: that all lanes arrive, and that results are what the instructions define.
#pragma once
#include <math.h>
#include <string.h>

#define __device__
#define __constant__
#define __forceinline__ inline
#define DEV static inline
#define DEVM inline
#define UNROLL
#define SHARED static thread_local
struct dim { int x, y, z; };

namespace sim {
extern thread_local dim thread, block, block_dim, grid_dim;
extern thread_local u8* dynamic;
typedef void (*entry)(const void*);
struct registrar { registrar(const char* name, entry e, int args); };
const u8* rendezvous(const void* mine, int bytes); // all 32 lanes' operands, 64 bytes apart
void barrier();
}  // namespace sim
#define threadIdx sim::thread
#define blockIdx sim::block
#define blockDim sim::block_dim
#define gridDim sim::grid_dim
#define dynamic_shared sim::dynamic

#define KERNEL(name, Args, ...)                                                            \
  static void name(const Args& a);                                                         \
  static void name##_entry(const void* p) { name(*(const Args*)p); }                       \
  static sim::registrar name##_registered(#name, name##_entry, sizeof(Args));              \
  static void name(const Args& a)

DEV void sync_block() { sim::barrier(); }
DEV int sim_lane() { return threadIdx.x & 31; }
DEV void sync_warp() { u32 x = 0; sim::rendezvous(&x, 4); }
DEV u32 shfl(u32 v, int lane) { u32 r; memcpy(&r, sim::rendezvous(&v, 4) + 64 * (lane & 31), 4); return r; }
DEV u32 shfl_xor(u32 v, int mask) { return shfl(v, sim_lane() ^ mask); }
DEV u32 ballot(bool p) {
  u32 v = p, r = 0;
  const u8* all = sim::rendezvous(&v, 4);
  for (int i = 0; i < 32; i++) r |= (u32)all[64 * i] << i;
  return r;
}
DEV int popc(u32 v) { return __builtin_popcount(v); }
DEV float fma_rn(float a, float b, float c) { return fmaf(a, b, c); }
DEV float sqrt_rn(float x) { return sqrtf(x); }
DEV float rint_even(float x) { return rintf(x); }
DEV float exp2_fast(float x) { return exp2f(x); }
DEV float reciprocal_fast(float x) { return 1.0f / x; }
DEV float log2_fast(float x) { return log2f(x); }
DEV float half_float(u16 h) { return (float)__builtin_bit_cast(_Float16, h); }
DEV u16 float_half(float f) { return __builtin_bit_cast(u16, (_Float16)f); }
DEV u32 half2_mul(u32 a, u32 b) {
  u32 r = 0;
  for (int i = 0; i < 32; i += 16) r |= (u32)float_half(half_float((u16)(a >> i)) * half_float((u16)(b >> i))) << i;
  return r;
}
DEV u32 byte_perm(u32 a, u32 b, u32 s) {
  u64 v = (u64)b << 32 | a;
  u32 r = 0;
  for (int i = 0; i < 4; i++) {
    u32 k = s >> (4 * i) & 15;
    u8 c = (u8)(v >> (8 * (k & 7)));
    r |= (u32)(k & 8 ? (c & 0x80 ? 0xff : 0) : c) << (8 * i);
  }
  return r;
}
DEV uint4 load16(const void* p) { return *(const uint4*)p; }

DEV int dot4(u32 a, u32 b) {
  int s = 0;
  for (int i = 0; i < 32; i += 8) s += (int)(i8)(a >> i) * (i8)(b >> i);
  return s;
}
DEV void mma_s8(int (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  u32 mine[6] = {a0, a1, a2, a3, b0, b1};
  const u8* all = sim::rendezvous(mine, 24);
  int g = sim_lane() / 4, t = sim_lane() % 4;
  for (int i = 0; i < 4; i++)
    for (int k = 0; k < 4; k++) {
      const u32* A = (const u32*)(all + 64 * (4 * g + k));
      const u32* B = (const u32*)(all + 64 * (4 * (2 * t + (i & 1)) + k));
      c[i] += dot4(A[i / 2], B[4]) + dot4(A[i / 2 + 2], B[5]);
    }
}
DEV void mma_s8_zero(int (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  for (int i = 0; i < 4; i++) c[i] = 0;
  mma_s8(c, a0, a1, a2, a3, b0, b1);
}
DEV void mma_s8_from(int (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1, int from) {
  for (int i = 0; i < 4; i++) c[i] = from;
  mma_s8(c, a0, a1, a2, a3, b0, b1);
}
DEV float pair_dot(u32 a, u32 b) {
  return half_float((u16)a) * half_float((u16)b) + half_float((u16)(a >> 16)) * half_float((u16)(b >> 16));
}
DEV void mma_f16(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  u32 mine[6] = {a0, a1, a2, a3, b0, b1};
  const u8* all = sim::rendezvous(mine, 24);
  int g = sim_lane() / 4, t = sim_lane() % 4;
  for (int i = 0; i < 4; i++) {
    float s = 0;
    for (int k = 0; k < 4; k++) {
      const u32* A = (const u32*)(all + 64 * (4 * g + k));
      const u32* B = (const u32*)(all + 64 * (4 * (2 * t + (i & 1)) + k));
      s += pair_dot(A[i / 2], B[4]) + pair_dot(A[i / 2 + 2], B[5]);
    }
    c[i] += s;
  }
}
DEV void load_matrices_t(u32 (&r)[4], const void* p) {
  const u8* all = sim::rendezvous(&p, sizeof p);
  int g = sim_lane() / 4, t = sim_lane() % 4;
  for (int j = 0; j < 4; j++) {
    u16 v[2];
    for (int k = 0; k < 2; k++) v[k] = (*(const u16**)(all + 64 * (8 * j + 2 * t + k)))[g];
    r[j] = v[0] | (u32)v[1] << 16;
  }
}
DEV void load_matrices(u32 (&r)[4], const void* p) {
  const u8* all = sim::rendezvous(&p, sizeof p);
  int g = sim_lane() / 4, t = sim_lane() % 4;
  for (int j = 0; j < 4; j++) memcpy(&r[j], *(const u8**)(all + 64 * (8 * j + g)) + 4 * t, 4);
}
DEV void copy16_async(void* dst, const void* src) { memcpy(dst, src, 16); }
DEV void copy4_async(void* dst, const void* src) { memcpy(dst, src, 4); }
DEV void copies_commit() {}
template <int N> DEV void copies_wait() {}
DEV u32 atomic_add(u32* p, u32 v) { u32 o = *p; *p += v; return o; }
DEV void wait_previous() {}
DEV void allow_next() {}
