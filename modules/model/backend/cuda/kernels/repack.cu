// Weights from the blocks of a GGUF file to the tiles of tiles.cuh, after upload. One warp makes one tile; rows past the
// matrix and inputs past its width are zero. src is rows × ⌈k/block⌉ blocks; dst starts at the tile of the first row.
#include "tiles.cuh"

struct RepackArgs { const u8* src; u8* dst; int type, rows, k, runs; };
static_assert(sizeof(RepackArgs) == 32, "mirrored in args.go");

DEV u32 load4(const u8* p) { return p[0] | (u32)p[1] << 8 | (u32)p[2] << 16 | (u32)p[3] << 24; }
DEV u32 load2(const u8* p) { return p[0] | (u32)p[1] << 8; }

DEV void repack_q8_0(u8* dst, const u8* src, int row0, int rows, int blocks, int s) {
  int lane = lane_id(), g = lane / 4, t = lane % 4;
  for (int j = 0; j < 8; j++) {
    u32 v[4] = {}, scale = 0;
    for (int h = 0; h < 2; h++) {
      int r = row0 + g + 8 * h;
      if (r >= rows || 8 * s + j >= blocks) continue;
      const u8* b = src + ((u64)r * blocks + 8 * s + j) * 34;
      v[h] = load4(b + 2 + 8 * t);
      v[h + 2] = load4(b + 6 + 8 * t);
      scale |= load2(b) << (16 * h);
    }
    *(uint4*)(dst + 512 * j + 16 * lane) = {v[0], v[1], v[2], v[3]};
    if (t == 0) *(u32*)(dst + 4096 + 32 * g + 4 * j) = scale;
  }
}

DEV void repack_mxfp4(u8* dst, const u8* src, int row0, int rows, int blocks, int s) {
  int lane = lane_id(), g = lane / 4, t = lane % 4;
  for (int h = 0; h < 2; h++) {
    int r = row0 + g + 8 * h;
    u32 w[8] = {}, e[2] = {};
    for (int j = 0; j < 8; j++) {
      if (r >= rows || 8 * s + j >= blocks) continue;
      const u8* b = src + ((u64)r * blocks + 8 * s + j) * 17;
      for (int i = 0; i < 8; i++) { // inputs 8t … 8t+7: low nibbles hold the first 16
        int at = 8 * t + i;
        w[j] |= (u32)(at < 16 ? b[1 + at] & 15 : b[1 + at - 16] >> 4) << (4 * i);
      }
      e[j / 4] |= (u32)b[0] << (8 * (j % 4));
    }
    *(uint4*)(dst + 1024 * h + 16 * lane) = {w[0], w[1], w[2], w[3]};
    *(uint4*)(dst + 1024 * h + 512 + 16 * lane) = {w[4], w[5], w[6], w[7]};
    if (t == 0) *(uint2*)(dst + 2048 + 16 * g + 8 * h) = {e[0], e[1]};
  }
}

DEV void repack_iq2_xxs(u8* dst, const u8* src, int row0, int rows, int blocks, int s) {
  int lane = lane_id(), g = lane / 4, t = lane % 4;
  for (int h = 0; h < 2; h++) {
    int r = row0 + g + 8 * h;
    u32 idx[2] = {}, sign[2] = {}, scale = 0, d = 0;
    if (r < rows) {
      const u8* b = src + ((u64)r * blocks + s) * 66;
      d = load2(b);
      for (int j = 0; j < 8; j++) {
        u32 w = load4(b + 6 + 8 * j), m = w >> (7 * t) & 127;
        m |= (u32)(popc(m) & 1) << 7;
        idx[j / 4] |= (u32)b[2 + 8 * j + t] << (8 * (j % 4));
        for (int i = 0; i < 8; i++) sign[j / 4] |= (m >> i & 1) << (4 * i + j % 4);
        scale |= (w >> 28) << (4 * j);
      }
    }
    *(uint2*)(dst + 16 * lane + 8 * h) = {idx[0], idx[1]};
    *(uint2*)(dst + 512 + 16 * lane + 8 * h) = {sign[0], sign[1]};
    if (t == 0) {
      *(u32*)(dst + 1024 + 8 * g + 4 * h) = scale;
      *(u16*)(dst + 1088 + 4 * g + 2 * h) = (u16)d;
    }
  }
}

