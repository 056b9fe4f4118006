package gguf

import (
	"encoding/binary"
	"math/bits"
)

// iq2xxsGroup is what 32 elements become: four grid entries, their signs, and
// a scale that the block's other groups help to round.
type iq2xxsGroup struct {
	scale float32
	entry [4]uint8
	signs [4]uint8 // 7 bits each
}

// encodeIQ2_XXS needs importance weights.
func encodeIQ2_XXS(dst []byte, row, importance []float32) {
	search := iq2xxsLookup()
	for ; len(row) > 0; dst, row = dst[IQ2_XXSBytes:], row[QK_K:] {
		x := row[:QK_K]
		sigma2 := sumSquares(x) / QK_K
		var groups [IQ2_XXSGroups]iq2xxsGroup
		top := float32(0)
		for j := range groups {
			groups[j] = search.fitGroup(x[32*j:32*j+32], importance[32*j:32*j+32], sigma2)
			top = max(top, groups[j].scale)
		}
		packIQ2_XXS(dst[:IQ2_XXSBytes], &groups, top)
		importance = importance[QK_K:]
	}
}

// packIQ2_XXS stores a block. A group of scale zero gets the lowest scale that
// the format has, so its elements decode to d/8 * 8, not to zero.
func packIQ2_XXS(dst []byte, groups *[IQ2_XXSGroups]iq2xxsGroup, top float32) {
	clear(dst)
	if top == 0 {
		return
	}
	d := top / 31
	storeF16(dst[IQ2_XXSOffD:], d)
	id := 1 / d // of d before it was rounded to f16
	for j, g := range groups {
		out := dst[IQ2_XXSOffQ+IQ2_XXSGroup*j:]
		copy(out[:4], g.entry[:])
		s := max(0, min(15, nint(0.5*(float32(id*g.scale)-1))))
		b := uint32(s) << 28
		for l, signs := range g.signs {
			b |= uint32(signs) << (7 * l)
		}
		binary.LittleEndian.PutUint32(out[4:], b)
	}
}

// fitGroup searches for the scale, grid entries and signs of 32 elements.
func (s *iq2xxsSearch) fitGroup(x, importance []float32, sigma2 float32) iq2xxsGroup {
	var w, wa, v [32]float32
	for i, xi := range x {
		w[i] = float32(importance[i] * sqrt32(sigma2+float32(xi*xi)))
		wa[i] = sqrt32(w[i])
	}
	var g iq2xxsGroup
	hi := float32(0)
	for l := range g.signs {
		g.signs[l] = splitSigns(v[8*l:8*l+8], x[8*l:8*l+8], w[8*l:8*l+8])
	}
	for i, vi := range v {
		if i == 0 || vi > hi {
			hi = vi
		}
	}
	if hi < 1e-15 {
		return iq2xxsGroup{}
	}
	var unused [32]uint8
	g.scale = fitPositive(unused[:], v[:], w[:], 4)
	eff := g.scale * 3
	if eff <= 0 {
		return iq2xxsGroup{}
	}
	best := float32(0)
	for k := -6; k <= 6; k++ {
		id := (5 + float32(float32(k)*0.1)) / eff
		entry := s.nearest(&v, &wa, id, 1/id)
		p, r := s.project(&entry, &v, &w)
		if r > 0 && float32(p*p) > float32(best*r) {
			g.scale = p / r
			best = g.scale * p
			g.entry = entry
		}
	}
	if g.scale > 0 {
		g.entry = s.nearest(&v, &wa, 1/g.scale, g.scale)
		if p, r := s.project(&g.entry, &v, &w); r > 0 {
			g.scale = p / r
		}
	}
	if g.scale < 0 {
		g.scale = -g.scale
		for l := range g.signs {
			g.signs[l] ^= 0x7f
		}
	}
	return g
}

// splitSigns stores magnitudes in v and returns the low 7 sign bits. The
// format has even numbers of negatives only: of an odd number, the element
// that matters least is flipped, and its magnitude becomes negative.
func splitSigns(v, x, w []float32) uint8 {
	signs := uint8(0)
	for k, xk := range x {
		v[k] = xk
		if !(xk >= 0) {
			v[k] = -xk
			signs |= 1 << k
		}
	}
	if bits.OnesCount8(signs)&1 != 0 {
		least, at := float32(float32(w[0]*x[0])*x[0]), 0
		for k := 1; k < 8; k++ {
			if cost := float32(float32(w[k]*x[k]) * x[k]); cost < least {
				least, at = cost, k
			}
		}
		v[at] = -v[at]
		signs ^= 1 << at
	}
	return signs & 0x7f
}

// nearest rounds v to levels with the inverse scale id, and where such a row
// is not in the grid takes the best of its neighbours at scale.
func (s *iq2xxsSearch) nearest(v, wa *[32]float32, id, scale float32) (entry [4]uint8) {
	for l := range entry {
		row, weight := (*[8]float32)(v[8*l:]), (*[8]float32)(wa[8*l:])
		var levels [8]uint8
		for k, vk := range row {
			levels[k] = uint8(max(0, min(2, nint(0.5*(float32(id*vk)-1)))))
		}
		at := base3(&levels)
		if g := s.entry[at]; g >= 0 {
			entry[l] = uint8(g)
			continue
		}
		best := float32(0)
		for n, candidate := range s.near[at] {
			cost := float32(0)
			for k, q := range s.odd[candidate] {
				diff := float32(scale*q) - row[k]
				cost += float32(float32(weight[k]*diff) * diff)
			}
			if n == 0 || cost < best {
				best, entry[l] = cost, candidate
			}
		}
	}
	return entry
}

// project returns the weighted sums of v*q and q*q, q being the entries' odd
// numbers: their ratio is the best scale.
func (s *iq2xxsSearch) project(entry *[4]uint8, v, w *[32]float32) (p, r float32) {
	for i := range v {
		q := s.odd[entry[i/8]][i%8]
		p += float32(float32(w[i]*v[i]) * q)
		r += float32(float32(w[i]*q) * q)
	}
	return p, r
}
