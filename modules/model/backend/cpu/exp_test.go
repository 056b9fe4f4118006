package cpu

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestExp: gated products and softmax of every variant have the plain functions' bits, also for what no vector holds: ends, infinities,
// values that underflow, and values whose exponential lies between two f32.
func TestExp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	odd := []float32{0, float32(math.Copysign(0, -1)), 9.999, 10, 11, -11, -86.9, -87.1, -88, -103.9, -104.5, -106, -1e30, float32(math.Inf(-1)), float32(math.Inf(1)), float32(math.NaN())}
	x, u := append([]float32{}, odd...), make([]float32, 0, 1<<17)
	for len(x) < 1<<17+5 {
		x = append(x, float32(r.NormFloat64())*float32(math.Exp2(float64(r.IntN(12)-4))))
	}
	for range x {
		u = append(u, float32(r.NormFloat64())*8)
	}
	for _, v := range Variants() {
		be, m := benchBackend(t, v), &worker{}
		got := make([]float32, len(x))
		be.gated(m, got, x, u, 0.37)
		for i := range x {
			if want := swiglu(x[i], u[i], be.sh.Clamp) * 0.37; math.Float32bits(got[i]) != math.Float32bits(want) && !(want != want && got[i] != got[i]) {
				t.Fatalf("%s: gate %g, up %g: want %g, got %g", v, x[i], u[i], want, got[i])
			}
		}
		if v == generic {
			continue
		}
		l := be.variant.lanes
		s, sinks := make([]float32, 1024*l), make([]float32, l)
		for i := range s {
			s[i] = float32(r.NormFloat64()) * 40
		}
		for h := range sinks {
			sinks[h], s[h*l+h] = float32(r.NormFloat64()), 90
		}
		want := make([]float32, len(s))
		sums := make([]float32, l)
		for h := range sinks {
			top := max(sinks[h], 90)
			for i := h; i < len(s); i += l {
				top = max(top, s[i])
			}
			sums[h] = exp(sinks[h] - top)
			for i := h; i < len(s); i += l {
				want[i] = exp(s[i] - top)
				sums[h] += want[i]
			}
		}
		inv := be.softmax(m, s, sinks)
		for i := range s {
			if s[i] != want[i] {
				t.Fatalf("%s: weight %d: want %g, got %g", v, i, want[i], s[i])
			}
		}
		for h := range sums {
			if inv[h] != 1/sums[h] {
				t.Errorf("%s: lane %d: want %g, got %g", v, h, 1/sums[h], inv[h])
			}
		}
	}
}

// TestExpDoubt: values whose exponential is closest to the middle of two f32 are really left to the plain function.
func TestExpDoubt(t *testing.T) {
	var close []float32
	for i, left := uint32(0), 4; left > 0 && i < 1<<25; i++ {
		x := -math.Float32frombits(math.Float32bits(0.001) + i)
		if low := math.Float64bits(math.Exp(float64(x))) & 0x1fffffff; low > 0x10000000-16 && low < 0x10000000+16 {
			close = append(close, x)
			left--
		}
	}
	if len(close) == 0 {
		t.Fatal("found no value that is close")
	}
	for _, v := range Variants() {
		be := benchBackend(t, v)
		l := be.variant.lanes
		if l == 0 {
			continue
		}
		for _, c := range close {
			x, u, out, with := make([]float32, 2*l), make([]float32, 2*l), make([]float32, 2*l), [2]float32{10, 1}
			x[l+1] = c
			a := expArgs{x: &x[0], u: &u[0], out: &out[0], with: &with[0], n: 2 * l}
			if be.variant.expGated(&a); a.done != l {
				t.Errorf("%s: %g: want the second vector to be left, got %d values done", v, c, a.done)
			}
		}
	}
}
