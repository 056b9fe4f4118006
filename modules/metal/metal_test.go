//go:build linux && amd64

package metal_test

import (
	"errors"
	"math"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/ds4-go/ds4/modules/metal"
	"github.com/ds4-go/ds4/modules/metal/standin"
)

// open opens the stand-in.
func open(t testing.TB) *metal.Device {
	t.Helper()
	path, err := standin.Build()
	if errors.Is(err, standin.ErrNoCompiler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	d, err := metal.Open(metal.Options{Library: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func pipeline(t testing.TB, d *metal.Device, source, name string, defs metal.Defines) *metal.Pipeline {
	t.Helper()
	l, err := d.Compile(source, defs)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	p, err := l.Pipeline(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	return p
}

func buffer(t testing.TB, d *metal.Device, v []float32) *metal.Buffer {
	t.Helper()
	b, err := d.NewBuffer(4 * len(v))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Release)
	copy(floats(b), v)
	return b
}

func floats(b *metal.Buffer) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b.Bytes()))), len(b.Bytes())/4)
}

// run encodes f into one command buffer and waits.
func run(t testing.TB, d *metal.Device, f func(*metal.Encoder)) error {
	t.Helper()
	c, err := d.Commands()
	if err != nil {
		t.Fatal(err)
	}
	e := c.Compute(true)
	f(e)
	e.End()
	c.Commit()
	return c.Wait()
}

const prefix = "#include <metal_stdlib>\nusing namespace metal;\n"

const sums = prefix + `
struct args { int n; float scale; };

// y = scale · Σ x, a threadgroup a row: simd and threadgroup reductions
kernel void row_sum(
        constant args      & a    [[buffer(0)]],
        device const float * x    [[buffer(1)]],
        device       float * y    [[buffer(2)]],
        threadgroup  float * part [[threadgroup(0)]],
        uint3 tg   [[threadgroup_position_in_grid]],
        uint  tid  [[thread_index_in_threadgroup]],
        uint3 size [[threads_per_threadgroup]],
        uint  simd [[simdgroup_index_in_threadgroup]],
        uint  lane [[thread_index_in_simdgroup]]) {
    threadgroup float total[1];
    float s = 0;
    for (int i = tid; i < a.n; i += size.x) s += x[tg.x * a.n + i];
    s = simd_sum(s);
    if (lane == 0) part[simd] = s;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (simd == 0) {
        s = simd_sum(lane < size.x / 32 ? part[lane] : 0.0f);
        if (lane == 0) total[0] = s;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (tid == 0) y[tg.x] = total[0] * a.scale * SIGN;
}
`

type sumArgs struct {
	n     int32
	scale float32
}

func TestSums(t *testing.T) {
	d := open(t)
	p := pipeline(t, d, sums, "row_sum", metal.Defines{"SIGN": "-1.0f"})
	if p.MaxThreads != 1024 || p.SIMDWidth != 32 || p.GroupBytes != 16 {
		t.Errorf("pipeline: %+v", p)
	}
	const n, rows = 777, 5
	x := make([]float32, n*rows)
	for i := range x {
		x[i] = float32(i % 97)
	}
	bx, by := buffer(t, d, x), buffer(t, d, make([]float32, rows))
	a := sumArgs{n, 0.5}
	if err := run(t, d, func(e *metal.Encoder) {
		e.Pipeline(p)
		metal.Args(e, 0, &a)
		e.Buffer(1, bx, 0)
		e.Buffer(2, by, 0)
		e.Group(0, 128)
		e.Dispatch(metal.Size{W: rows}, metal.Size{W: 256})
	}); err != nil {
		t.Fatal(err)
	}
	for r, got := range floats(by) {
		want := float32(0)
		for _, v := range x[r*n : (r+1)*n] {
			want -= v / 2
		}
		if math.Abs(float64(got-want)) > 1e-3 {
			t.Errorf("row %d: want %g, got %g", r, want, got)
		}
	}
}

const product = prefix + `
// C = A B, 8×8; C's elements doubled through thread_elements
kernel void product(device const half * a [[buffer(0)]], device const half * b [[buffer(1)]], device float * c [[buffer(2)]]) {
    simdgroup_half8x8 ma, mb;
    simdgroup_load(ma, a, 8);
    simdgroup_load(mb, b, 8, ulong2(0, 0), true);
    simdgroup_float8x8 mc = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    simdgroup_multiply_accumulate(mc, ma, mb, mc);
    mc.thread_elements()[0] *= 2.0f;
    mc.thread_elements()[1] *= 2.0f;
    simdgroup_store(mc, c, 8);
}
`

