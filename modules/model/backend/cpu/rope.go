package cpu

import "math"

// Kinds of rotation: layers of ratio 0, and all others.
const (
	ropePlain = iota
	ropeCompressed
)

func (b *Backend) ropeKind(layer int32) int {
	if b.ratio(layer) == 0 {
		return ropePlain
	}
	return ropeCompressed
}

// rotation writes cos and sin of the r/2 pairs at pos, interleaved. Angles follow the reference's order: sequential f32
// products of base^(−2/r), blended with the interpolated angle (YaRN) in compressed layers; cos and sin with full range reduction.
func (b *Backend) rotation(dst []float32, kind int, pos int) {
	base := b.sh.RopeBase
	if kind == ropeCompressed {
		base = b.sh.CompressBase
	}
	step := float32(math.Pow(float64(float32(base)), float64(float32(-2)/float32(b.sh.RopeDim))))
	low, high := b.yarnRange()
	theta := float32(pos)
	for k := range b.sh.RopeDim / 2 {
		phi := theta
		if kind == ropeCompressed {
			ramp := 1 - min(1, max(0, (float32(k)-low)/max(0.001, high-low)))
			inter := float32(float32(1/b.sh.YarnFactor) * theta)
			phi = float32(inter*(1-ramp)) + float32(theta*ramp)
		}
		sin, cos := math.Sincos(float64(phi))
		dst[2*k], dst[2*k+1] = float32(cos), float32(sin)
		theta *= step
	}
}

// yarnRange is the pair indices between which YaRN blends: 15 and 25 with the published constants.
func (b *Backend) yarnRange() (low, high float32) {
	dim := func(beta float64) float64 {
		return float64(b.sh.RopeDim) * math.Log(b.sh.YarnContext/(beta*2*math.Pi)) / (2 * math.Log(b.sh.CompressBase))
	}
	return float32(max(0, math.Floor(dim(b.sh.YarnFast)))), float32(min(float64(b.sh.RopeDim-1), math.Ceil(dim(b.sh.YarnSlow))))
}

// rotations prepares the step's rows for both kinds.
func (b *Backend) rotations() {
	r := b.sh.RopeDim
	for kind := range b.rope {
		grow(&b.rope[kind], len(b.step.Rows)*r)
	}
	b.pool.each(len(b.step.Rows), func(i int) {
		for kind := range b.rope {
			b.rotation(b.rope[kind][i*r:(i+1)*r], kind, int(b.step.Rows[i].Pos))
		}
	})
}

// rowRotation is the prepared rotation of one row.
func (b *Backend) rowRotation(kind, row int) []float32 {
	r := b.sh.RopeDim
	return b.rope[kind][row*r : (row+1)*r]
}

// rotate turns the last len(cs) components of head, pairs of neighbours; back turns by the opposite angle.
func rotate(head, cs []float32, back bool) {
	t := head[len(head)-len(cs):]
	for k := 0; k < len(cs); k += 2 {
		cos, sin := cs[k], cs[k+1]
		if back {
			sin = -sin
		}
		a, c := t[k], t[k+1]
		t[k] = float32(a*cos) - float32(c*sin)
		t[k+1] = float32(a*sin) + float32(c*cos)
	}
}
