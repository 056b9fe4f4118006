package metal

import (
	"fmt"
	"runtime"
	"unsafe"
)

// Size counts threads or threadgroups in each dimension; zero H and D mean 1. It is MTLSize once filled.
type Size struct{ W, H, D uint64 }

func (s Size) filled() Size { return Size{s.W, max(s.H, 1), max(s.D, 1)} }

// Commands is one command buffer: encode, Commit, Wait. Its goroutine stays on one thread until Wait or Discard.
type Commands struct {
	cb, pool id
	enc      Encoder
}

// Commands starts a command buffer. It keeps no reference to what it uses.
func (d *Device) Commands() (*Commands, error) {
	runtime.LockOSThread()
	c := &Commands{pool: id(call(rt.poolPush))}
	c.cb = d.queue.sendID(selCommandBuffer)
	if c.cb == 0 {
		c.Discard()
		return nil, fmt.Errorf("metal: command buffer: %w", ErrMemory)
	}
	return c, nil
}

// Discard ends a command buffer that was not committed.
func (c *Commands) Discard() {
	if c.pool != 0 {
		call(rt.poolPop, uintptr(c.pool))
		c.pool, c.cb = 0, 0
		runtime.UnlockOSThread()
	}
}

// Commit hands the work to the GPU. All encoders must have ended.
func (c *Commands) Commit() { c.cb.send(selCommit) }

const statusCompleted = 4

// Wait waits for committed work and ends the command buffer. Error: a *CommandError.
func (c *Commands) Wait() error {
	defer c.Discard()
	c.cb.send(selWait)
	if status := c.cb.send(selStatus); status != statusCompleted {
		e := c.cb.sendID(selError)
		return &CommandError{int(e.send(selCode)), errorText(e)}
	}
	return nil
}

// GPUSeconds is the time that completed work took on the GPU: after waiting, before Wait has ended the buffer. See WaitTimed.
func (c *Commands) gpuSeconds() float64 {
	return c.cb.sendFloat(selGPUEnd) - c.cb.sendFloat(selGPUStart)
}

// WaitTimed is Wait, and the seconds that the GPU worked.
func (c *Commands) WaitTimed() (float64, error) {
	c.cb.send(selWait)
	s := c.gpuSeconds()
	return s, c.Wait()
}

// Signal sets an event to value when the work before it is done; WaitFor holds the work after it until then.
func (c *Commands) Signal(e *Event, value uint64) {
	c.cb.send(selEncodeSignal, uintptr(e.ev), uintptr(value))
}

// WaitFor is described with Signal.
func (c *Commands) WaitFor(e *Event, value uint64) {
	c.cb.send(selEncodeWait, uintptr(e.ev), uintptr(value))
}

// Event is a counter that command buffers and the CPU share. It lives until Release.
type Event struct{ ev id }

// NewEvent makes an event of value 0. Error: ErrMemory.
func (d *Device) NewEvent() (*Event, error) {
	e := d.dev.sendID(selNewEvent)
	if e == 0 {
		return nil, fmt.Errorf("metal: event: %w", ErrMemory)
	}
	return &Event{e}, nil
}

// Value is what the event stands at.
func (e *Event) Value() uint64 { return uint64(e.ev.send(selSignaledValue)) }

// Release drops the event.
func (e *Event) Release() { e.ev.release() }

// maxBindings is the number of buffer indices.
const maxBindings = 31

// Encoder records dispatches. Bindings hold until they are replaced.
type Encoder struct {
	enc   id
	a     [8]uintptr // the message being sent: reused, so that sending does not allocate
	size  [2]Size
	pipe  id
	bound [maxBindings]binding
	group [4]int
}

type binding struct {
	buf id
	off int
}

// Compute starts an encoder. Dispatches of a concurrent one may overlap, except across a Barrier; those of another run in
// order. An encoder must End before the next one starts. It is valid until the command buffer ends.
func (c *Commands) Compute(concurrent bool) *Encoder {
	e := &c.enc
	*e = Encoder{}
	if concurrent {
		e.enc = c.cb.sendID(selEncoderType, 1)
	} else {
		e.enc = c.cb.sendID(selEncoder)
	}
	return e
}

func (e *Encoder) send(s sel, n int) {
	e.a[0], e.a[1] = uintptr(e.enc), uintptr(s)
	call(rt.msgSend, e.a[:2+n]...)
}

// Pipeline selects what the next dispatches run.
func (e *Encoder) Pipeline(p *Pipeline) {
	if e.pipe == p.state {
		return
	}
	e.pipe = p.state
	e.a[2] = uintptr(p.state)
	e.send(selSetPipeline, 1)
}

// Buffer binds b, from byte off on, to [[buffer(i)]].
func (e *Encoder) Buffer(i int, b *Buffer, off int) {
	to := &e.bound[i]
	switch {
	case to.buf == b.buf && to.off == off:
		return
	case to.buf == b.buf:
		e.a[2], e.a[3] = uintptr(off), uintptr(i)
		e.send(selSetOffset, 2)
	default:
		e.a[2], e.a[3], e.a[4] = uintptr(b.buf), uintptr(off), uintptr(i)
		e.send(selSetBuffer, 3)
	}
	*to = binding{b.buf, off}
}

// Bytes copies p (n bytes, at most 4096) to [[buffer(i)]].
//
//go:uintptrescapes
func (e *Encoder) Bytes(i int, p uintptr, n int) {
	e.bound[i] = binding{}
	e.a[2], e.a[3], e.a[4] = p, uintptr(n), uintptr(i)
	e.send(selSetBytes, 3)
}

// Args copies a flat struct to [[buffer(i)]].
func Args[T any](e *Encoder, i int, v *T) {
	e.Bytes(i, uintptr(unsafe.Pointer(v)), int(unsafe.Sizeof(*v)))
}

// Group sets the length in bytes of [[threadgroup(i)]] memory, a multiple of 16.
func (e *Encoder) Group(i, n int) {
	if e.group[i] == n {
		return
	}
	e.group[i] = n
	e.a[2], e.a[3] = uintptr(n), uintptr(i)
	e.send(selSetG, 2)
}

// Dispatch runs the selected pipeline on groups threadgroups of threads threads each.
func (e *Encoder) Dispatch(groups, threads Size) {
	e.size = [2]Size{groups.filled(), threads.filled()}
	e.dispatch(uintptr(unsafe.Pointer(&e.size[0])), uintptr(unsafe.Pointer(&e.size[1])))
}

//go:uintptrescapes
func (e *Encoder) dispatch(groups, threads uintptr) {
	e.a[2], e.a[3] = groups, threads
	e.send(selDispatch, 2)
}

// Barrier makes what was dispatched before visible to what is dispatched after.
func (e *Encoder) Barrier() {
	const buffers = 1
	e.a[2] = buffers
	e.send(selBarrier, 1)
}

// End ends the encoder.
func (e *Encoder) End() { e.send(selEndEncoding, 0) }
