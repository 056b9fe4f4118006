// Code generated from _gen by clang 19. DO NOT EDIT.

package cpu

// vecArgs: one activation row times as many rows of packed weights as there are lanes.
type vecArgs struct {
	w      *byte    // first weight row
	stride int      // bytes from one weight row to the next
	blocks int      // blocks of a row; for F16 and F32 elements
	x      *int8    // quantised activations, or
	xf     *float32 // plain ones
	xd     *float32 // scale of each block
	xn     *int32   // -128 times the sum of each 32 activations
	xs     *int16   // sum of each 16 activations
	out    *float32 // (lanes)
	tmp    *byte    // 4 KiB, and 128 bytes for each block of 256 or 64 for each of 32
	iq2    *iq2Tables
}

// iq2Tables: the codebook and the signs of IQ2_XXS.
type iq2Tables struct {
	grid   [256]uint64 // eight magnitudes, a byte each
	signs  [128]uint64 // 0 or 255 for each of eight
	codes  [256]uint16 // eight digits of two bits
	digits [512]byte   // the low four digits of each, then the high four
}

// tileArgs: as many packed weight rows as there are lanes, to their part of a tile. A tile is one record for each block, so
// that one pointer serves it:
//
//	blocks of 32    codes (8, rows, 4), scales f32 (rows)
//	blocks of 256   codes (64, rows, 4), scales of 32 codes i32 (8, rows), minimums of 16 codes i16 (8, rows, 2), scales f32
//	                (rows), scales of the minimums f32 (rows)
//	F16 and F32     values f32 (rows)
type tileArgs struct {
	w      *byte // first block of the first row
	stride int   // bytes from one weight row to the next
	blocks int   // blocks of a row to unpack; for F16 and F32 elements, a multiple of the lanes
	tile   *byte // from the lanes' column on; there is room for one record beyond
	tmp    *byte // 8 KiB
	iq2    *iq2Tables
}

// gemmArgs: one tile of weight rows times a batch of n activation rows, 1, 2 or 4 (F16 and F32 weights: any number). A batch
// too is one record for each block:
//
//	blocks of 32    activations i8 (n, 32), scales f32 (n), -128 times the sum of each i32 (n)
//	blocks of 256   activations i8 (n, 256), -128 times the sum of each 32 i32 (8, n), sums of 16 i16 (8, n, 2), scales f32 (n)
type gemmArgs struct {
	tile       *byte
	x          *byte
	xf         *float32 // (n, cols) plain activations
	out        *float32 // (n, tile rows)
	n          int
	cols       int
	blocks     int   // of the tile; for F16 and F32 elements
	first      int   // 1: out is written, 0: added to
	next       *byte // what is unpacked next, fetched meanwhile (blocks of 32)
	nextRows   int   // so many rows of it with every block
	nextBytes  int   // so many bytes of a row
	nextStride int   // bytes from one row to the next
}

// actArgs: one activation row to integers.
type actArgs struct {
	x      *float32
	blocks int // of 32, or of 256
	q      *int8
	d      *float32 // (blocks) scales
	xn     *int32   // -128 times the sum of each 32
	xs     *int16   // the sum of each 16; blocks of 256 alone
}

// kvArgs: packed cache rows to f32.
type kvArgs struct {
	rows **byte
	n    int      // rows
	nope int      // E4M3 values of a row, a multiple of 64; rope f16 values and the exponents follow
	rope int      // a multiple of 16
	out  *float32 // (n, nope+rope)
}

// attendArgs: one query row, as many heads as there are lanes, over n unpacked rows.
type attendArgs struct {
	q     *float32 // (dim, tile rows), as tileF32 leaves it: the lanes' column
	kv    *float32 // (n, dim)
	s     *float32 // (n, lanes): scores out, or weights in
	o     *float32 // (lanes, dim)
	n     int
	dim   int      // a multiple of 16
	scale *float32 // one value, times every score
}

// hcArgs: n columns of the four streams, a multiple of 16.
type hcArgs struct {
	hc    *float32 // stream s starts at hc + s*width
	y     *float32
	x     *float32
	mix   *float32 // pre 4, post 4, comb 16
	width int
	n     int
}

// expArgs: exponentials of n values, a multiple of the lanes, or of n vectors of lanes. done counts those that are done: a kernel that
// returns early leaves the next vector to the plain functions.
type expArgs struct {
	x    *float32
	u    *float32
	out  *float32
	with *float32 // clamp and weight, or the greatest of each lane
	n    int
	done int
}