func TestProduct(t *testing.T) {
	d := open(t)
	p := pipeline(t, d, strings.ReplaceAll(product, "ulong2(0, 0)", "(ulong2)(0)"), "product", nil)
	half := func(v int) uint16 { // of 1 to 15
		e := 0
		for v>>(e+1) != 0 {
			e++
		}
		return uint16((15+e)<<10 | (v<<10>>e)&1023)
	}
	a, b := buffer(t, d, make([]float32, 32)), buffer(t, d, make([]float32, 32))
	c := buffer(t, d, make([]float32, 64))
	at := func(r, k int) int { return 1 + (r*3+k)%15 }
	for i := range 64 {
		for _, u := range []struct {
			b *metal.Buffer
			v int
		}{{a, at(i/8, i%8)}, {b, at(i%8, i/8)}} {
			h := half(u.v)
			u.b.Bytes()[2*i], u.b.Bytes()[2*i+1] = byte(h), byte(h>>8)
		}
	}
	if err := run(t, d, func(e *metal.Encoder) {
		e.Pipeline(p)
		e.Buffer(0, a, 0)
		e.Buffer(1, b, 0)
		e.Buffer(2, c, 0)
		e.Dispatch(metal.Size{W: 1}, metal.Size{W: 32})
	}); err != nil {
		t.Fatal(err)
	}
	for i, got := range floats(c) {
		want := 0
		for k := range 8 {
			want += 2 * at(i/8, k) * at(k, i%8) // b is stored transposed
		}
		if got != float32(want) {
			t.Errorf("(%d,%d): want %d, got %g", i/8, i%8, want, got)
		}
	}
}

// TestWrap runs over a read-only map without a copy.
func TestWrap(t *testing.T) {
	d := open(t)
	m, err := syscall.Mmap(-1, 0, 8192, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Munmap(m) }()
	b, err := d.Wrap(m)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Release()
	for i := range floats(b) {
		floats(b)[i] = 2
	}
	y := buffer(t, d, make([]float32, 1))
	p := pipeline(t, d, sums, "row_sum", metal.Defines{"SIGN": "1.0f"})
	a := sumArgs{1024, 1}
	if err := run(t, d, func(e *metal.Encoder) {
		e.Pipeline(p)
		metal.Args(e, 0, &a)
		e.Buffer(1, b, 4096)
		e.Buffer(2, y, 0)
		e.Group(0, 128)
		e.Dispatch(metal.Size{W: 1}, metal.Size{W: 64})
	}); err != nil {
		t.Fatal(err)
	}
	if floats(y)[0] != 2048 {
		t.Errorf("want 2048, got %g", floats(y)[0])
	}
	for _, bad := range [][]byte{m[:100], m[16:], nil} {
		if _, err := d.Wrap(bad); err == nil {
			t.Errorf("wrap of %d bytes: want an error", len(bad))
		}
	}
}

// TestAvailable asks Mach for the memory that is left.
func TestAvailable(t *testing.T) {
	d := open(t)
	for _, n := range []uint64{5 << 30, 0} {
		if err := standin.Set("available", int64(n)); err != nil {
			t.Fatal(err)
		}
		if got := d.Available(); got != n {
			t.Errorf("want %d bytes, got %d", n, got)
		}
	}
	if err := standin.Set("available", 64<<30); err != nil {
		t.Fatal(err)
	}
}

func TestEvents(t *testing.T) {
	d := open(t)
	ev, err := d.NewEvent()
	if err != nil {
		t.Fatal(err)
	}
	defer ev.Release()
	c, err := d.Commands()
	if err != nil {
		t.Fatal(err)
	}
	c.Signal(ev, 7)
	c.Commit()
	seconds, err := c.WaitTimed()
	if err != nil || seconds <= 0 {
		t.Fatalf("%g s, %v", seconds, err)
	}
	if ev.Value() != 7 {
		t.Errorf("event: want 7, got %d", ev.Value())
	}
}

func TestResidency(t *testing.T) {
	d := open(t)
	b := buffer(t, d, make([]float32, 16))
	r, err := d.NewResidency()
	if err != nil {
		t.Fatal(err)
	}
	r.Set([]*metal.Buffer{b})
	r.Release()
	if err := standin.Set("macos", 14); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = standin.Set("macos", 15) }()
	if _, err := d.NewResidency(); !errors.Is(err, metal.ErrUnsupported) {
		t.Errorf("want ErrUnsupported, got %v", err)
	}
}

// readOnly wraps a map that may not be written.
func readOnly(t testing.TB, d *metal.Device) *metal.Buffer {
	t.Helper()
	m, err := syscall.Mmap(-1, 0, 4096, syscall.PROT_READ, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(m) })
	b, err := d.Wrap(m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Release)
	return b
}
