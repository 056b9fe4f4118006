package driver

import (
	"fmt"
	"runtime"
	"strings"
	"unsafe"
)

// Load makes a module of PTX text, which the driver compiles for its card (and keeps compiled in its cache).
func (d *Driver) Load(ptx []byte) (Module, error) {
	text := append(append(make([]byte, 0, len(ptx)+1), ptx...), 0)
	log := make([]byte, 8192)
	options := &[2]uint32{5, 6} // error log buffer, its size
	values := &[2]uintptr{address(log), uintptr(len(log))}
	m := new(uintptr)
	err := d.do(cuModuleLoadDataEx, ptr(m), address(text), 2, ptr(&options[0]), ptr(&values[0]))
	runtime.KeepAlive(log)
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, strings.TrimSpace(cString(address(log))))
	}
	return Module(*m), nil
}

// Unload drops a module.
func (d *Driver) Unload(m Module) error { return d.do(cuModuleUnload, uintptr(m)) }

// Function finds a kernel.
func (d *Driver) Function(m Module, name string) (Function, error) {
	f, text := new(uintptr), append([]byte(name), 0)
	if err := d.do(cuModuleGetFunction, ptr(f), uintptr(m), ptr(&text[0])); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return Function(*f), nil
}

// AllowShared lets a kernel be launched with up to n bytes of dynamic shared memory.
func (d *Driver) AllowShared(f Function, n int) error {
	return d.do(cuFuncSetAttribute, uintptr(f), 8, uintptr(n))
}

// PreferShared asks for the largest share of the unified cache as shared memory.
func (d *Driver) PreferShared(f Function) error { return d.do(cuFuncSetAttribute, uintptr(f), 9, 100) }

type launchConfig struct {
	gx, gy, gz, bx, by, bz, shared, pad uint32
	stream                              Stream
	attrs                               uintptr
	n                                   uint32
}

type launchAttr struct {
	id, pad uint32
	val     [64]byte
}

// Launch is one kernel launch. Args points to the kernel's one parameter.
type Launch struct {
	Grid      [3]int
	Block     int
	Shared    int  // bytes of dynamic shared memory
	Dependent bool // may start before the launch ahead of it has ended; the kernel waits where it must
}

// Launch queues a kernel. It does not allocate.
func (d *Driver) Launch(f Function, l Launch, args unsafe.Pointer, s Stream) error {
	c := &d.config
	*c = launchConfig{gx: uint32(l.Grid[0]), gy: uint32(l.Grid[1]), gz: uint32(l.Grid[2]), bx: uint32(l.Block), by: 1, bz: 1, shared: uint32(l.Shared), stream: s}
	if l.Dependent {
		d.attr.id = 6 // programmatic stream serialization
		d.attr.val[0] = 1
		c.attrs, c.n = uintptr(unsafe.Pointer(&d.attr)), 1
	}
	d.params[0] = uintptr(args)
	r := call(d.fn[cuLaunchKernelEx], uintptr(unsafe.Pointer(c)), uintptr(f), uintptr(unsafe.Pointer(&d.params[0])), 0)
	runtime.KeepAlive(args)
	if r != 0 {
		return d.fail(cuLaunchKernelEx, int(r))
	}
	return nil
}

// NewStream makes a stream that does not wait for the default one.
func (d *Driver) NewStream() (Stream, error) {
	p := new(uintptr)
	err := d.do(cuStreamCreate, ptr(p), 1)
	return Stream(*p), err
}

// FreeStream drops a stream.
func (d *Driver) FreeStream(s Stream) error { return d.do(cuStreamDestroy, uintptr(s)) }

// Sync waits until everything queued has run.
func (d *Driver) Sync(s Stream) error { return d.do(cuStreamSynchronize, uintptr(s)) }

// After makes what is queued on s from now on wait for the event.
func (d *Driver) After(s Stream, e Event) error {
	return d.do(cuStreamWaitEvent, uintptr(s), uintptr(e), 0)
}

// Capture collects what f queues on s into a graph.
func (d *Driver) Capture(s Stream, f func() error) (Graph, error) {
	if err := d.do(cuStreamBeginCapture, uintptr(s), 2); err != nil { // relaxed: other threads go on
		return 0, err
	}
	fail := f()
	g, e := new(uintptr), new(uintptr)
	if err := d.do(cuStreamEndCapture, uintptr(s), ptr(g)); err != nil {
		return 0, err
	}
	if fail != nil {
		_ = d.do(cuGraphDestroy, *g)
		return 0, fail
	}
	err := d.do(cuGraphInstantiate, ptr(e), *g, 0)
	_ = d.do(cuGraphDestroy, *g)
	return Graph(*e), err
}

// Replay queues a graph.
func (d *Driver) Replay(g Graph, s Stream) error { return d.do(cuGraphLaunch, uintptr(g), uintptr(s)) }

// FreeGraph drops a graph.
func (d *Driver) FreeGraph(g Graph) error { return d.do(cuGraphExecDestroy, uintptr(g)) }

// NewEvent makes an event; a timed one can tell milliseconds.
func (d *Driver) NewEvent(timed bool) (Event, error) {
	p, flags := new(uintptr), uintptr(2)
	if timed {
		flags = 0
	}
	err := d.do(cuEventCreate, ptr(p), flags)
	return Event(*p), err
}

// FreeEvent drops an event.
func (d *Driver) FreeEvent(e Event) error { return d.do(cuEventDestroy, uintptr(e)) }

// Record queues the event.
func (d *Driver) Record(e Event, s Stream) error {
	return d.do(cuEventRecord, uintptr(e), uintptr(s))
}

// WaitEvent waits until a recorded event has happened.
func (d *Driver) WaitEvent(e Event) error { return d.do(cuEventSynchronize, uintptr(e)) }

// Done says whether a recorded event has happened.
func (d *Driver) Done(e Event) bool { return call(d.fn[cuEventQuery], uintptr(e)) == 0 }

// Elapsed is the time between two timed events, in milliseconds.
func (d *Driver) Elapsed(from, to Event) (float32, error) {
	ms := new(float32)
	err := d.do(cuEventElapsedTime, ptr(ms), uintptr(from), uintptr(to))
	return *ms, err
}
