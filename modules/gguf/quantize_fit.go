package gguf

import "math"

// The two searches that the k-quants and IQ2_XXS share.

// nint rounds to the nearest integer, ties to even, for |x| <= 4194303. Beyond
// that it wraps as the reference does: the sum's low mantissa bits are the
// answer.
func nint(x float32) int {
	// Inlined, the addition could fuse with a product that x comes from.
	bits := math.Float32bits(float32(x) + 12582912) // 1.5 * 2^23
	return int(bits&0x007fffff) - 0x00400000
}

// affineFit says how fitAffine searches: codes 0..nmax, steps+1 trials of the
// inverse scale from rmin+nmax up by rdelta, errors squared or absolute.
type affineFit struct {
	nmax         int
	rmin, rdelta float32
	steps        int
	absolute     bool
}

// error returns the weighted error of scale*codes + lo over x.
func (p affineFit) error(x, w []float32, codes []uint8, scale, lo float32) float32 {
	sum := float32(0)
	for i, v := range x {
		diff := float32(float32(scale*float32(codes[i]))+lo) - v
		if p.absolute {
			diff = abs32(diff)
		} else {
			diff = float32(diff * diff)
		}
		sum += float32(w[i] * diff)
	}
	return sum
}

// assign codes x with the given inverse scale.
func (p affineFit) assign(codes []uint8, x []float32, is, lo float32) {
	for i, v := range x {
		codes[i] = uint8(max(0, min(p.nmax, nint(is*(v-lo)))))
	}
}

// fit finds scale >= 0 and minimum >= 0 with x ~ scale*codes - minimum, and
// the codes. x and w are at most 32 long.
func (p affineFit) fit(codes []uint8, x, w []float32) (scale, minimum float32) {
	lo, hi := x[0], x[0]
	sw, sx := w[0], float32(w[0]*x[0])
	for i := 1; i < len(x); i++ {
		lo, hi = min(lo, x[i]), max(hi, x[i])
		sw += w[i]
		sx += float32(w[i] * x[i])
	}
	lo = min(lo, 0)
	if hi <= lo {
		clear(codes)
		return 0, -lo
	}
	is := float32(p.nmax) / (hi - lo)
	scale = 1 / is
	p.assign(codes, x, is, lo)
	best := p.error(x, w, codes, scale, lo)
	var buf [32]uint8
	trial := buf[:len(x)]
	for k := range p.steps + 1 {
		// lo moves with each accepted trial, here as in the reference.
		is := (p.rmin + float32(p.rdelta*float32(k)) + float32(p.nmax)) / (hi - lo)
		p.assign(trial, x, is, lo)
		sl, sl2, sxl := float32(0), float32(0), float32(0)
		for i, code := range trial {
			l := float32(code)
			wl := float32(w[i] * l)
			sl += wl
			sl2 += float32(wl * l)
			sxl += float32(wl * x[i])
		}
		det := float32(sw*sl2) - float32(sl*sl)
		if !(det > 0) {
			continue
		}
		ts := (float32(sw*sxl) - float32(sx*sl)) / det
		tm := (float32(sl2*sx) - float32(sl*sxl)) / det
		if tm > 0 {
			tm, ts = 0, sxl/sl2
		}
		if e := p.error(x, w, trial, ts, tm); e < best {
			copy(codes, trial)
			best, scale, lo = e, ts, tm
		}
	}
	return scale, -lo
}

// fitPositive finds scale >= 0 with x ~ scale*codes for x that are not
// negative, codes 0..nmax. IQ2_XXS may pass one negative x in eight: its code
// is then a byte that wrapped, and some sums see the byte, some the integer,
// as in the reference.
func fitPositive(codes []uint8, x, w []float32, nmax int) float32 {
	hi := float32(0)
	for _, v := range x {
		hi = max(hi, v)
	}
	if hi < 1e-15 {
		clear(codes)
		return 0
	}
	is := float32(nmax) / hi
	scale := 1 / is
	best := float32(0)
	for i, v := range x {
		codes[i] = uint8(nint(is * v))
		best += squaredError(w[i], v, scale, float32(codes[i]))
	}
	for k := -4; k <= 4; k++ {
		if k == 0 {
			continue
		}
		isK := (float32(0.1*float32(k)) + float32(nmax)) / hi
		scale := 1 / isK
		sum := float32(0)
		for i, v := range x {
			sum += squaredError(w[i], v, scale, float32(min(nmax, nint(isK*v))))
		}
		if sum < best {
			best, is = sum, isK
		}
	}
	slx, sl2 := float32(0), float32(0)
	for i, v := range x {
		n := min(nmax, nint(is*v))
		codes[i] = uint8(n)
		l := float32(n)
		slx += float32(float32(w[i]*v) * l)
		sl2 += float32(float32(w[i]*l) * l)
	}
	slx, sl2 = refine(codes, x, w, nmax, slx, sl2)
	if sl2 > 0 {
		return slx / sl2
	}
	return 0
}

func squaredError(w, x, scale, l float32) float32 {
	d := x - float32(scale*l)
	return float32(float32(w*d) * d)
}

// refine moves one code at a time to where it helps the sum most, for at most
// five passes. slx and sl2 are the weighted sums of x*code and code*code.
func refine(codes []uint8, x, w []float32, nmax int, slx, sl2 float32) (float32, float32) {
	for range 5 {
		changed := false
		for i, v := range x {
			old, wx := float32(codes[i]), float32(w[i]*v)
			a := slx - float32(wx*old)
			b := sl2 - float32(float32(w[i]*old)*old)
			if !(a > 0 && b > 0) {
				continue
			}
			n := min(nmax, nint(float32(v*b)/a))
			if n == int(codes[i]) {
				continue
			}
			l := float32(n)
			a += float32(wx * l)
			b += float32(float32(w[i]*l) * l)
			if float32(a*a)*sl2 > float32(slx*slx)*b {
				codes[i] = uint8(n)
				slx, sl2, changed = a, b, true
			}
		}
		if !changed {
			break
		}
	}
	return slx, sl2
}
