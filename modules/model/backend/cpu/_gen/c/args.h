// Argument blocks of the kernels. Every field is 8 bytes, so that C and Go agree by construction; the generator writes the
// Go side from this file. Strides are in elements of the array they belong to.
#pragma once

typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef int i32;
typedef unsigned int u32;
typedef float f32;
typedef long i64;
typedef unsigned long u64;

// vecArgs: one activation row times as many rows of packed weights as there are lanes.
struct vecArgs {
	const u8 *w;    // first weight row
	i64 stride;     // bytes from one weight row to the next
	i64 blocks;     // blocks of a row; for F16 and F32 elements
	const i8 *x;    // quantised activations, or
	const f32 *xf;  // plain ones
	const f32 *xd;  // scale of each block
	const i32 *xn;  // -128 times the sum of each 32 activations
	const i16 *xs;  // sum of each 16 activations
	f32 *out;       // (lanes)
	u8 *tmp;        // 4 KiB, and 128 bytes for each block of 256 or 64 for each of 32
	const struct iq2Tables *iq2;
};

// iq2Tables: the codebook and the signs of IQ2_XXS.
struct iq2Tables {
	u64 grid[256];  // eight magnitudes, a byte each
	u64 signs[128]; // 0 or 255 for each of eight
	u16 codes[256]; // eight digits of two bits
	u8 digits[512]; // the low four digits of each, then the high four
};

// tileArgs: as many packed weight rows as there are lanes, to their part of a tile. A tile is one record for each block, so
// that one pointer serves it:
//
//	blocks of 32    codes (8, rows, 4), scales f32 (rows)
//	blocks of 256   codes (64, rows, 4), scales of 32 codes i32 (8, rows), minimums of 16 codes i16 (8, rows, 2), scales f32
//	                (rows), scales of the minimums f32 (rows)
//	F16 and F32     values f32 (rows)
struct tileArgs {
	const u8 *w;    // first block of the first row
	i64 stride;     // bytes from one weight row to the next
	i64 blocks;     // blocks of a row to unpack; for F16 and F32 elements, a multiple of the lanes
	u8 *tile;       // from the lanes' column on; there is room for one record beyond
	u8 *tmp;        // 8 KiB
	const struct iq2Tables *iq2;
};

// gemmArgs: one tile of weight rows times a batch of n activation rows, 1, 2 or 4 (F16 and F32 weights: any number). A batch
// too is one record for each block:
//
//	blocks of 32    activations i8 (n, 32), scales f32 (n), -128 times the sum of each i32 (n)
//	blocks of 256   activations i8 (n, 256), -128 times the sum of each 32 i32 (8, n), sums of 16 i16 (8, n, 2), scales f32 (n)
struct gemmArgs {
	const u8 *tile;
	const u8 *x;
	const f32 *xf;  // (n, cols) plain activations
	f32 *out;       // (n, tile rows)
	i64 n;
	i64 cols;
	i64 blocks;     // of the tile; for F16 and F32 elements
	i64 first;      // 1: out is written, 0: added to
	const u8 *next;    // what is unpacked next, fetched meanwhile (blocks of 32)
	i64 nextRows;    // so many rows of it with every block
	i64 nextBytes;   // so many bytes of a row
	i64 nextStride;  // bytes from one row to the next
};

// actArgs: one activation row to integers.
struct actArgs {
	const f32 *x;
	i64 blocks;     // of 32, or of 256
	i8 *q;
	f32 *d;         // (blocks) scales
	i32 *xn;        // -128 times the sum of each 32
	i16 *xs;        // the sum of each 16; blocks of 256 alone
};

// kvArgs: packed cache rows to f32.
struct kvArgs {
	const u8 **rows;
	i64 n;          // rows
	i64 nope;       // E4M3 values of a row, a multiple of 64; rope f16 values and the exponents follow
	i64 rope;       // a multiple of 16
	f32 *out;       // (n, nope+rope)
};

// attendArgs: one query row, as many heads as there are lanes, over n unpacked rows.
struct attendArgs {
	const f32 *q;   // (dim, tile rows), as tileF32 leaves it: the lanes' column
	const f32 *kv;  // (n, dim)
	f32 *s;         // (n, lanes): scores out, or weights in
	f32 *o;         // (lanes, dim)
	i64 n;
	i64 dim;        // a multiple of 16
	f32 *scale;     // one value, times every score
};

// hcArgs: n columns of the four streams, a multiple of 16.
struct hcArgs {
	f32 *hc;        // stream s starts at hc + s*width
	const f32 *y;
	f32 *x;
	const f32 *mix; // pre 4, post 4, comb 16
	i64 width;
	i64 n;
};

// expArgs: exponentials of n values, a multiple of the lanes, or of n vectors of lanes. done counts those that are done: a kernel that
// returns early leaves the next vector to the plain functions.
struct expArgs {
	f32 *x;
	const f32 *u;
	f32 *out;
	const f32 *with; // clamp and weight, or the greatest of each lane
	i64 n;
	i64 done;
};
