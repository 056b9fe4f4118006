//go:build linux && amd64

package metal_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/metal"
	"github.com/ds4-go/ds4/modules/metal/standin"
)

// Planted faults: what a GPU lets pass, or crashes on, the stand-in must name.

// signature wraps a body in a kernel with the usual arguments.
func signature(body string) string {
	return prefix + `
struct args { int n; float scale; };
kernel void f(constant args & a [[buffer(0)]], device const float * x [[buffer(1)]], device float * y [[buffer(2)]],
        uint tid [[thread_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]], uint3 tg [[threadgroup_position_in_grid]]) {
` + body + "\n}\n"
}

func TestCompileFaults(t *testing.T) {
	d := open(t)
	for name, c := range map[string]struct{ source, say string }{
		"no address space":     {prefix + "static inline float g(const float * p) { return p[0]; }\nkernel void f(device const float * x [[buffer(0)]], device float * y [[buffer(1)]]) { y[0] = g((const float *) x); }\n", "no address space"},
		"other address space":  {signature("threadgroup float * p = y; p[0] = 1;"), "cannot initialize"},
		"write to constant":    {signature("a.n = 1;"), "read-only"},
		"unknown function":     {signature("y[0] = simd_frobnicate(x[0]);"), "simd_frobnicate"},
		"double":               {signature("double z = x[0]; y[0] = z;"), "double"},
		"half4 from float4":    {signature("half4 h = float4(1.0f); y[0] = h.x;"), "half4"},
		"run-time array":       {signature("float v[a.n]; y[0] = v[0];"), "array"},
		"index twice":          {prefix + "kernel void f(device float * x [[buffer(0)]], device float * y [[buffer(0)]]) { y[0] = x[0]; }\n", "twice"},
		"unknown attribute":    {prefix + "kernel void f(device float * y [[buffer(0)]], uint i [[thread_number]]) { y[0] = i; }\n", "thread_number"},
		"type of an attribute": {prefix + "kernel void f(device float * y [[buffer(0)]], uint i [[threadgroup_position_in_grid]]) { y[0] = i; }\n", "uint3"},
		"no attribute":         {prefix + "kernel void f(device float * y [[buffer(0)]], int n) { y[0] = n; }\n", "without an attribute"},
		"index out of range":   {prefix + "kernel void f(device float * y [[buffer(31)]]) { y[0] = 1; }\n", "out of range"},
		"threadgroup by value": {prefix + "kernel void f(device float * y [[buffer(0)]], threadgroup float v [[threadgroup(0)]]) { y[0] = 1; }\n", "threadgroup pointer"},
	} {
		l, err := d.Compile(c.source, nil)
		if err == nil {
			l.Release()
			t.Errorf("%s: compiled", name)
		} else if !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: want %q in the log, got %v", name, c.say, err)
		}
	}
}

// try runs a kernel f over x and y of 64 floats; encode may spoil what is bound.
func try(t *testing.T, d *metal.Device, source string, threads int, encode func(*metal.Encoder)) error {
	t.Helper()
	p := pipeline(t, d, source, "f", nil)
	x, y := buffer(t, d, make([]float32, 64)), buffer(t, d, make([]float32, 64))
	return run(t, d, func(e *metal.Encoder) {
		e.Pipeline(p)
		metal.Args(e, 0, &sumArgs{64, 1})
		e.Buffer(1, x, 0)
		e.Buffer(2, y, 0)
		if encode != nil {
			encode(e)
		}
		e.Dispatch(metal.Size{W: 2}, metal.Size{W: uint64(threads)})
	})
}

