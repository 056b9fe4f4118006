package cpu

import (
	"math"

	"github.com/ds4-go/ds4/modules/gguf"
)

// Transcendental functions of an f32 are computed in f64 and rounded once: the convention of the golden runs.

func exp(x float32) float32   { return float32(math.Exp(float64(x))) }
func log1p(x float32) float32 { return float32(math.Log1p(float64(x))) }
func log2(x float32) float32  { return float32(math.Log2(float64(x))) }
func sqrt(x float32) float32  { return float32(math.Sqrt(float64(x))) }

// abs clears the sign bit.
func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

// sigmoid in the two-branch form that never overflows.
func sigmoid(x float32) float32 {
	if x >= 0 {
		return 1 / (1 + exp(-x))
	}
	e := exp(x)
	return e / (1 + e)
}

func silu(x float32) float32 { return x * sigmoid(x) }

// softplus is log(1+e^x), cut off where f32 cannot tell.
func softplus(x float32) float32 {
	switch {
	case x > 20:
		return x
	case x < -20:
		return exp(x)
	}
	return log1p(exp(x))
}

// swiglu clamps the gate from above and the up value on both sides.
func swiglu(g, u, clamp float32) float32 {
	return silu(min(g, clamp)) * min(max(u, -clamp), clamp)
}

// rmsNorm writes x·s, times w where it is not nil; s is the inverse root mean square, summed in f64. dst may be x.
func rmsNorm(dst, x, w []float32, eps float32) {
	ss := 0.0
	for _, v := range x {
		ss += float64(v) * float64(v)
	}
	s := 1 / sqrt(float32(ss/float64(len(x)))+eps)
	if w == nil {
		for i, v := range x {
			dst[i] = v * s
		}
		return
	}
	for i, v := range x {
		dst[i] = float32(v*s) * w[i]
	}
}

// dot is the sum of products in ascending order.
func dot(a, b []float32) float32 {
	acc := float32(0)
	for i, v := range a {
		acc += float32(v * b[i])
	}
	return acc
}

func f16(p []byte) float32 { return gguf.Float16ToFloat32(uint16(p[0]) | uint16(p[1])<<8) }

// round16 rounds to f16 and back: a cached value as a reader sees it.
func round16(x float32) float32 { return gguf.Float16ToFloat32(gguf.Float32ToFloat16(x)) }