DEV void repack_q2_k(u8* dst, const u8* src, int row0, int rows, int blocks, int s) {
  int lane = lane_id(), g = lane / 4, t = lane % 4;
  for (int h = 0; h < 2; h++) {
    int r = row0 + g + 8 * h;
    const u8* b = src + ((u64)r * blocks + s) * 84;
    u32 w[4] = {};
    if (r < rows)
      for (int q = 0; q < 16; q++) // quad q: inputs 32(q/2) + 8t + 4(q%2) …
        for (int i = 0; i < 4; i++) {
          int e = 32 * (q / 2) + 8 * t + 4 * (q % 2) + i;
          u32 code = b[16 + 32 * (e / 128) + e % 32] >> (2 * (e / 32 % 4)) & 3;
          w[q / 4] |= code << (8 * i + 2 * (q % 4));
        }
    *(uint4*)(dst + 512 * h + 16 * lane) = {w[0], w[1], w[2], w[3]};
    if (t < 2) { // lane t of a quad writes the scales of half t: groups 2j+t
      u32 v[2] = {};
      if (r < rows)
        for (int j = 0; j < 8; j++) v[j / 4] |= (u32)b[2 * j + t] << (8 * (j % 4));
      *(uint2*)(dst + 1024 + 16 * (2 * g + t) + 8 * h) = {v[0], v[1]};
    }
    if (t == 0) *(u32*)(dst + 1280 + 8 * g + 4 * h) = r < rows ? load4(b + 80) : 0;
  }
}

DEV void repack_q4_k(u8* dst, const u8* src, int row0, int rows, int blocks, int s) {
  int lane = lane_id(), g = lane / 4, t = lane % 4;
  for (int h = 0; h < 2; h++) {
    int r = row0 + g + 8 * h;
    const u8* b = src + ((u64)r * blocks + s) * 144;
    u32 w[8] = {}, sc[2] = {}, mn[2] = {};
    if (r < rows)
      for (int j = 0; j < 8; j++) {
        for (int i = 0; i < 8; i++) {
          u32 code = b[16 + 32 * (j / 2) + 8 * t + i] >> (4 * (j & 1)) & 15;
          w[j] |= code << (i < 4 ? 8 * i : 8 * (i - 4) + 4);
        }
        const u8* p = b + 4;
        u32 scale = j < 4 ? p[j] & 63 : (p[j + 4] & 15) | p[j - 4] >> 6 << 4;
        u32 min = j < 4 ? p[j + 4] & 63 : p[j + 4] >> 4 | p[j] >> 6 << 4;
        sc[j / 4] |= scale << (8 * (j % 4));
        mn[j / 4] |= min << (8 * (j % 4));
      }
    *(uint4*)(dst + 1024 * h + 16 * lane) = {w[0], w[1], w[2], w[3]};
    *(uint4*)(dst + 1024 * h + 512 + 16 * lane) = {w[4], w[5], w[6], w[7]};
    if (t == 0) {
      *(uint2*)(dst + 2048 + 32 * g + 8 * h) = {sc[0], sc[1]};
      *(uint2*)(dst + 2048 + 32 * g + 16 + 8 * h) = {mn[0], mn[1]};
      *(u32*)(dst + 2304 + 8 * g + 4 * h) = r < rows ? load4(b) : 0;
    }
  }
}

KERNEL(repack, RepackArgs, 256) {
  u64 tile = (u64)blockIdx.x * 8 + warp_id();
  int row0 = (int)(tile / a.runs) * 16, s = (int)(tile % a.runs);
  if (row0 >= a.rows) return;
  switch (a.type) {
    case T_Q8_0: repack_q8_0(a.dst + tile * TileQ8_0::BYTES, a.src, row0, a.rows, a.k / 32, s); break;
    case T_MXFP4: repack_mxfp4(a.dst + tile * TileMXFP4::BYTES, a.src, row0, a.rows, a.k / 32, s); break;
    case T_IQ2_XXS: repack_iq2_xxs(a.dst + tile * TileIQ2_XXS::BYTES, a.src, row0, a.rows, a.k / 256, s); break;
    case T_Q2_K: repack_q2_k(a.dst + tile * TileQ2_K::BYTES, a.src, row0, a.rows, a.k / 256, s); break;
    case T_Q4_K: repack_q4_k(a.dst + tile * TileQ4_K::BYTES, a.src, row0, a.rows, a.k / 256, s); break;
  }
}