func TestRunFaults(t *testing.T) {
	d := open(t)
	group := prefix + "kernel void f(device const float * x [[buffer(1)]], device float * y [[buffer(2)]], threadgroup float * p [[threadgroup(0)]]) { p[0] = x[0]; y[0] = p[0]; }\n"
	large := prefix + "kernel void f(device const float * x [[buffer(1)]], device float * y [[buffer(2)]], threadgroup float * p [[threadgroup(0)]]) { threadgroup float v[7000]; for (int i = 0; i < 7000; i++) v[i] = x[i % 64]; p[0] = v[int(x[0])]; y[0] = p[0]; }\n"
	for name, c := range map[string]struct {
		source  string
		threads int
		encode  func(*metal.Encoder)
		say     string
	}{
		"divergent barrier":       {signature("if (tid < 7) threadgroup_barrier(mem_flags::mem_threadgroup); y[tid] = simd_sum(x[tid]);"), 64, nil, "divergent"},
		"barrier after a return":  {signature("if (tid >= 32) return; threadgroup_barrier(mem_flags::mem_threadgroup); y[tid] = 1;"), 64, nil, "returned"},
		"different simd":          {signature("if (lane < 8) y[tid] = simd_sum(x[tid]); else y[tid] = simd_shuffle_xor(tid, 1) + as_type<half>(simd_shuffle_xor(ushort(tid), 1));"), 32, nil, "different simd operations"},
		"half a matrix":           {signature("simdgroup_float8x8 m = make_filled_simdgroup_matrix<float, 8, 8>(1.0f); if (lane < 16) simdgroup_multiply_accumulate(m, m, m, m); y[tid] = m.thread_elements()[0];"), 32, nil, "all 32 lanes"},
		"read past the end":       {signature("y[0] = x[64 + tid];"), 32, nil, "of a buffer of 256 bytes"},
		"write past the end":      {signature("if (tid == 3) y[64] = 1;"), 32, nil, "write at byte 256"},
		"write before the start":  {signature("if (tid == 3) y[-1100] = 1;"), 32, nil, "write"},
		"arguments past the end":  {signature("y[0] = (&a)[2].scale;"), 32, nil, "read"},
		"write to nowhere":        {signature("device float * p = (device float *) 4096; p[tid] = 1;"), 32, nil, "no buffer"},
		"unbound buffer":          {prefix + "kernel void f(device const float * x [[buffer(1)]], device float * y [[buffer(5)]]) { y[0] = x[0]; }\n", 32, nil, "[[buffer(5)]] is not bound"},
		"no threadgroup length":   {group, 32, nil, "no length"},
		"too much group memory":   {large, 32, func(e *metal.Encoder) { e.Group(0, 8192) }, "more than 32768"},
		"odd threadgroup length":  {group, 32, func(e *metal.Encoder) { e.Group(0, 24) }, "threadgroup memory"},
		"too many threads":        {signature("y[0] = 1;"), 2048, nil, "2048 threads"},
		"setBytes above 4 KiB":    {signature("y[0] = 1;"), 32, func(e *metal.Encoder) { metal.Args(e, 0, &[8192]byte{}) }, "more than 4096"},
		"offset past the end":     {signature("y[0] = 1;"), 32, func(e *metal.Encoder) { b := buffer(t, d, make([]float32, 4)); e.Buffer(1, b, 64) }, "offset 64"},
		"odd offset":              {signature("y[0] = 1;"), 32, func(e *metal.Encoder) { b := buffer(t, d, make([]float32, 4)); e.Buffer(1, b, 2) }, "offset 2"},
		"released buffer":         {signature("y[0] = x[0];"), 32, func(e *metal.Encoder) { b, _ := d.NewBuffer(256); e.Buffer(1, b, 0); b.Release() }, "read"},
		"dispatch of no threads":  {signature("y[0] = 1;"), 0, nil, "0 threads"},
		"a write to a wrapped":    {signature("device float * p = (device float *) x; p[0] = 1;"), 32, func(e *metal.Encoder) { e.Buffer(1, readOnly(t, d), 0) }, "write at byte 0"},
		"an event nobody signals": {"", 0, nil, "nobody signals"},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			if c.source == "" {
				err = waitForNobody(t, d)
			} else {
				err = try(t, d, c.source, c.threads, c.encode)
			}
			if err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("want %q, got %v", c.say, err)
			}
		})
	}
	if err := try(t, d, signature("y[tid] = x[tid];"), 64, nil); err != nil {
		t.Errorf("after all these: %v", err)
	}
}

func waitForNobody(t *testing.T, d *metal.Device) error {
	ev, err := d.NewEvent()
	if err != nil {
		t.Fatal(err)
	}
	defer ev.Release()
	c, err := d.Commands()
	if err != nil {
		t.Fatal(err)
	}
	c.WaitFor(ev, 3)
	c.Commit()
	return c.Wait()
}

