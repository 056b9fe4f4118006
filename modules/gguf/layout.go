package gguf

// Layouts of the quantised blocks this package encodes and decodes. Every
// multi-byte field is little endian; offsets are bytes from the block's start.
// These constants are the one home of the layouts: kernels are checked
// against them.

// Elements per block.
const (
	QK8_0   = 32  // Q8_0
	QKMXFP4 = 32  // MXFP4
	QK_K    = 256 // Q2_K, Q4_K, IQ2_XXS, Q8_K
)

// Q8_0: d f16, then 32 codes int8. y[i] = d*q[i].
const (
	Q8_0OffD  = 0
	Q8_0OffQ  = 2
	Q8_0Bytes = 34
)

// Q2_K: 16 bytes of scale (low nibble) and minimum (high nibble), one per 16
// elements; 64 bytes of 2-bit codes; d f16; dmin f16.
//
// Element i has its code in byte 32*(i/128) + i%32, bits 2p and 2p+1 with
// p = i%128/32. y[i] = d*scale[i/16]*code - dmin*min[i/16].
const (
	Q2_KOffScales = 0
	Q2_KOffQ      = 16
	Q2_KOffD      = 80
	Q2_KOffDMin   = 82
	Q2_KBytes     = 84
)

// Q4_K: d f16; dmin f16; 12 bytes with eight 6-bit scales and eight 6-bit
// minimums ([Q4_KScaleMin] unpacks them); 128 bytes of 4-bit codes.
//
// Element i of sub-block j = i/32 has its code in byte 32*(j/2) + i%32, low
// nibble when j is even. y[i] = d*scale[j]*code - dmin*min[j].
const (
	Q4_KOffD      = 0
	Q4_KOffDMin   = 2
	Q4_KOffScales = 4
	Q4_KOffQ      = 16
	Q4_KBytes     = 144
)

// IQ2_XXS: d f16, then 8 groups of 8 bytes, one per 32 elements. A group is
// u32 a (four grid indices, 8 bits each) and u32 b (four 7-bit sign indices
// and, in the top 4 bits, the group's scale s).
//
// y = d * (0.5 + s) * 0.25 * (sign * magnitude), magnitudes from
// [IQ2XXSGrid], signs from [IQ2XXSSigns].
const (
	IQ2_XXSOffD   = 0
	IQ2_XXSOffQ   = 2
	IQ2_XXSGroup  = 8
	IQ2_XXSBytes  = 66
	IQ2_XXSGroups = 8
)

// Q8_K: d f32, 256 codes int8, 16 sums int16 of 16 consecutive codes.
// Activations only, never stored in files. x[i] ~ d*q[i].
const (
	Q8_KOffD    = 0
	Q8_KOffQ    = 4
	Q8_KOffSums = 260
	Q8_KBytes   = 292
)

// MXFP4: one E8M0 exponent, then 16 bytes of E2M1 codes; low nibbles are
// elements 0-15, high nibbles elements 16-31. y = [E2M1ToFloat32](code) * 2^(e-127).
const (
	MXFP4OffE  = 0
	MXFP4OffQ  = 1
	MXFP4Bytes = 17
)

// Q4_KScaleMin unpacks the 6-bit scale and minimum of sub-block j (0..7) from
// the 12 bytes at [Q4_KOffScales].
func Q4_KScaleMin(s *[12]byte, j int) (scale, minimum uint8) {
	if j < 4 {
		return s[j] & 63, s[j+4] & 63
	}
	return s[j+4]&15 | s[j-4]>>6<<4, s[j+4]>>4 | s[j]>>6<<4
}

// Q4_KPackScaleMin is the inverse of [Q4_KScaleMin] for all eight sub-blocks;
// scales and minimums are 0..63.
func Q4_KPackScaleMin(s *[12]byte, scale, minimum *[8]uint8) {
	*s = [12]byte{}
	for j := range 4 {
		s[j] = scale[j]&63 | scale[j+4]>>4<<6
		s[j+4] = minimum[j]&63 | minimum[j+4]>>4<<6
		s[j+8] = scale[j+4]&15 | minimum[j+4]&15<<4
	}
}
