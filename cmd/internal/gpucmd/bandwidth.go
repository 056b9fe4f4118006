package gpucmd

import (
	"errors"
	"fmt"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/modules/metal"
)

// readSource sums memory: the read ceiling that the products are compared with.
const readSource = `#include <metal_stdlib>
using namespace metal;

struct read_args { uint words; };

kernel void read_all(constant read_args & a [[buffer(0)]], device const float4 * x [[buffer(1)]], device float * y [[buffer(2)]],
        uint3 at [[thread_position_in_grid]], uint3 groups [[threadgroups_per_grid]], uint3 size [[threads_per_threadgroup]]) {
    float4 s = float4(0.0f);
    for (uint i = at.x; i < a.words; i += groups.x * size.x) s += x[i];
    if (s.x + s.y + s.z + s.w == 1.0f) y[at.x] = 1; // never: the buffer is zero
}
`

// bandwidth is what the GPU reads, in GB/s, from a buffer that no cache holds.
func bandwidth() (_ float64, err error) {
	d, err := metal.Open(metal.Options{Library: library})
	if err != nil {
		return 0, err
	}
	defer d.Close()
	lib, err := d.Compile(readSource, nil)
	if err != nil {
		return 0, err
	}
	defer lib.Release()
	p, err := lib.Pipeline("read_all")
	if err != nil {
		return 0, err
	}
	defer p.Release()
	n := 512 << 20
	if library != "" {
		n = 1 << 20 // a stand-in
	}
	x, err1 := d.NewBuffer(n)
	y, err2 := d.NewBuffer(4 << 20)
	if err := errors.Join(err1, err2); err != nil {
		return 0, err
	}
	defer x.Release()
	defer y.Release()
	best := 0.0
	for range 6 {
		c, err := d.Commands()
		if err != nil {
			return 0, err
		}
		e := c.Compute(true)
		e.Pipeline(p)
		words := uint32(n / 16)
		metal.Args(e, 0, &words)
		e.Buffer(1, x, 0)
		e.Buffer(2, y, 0)
		e.Dispatch(metal.Size{W: 1024}, metal.Size{W: 256})
		e.End()
		c.Commit()
		seconds, err := c.WaitTimed()
		if err != nil {
			return 0, err
		}
		if seconds > 0 {
			best = max(best, float64(n)/seconds/1e9)
		}
	}
	return best, nil
}

// describe names the GPU.
func describe(d device) string {
	if d.name != "metal" {
		return "found"
	}
	g, err := metal.Open(metal.Options{Library: library})
	if err != nil {
		return err.Error()
	}
	defer g.Close()
	i := g.Info()
	return sprintInfo(i)
}

func sprintInfo(i metal.Info) string {
	return fmt.Sprintf("%s (Apple family %d), %s for the GPU, longest buffer %s", i.Name, i.Family, cli.Bytes(int64(i.WorkingSetBytes)), cli.Bytes(int64(i.MaxBufferBytes)))
}