// TestMissingBarriers: without a barrier in a threadgroup, and without one between two dispatches, the shuffled order shows.
func TestMissingBarriers(t *testing.T) {
	d := open(t)
	swap := func(barrier string) string {
		return signature("threadgroup float v[64]; v[tid] = x[tid]; " + barrier + " y[64 * tg.x + tid] = v[63 - tid];")
	}
	results := func(source string) (same bool) {
		p := pipeline(t, d, source, "f", nil)
		in := make([]float32, 64)
		for i := range in {
			in[i] = float32(i)
		}
		x, y := buffer(t, d, in), buffer(t, d, make([]float32, 64*8))
		if err := run(t, d, func(e *metal.Encoder) {
			e.Pipeline(p)
			metal.Args(e, 0, &sumArgs{64, 1})
			e.Buffer(1, x, 0)
			e.Buffer(2, y, 0)
			e.Dispatch(metal.Size{W: 8}, metal.Size{W: 64})
		}); err != nil {
			t.Fatal(err)
		}
		same = true
		for i, v := range floats(y) {
			same = same && v == in[63-i%64]
		}
		return same
	}
	if !results(swap("threadgroup_barrier(mem_flags::mem_threadgroup);")) {
		t.Error("with a barrier: wrong result")
	}
	if results(swap("")) {
		t.Error("without a barrier: right result")
	}

	double := pipeline(t, d, signature("y[tid] = x[tid] * 2 + 1;"), "f", nil)
	chain := func(barriers bool) bool {
		var b [4]*metal.Buffer
		for i := range b {
			b[i] = buffer(t, d, make([]float32, 64))
		}
		if err := run(t, d, func(e *metal.Encoder) {
			e.Pipeline(double)
			metal.Args(e, 0, &sumArgs{64, 1})
			for i := range 3 {
				e.Buffer(1, b[i], 0)
				e.Buffer(2, b[i+1], 0)
				e.Dispatch(metal.Size{W: 1}, metal.Size{W: 64})
				if barriers {
					e.Barrier()
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		return floats(b[3])[0] == 7
	}
	caught := false
	for range 8 {
		if !chain(true) {
			t.Error("with barriers between dispatches: wrong result")
		}
		caught = caught || !chain(false)
	}
	if !caught {
		t.Error("without barriers between dispatches: right result every time")
	}
}

// TestRaces: with tracing on, two threads that meet in threadgroup memory are named even where the result is right.
func TestRaces(t *testing.T) {
	d := open(t)
	if err := standin.Set("trace", 1); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = standin.Set("trace", 0) }()
	body := func(barrier string) string {
		return signature("threadgroup float v[64]; v[tid] = 1; " + barrier + " y[tid] = v[tid ^ 33];")
	}
	if err := try(t, d, body("threadgroup_barrier(mem_flags::mem_threadgroup);"), 64, nil); err != nil {
		t.Error(err)
	}
	if err := try(t, d, body(""), 64, nil); err == nil || !strings.Contains(err.Error(), "without a barrier") {
		t.Errorf("want a race, got %v", err)
	}
	if err := standin.Reset(); err != nil {
		t.Fatal(err)
	}
	if err := try(t, d, signature("y[tid] = x[tid];"), 64, nil); err != nil {
		t.Fatal(err)
	}
	total, counts, err := standin.Counts()
	if err != nil {
		t.Fatal(err)
	}
	if c := counts["f"]; total.Dispatches != 1 || total.CommandBuffers != 1 || c.ReadBytes < 256 || c.ReadBytes > 320 || c.WroteBytes != 256 {
		t.Errorf("counts: %+v, %+v", total, c)
	}
}

// TestAborts plants faults of the binding, which end the process.
func TestAborts(t *testing.T) {
	faults := map[string]struct {
		say string
		run func(t *testing.T, d *metal.Device)
	}{
		"released": {"to a released object", func(t *testing.T, d *metal.Device) {
			b, _ := d.NewBuffer(16)
			c := *b
			b.Release()
			c.Release()
		}},
		"encoder": {"before the one before it has ended", func(t *testing.T, d *metal.Device) {
			c, _ := d.Commands()
			c.Compute(true)
			c.Compute(true)
		}},
		"commit": {"commit before endEncoding", func(t *testing.T, d *metal.Device) {
			c, _ := d.Commands()
			c.Compute(true)
			c.Commit()
		}},
		"wait": {"was not committed", func(t *testing.T, d *metal.Device) {
			c, _ := d.Commands()
			_ = c.Wait()
		}},
		"ended": {"after endEncoding", func(t *testing.T, d *metal.Device) {
			c, _ := d.Commands()
			e := c.Compute(true)
			e.End()
			e.Barrier()
		}},
		"selector": {"is not there", func(t *testing.T, d *metal.Device) { metal.SendUnknown(d) }},
	}
	if f, ok := faults[os.Getenv("STANDIN_FAULT")]; ok {
		f.run(t, open(t))
		return
	}
	open(t)
	for name, f := range faults {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestAborts$")
		cmd.Env = append(os.Environ(), "STANDIN_FAULT="+name)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), f.say) {
			t.Errorf("%s: want %q and a failure, got %v: %.300s", name, f.say, err, out)
		}
	}
}
