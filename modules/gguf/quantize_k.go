package gguf

// encodeQ2_K: sixteen sub-blocks of 16, codes 0..3.
func encodeQ2_K(dst []byte, row, importance []float32) {
	plain := affineFit{nmax: 3, rmin: -0.5, rdelta: 0.1, steps: 15, absolute: true}
	weighted := affineFit{nmax: 3, rmin: -0.9, rdelta: 0.05, steps: 36}
	for ; len(row) > 0; dst, row = dst[Q2_KBytes:], row[QK_K:] {
		x := row[:QK_K]
		var codes [QK_K]uint8
		var scales, mins, sums [16]float32
		var w [16]float32
		sigma2 := sumSquares(x) / QK_K
		for j := range 16 {
			sub := x[16*j : 16*j+16]
			fit := plain
			if importance != nil {
				fit = weighted
			}
			for i, v := range sub {
				if importance != nil {
					w[i] = float32(importance[16*j+i] * sqrt32(sigma2+float32(v*v)))
				} else {
					w[i] = abs32(v)
				}
				sums[j] += w[i]
			}
			scales[j], mins[j] = fit.fit(codes[16*j:16*j+16], sub, w[:])
		}
		var sc, mn [16]uint8
		d := fitScales(sc[:], scales[:], sums[:], 15, importance != nil)
		dmin := fitScales(mn[:], mins[:], sums[:], 15, importance != nil)
		storeF16(dst[Q2_KOffD:], d)
		storeF16(dst[Q2_KOffDMin:], dmin)
		for j := range 16 {
			dst[Q2_KOffScales+j] = sc[j]&15 | mn[j]<<4
		}
		recode(codes[:], x, sc[:], mn[:], loadF16(dst[Q2_KOffD:]), loadF16(dst[Q2_KOffDMin:]), 3)
		q := dst[Q2_KOffQ:Q2_KOffD]
		for h := range 2 {
			for c := range 32 {
				l := codes[128*h+c:]
				q[32*h+c] = l[0] | l[32]<<2 | l[64]<<4 | l[96]<<6
			}
		}
		importance = nextBlock(importance)
	}
}

// encodeQ4_K: eight sub-blocks of 32, codes 0..15, scales and minimums 0..63.
func encodeQ4_K(dst []byte, row, importance []float32) {
	plain := affineFit{nmax: 15, rmin: -1, rdelta: 0.1, steps: 20}
	weighted := affineFit{nmax: 15, rmin: -0.9, rdelta: 0.05, steps: 36}
	for ; len(row) > 0; dst, row = dst[Q4_KBytes:], row[QK_K:] {
		x := row[:QK_K]
		var codes [QK_K]uint8
		var scales, mins, sums [8]float32
		var w [32]float32
		sigma2 := 2 * sumSquares(x) / QK_K
		for j := range 8 {
			sub := x[32*j : 32*j+32]
			fit := plain
			if importance != nil {
				fit = weighted
			}
			average := sqrt32(sumSquares(sub) / 32)
			for i, v := range sub {
				if importance != nil {
					w[i] = float32(importance[32*j+i] * sqrt32(sigma2+float32(v*v)))
				} else {
					w[i] = average + abs32(v)
				}
				sums[j] += w[i]
			}
			scales[j], mins[j] = fit.fit(codes[32*j:32*j+32], sub, w[:])
		}
		var sc, mn [8]uint8
		d := fitScales(sc[:], scales[:], sums[:], 63, importance != nil)
		dmin := fitScales(mn[:], mins[:], sums[:], 63, importance != nil)
		storeF16(dst[Q4_KOffD:], d)
		storeF16(dst[Q4_KOffDMin:], dmin)
		Q4_KPackScaleMin((*[12]byte)(dst[Q4_KOffScales:]), &sc, &mn)
		recode(codes[:], x, sc[:], mn[:], loadF16(dst[Q4_KOffD:]), loadF16(dst[Q4_KOffDMin:]), 15)
		q := dst[Q4_KOffQ:Q4_KBytes]
		for pair := range 4 {
			for c := range 32 {
				l := codes[64*pair+c:]
				q[32*pair+c] = l[0] | l[32]<<4
			}
		}
		importance = nextBlock(importance)
	}
}

// fitScales codes the scales (or minimums) of a block's sub-blocks and returns
// their common factor: searched for when weighted, else from the largest.
func fitScales(codes []uint8, scales, sums []float32, nmax int, weighted bool) float32 {
	if weighted {
		return fitPositive(codes, scales, sums, nmax)
	}
	top := float32(0)
	for _, s := range scales {
		top = max(top, s)
	}
	if !(top > 0) {
		clear(codes)
		return 0
	}
	is := float32(nmax) / top
	for j, s := range scales {
		codes[j] = min(uint8(nmax), uint8(nint(is*s)))
	}
	return top / float32(nmax)
}

// recode codes x again, with the scales as they were stored. Sub-blocks whose
// scale is zero keep the codes of the search.
func recode(codes []uint8, x []float32, sc, mn []uint8, d, dmin float32, nmax int) {
	n := len(x) / len(sc)
	for j := range sc {
		scale, minimum := float32(d*float32(sc[j])), float32(dmin*float32(mn[j]))
		if scale == 0 {
			continue
		}
		for i := n * j; i < n*(j+1); i++ {
			codes[i] = uint8(max(0, min(nmax, nint((x[i]+minimum)/scale))))
		}
	}
}

// nextBlock moves importance weights on by one block, if there are any.
func nextBlock(importance []float32) []float32 {
	if importance == nil {
		return nil
	}
	return importance[QK_K:]
}

func sumSquares(x []float32) float32 {
	sum := float32(0)
	for _, v := range x {
		sum += float32(v * v)
	}
	return sum
}
