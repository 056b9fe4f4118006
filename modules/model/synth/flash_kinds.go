package synth

import (
	"encoding/binary"
	"math"

	"github.com/ds4-go/ds4/modules/gguf"
)

// hashTable is (vocabulary, k) i32: k distinct experts for every token.
func (s stream) hashTable(experts, k int) filler {
	return filler{4 * k, func(dst []byte, off int64) {
		first := off / int64(4*k)
		for i := 0; i < len(dst)/4; i++ {
			e := s.at(uint64(first)+uint64(i/k)) % uint64(experts)
			binary.LittleEndian.PutUint32(dst[4*i:], uint32((e+5*uint64(i%k))%uint64(experts)))
		}
	}}
}

// floats is uniform in off ± amp.
func (s stream) floats(amp, off float64) filler {
	return filler{4, func(dst []byte, at int64) {
		for i := 0; i < len(dst)/4; i++ {
			v := off + amp*(2*s.unit(uint64(at/4)+uint64(i))-1)
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(float32(v)))
		}
	}}
}

// levels are the values of a table in f16, spread evenly over off ± amp.
func levels(amp, off float64) *[1 << levelBits]uint16 {
	var t [1 << levelBits]uint16
	for i := range t {
		t[i] = half(off + amp*(2*(float64(i)+0.5)/float64(len(t))-1))
	}
	return &t
}

// halves takes four values from each word of the generator.
func (s stream) halves(amp, off float64) filler {
	t := levels(amp, off)
	return filler{8, func(dst []byte, at int64) {
		i := uint64(at / 8)
		for ; len(dst) >= 8; i, dst = i+1, dst[8:] {
			r := s.at(i)
			binary.LittleEndian.PutUint64(dst, uint64(t[r&levelMask])|uint64(t[r>>16&levelMask])<<16|
				uint64(t[r>>32&levelMask])<<32|uint64(t[r>>48&levelMask])<<48)
		}
		for r := s.at(i); len(dst) >= 2; r, dst = r>>16, dst[2:] {
			binary.LittleEndian.PutUint16(dst, t[r&levelMask])
		}
	}}
}

// words fills dst with the byte stream. Q8_0 has no code of −128: no quantiser writes one, and kernels that take
// absolute values rely on it.
func (s stream) words(dst []byte, off int64, no80 bool) {
	i := uint64(off / 8)
	for ; len(dst) >= 8; i, dst = i+1, dst[8:] {
		r := s.at(i)
		if no80 {
			r |= has80(r)
		}
		binary.LittleEndian.PutUint64(dst, r)
	}
	if len(dst) > 0 {
		r := s.at(i)
		if no80 {
			r |= has80(r)
		}
		var last [8]byte
		binary.LittleEndian.PutUint64(last[:], r)
		copy(dst, last[:])
	}
}

// has80 has the lowest bit set of every byte that is 0x80.
func has80(r uint64) uint64 {
	const low = 0x7f7f7f7f7f7f7f7f
	x := r ^ 0x8080808080808080
	return ^((x&low + low) | x | low) >> 7
}

// blocks are random bytes throughout, but for the scales: the random bits in their place choose them from tables.
func (s stream) blocks(typ gguf.Type, amp float64) filler {
	f, size := blockFields[typ], typ.BlockBytes()
	d := levels(amp/2, amp) // amp × 0.5 … 1.5
	dmin := levels(f.ratio*amp/2, f.ratio*amp)
	return filler{8 * size, func(dst []byte, off int64) {
		s.words(dst, off, typ == gguf.TypeQ8_0)
		for b := 0; b+size <= len(dst); b += size {
			at := dst[b+f.d:]
			i := binary.LittleEndian.Uint16(at) & levelMask
			binary.LittleEndian.PutUint16(at, d[i])
			if f.dmin >= 0 {
				binary.LittleEndian.PutUint16(dst[b+f.dmin:], dmin[i])
			}
		}
	}}
}

// mxfp4 are random codes under one of two scales.
func (s stream) mxfp4(amp float64) filler {
	size := gguf.TypeMXFP4.BlockBytes()
	exp := 128 + math.Ilogb(amp) // codes are doubled: the scale is 2^(exp−128)
	return filler{8 * size, func(dst []byte, off int64) {
		s.words(dst, off, false)
		for b := 0; b < len(dst); b += size {
			dst[b] = byte(exp + int(dst[b]&1))
		}
	}}
}
