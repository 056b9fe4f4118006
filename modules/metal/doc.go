// Package metal is a thin, compute-only binding to Apple's Metal through the Objective-C runtime, without cgo. It knows
// no model.
//
//	d, err := metal.Open(metal.Options{})
//	lib, err := d.Compile(source, metal.Defines{"WIDTH": "4"})
//	add, err := lib.Pipeline("add")
//	x, err := d.NewBuffer(4096)
//	c, err := d.Commands()
//	e := c.Compute(true)
//	e.Pipeline(add)
//	e.Buffer(0, x, 0)
//	e.Dispatch(metal.Size{W: 4}, metal.Size{W: 256})
//	e.End()
//	c.Commit()
//	err = c.Wait()
//
// The types are Device (a GPU with one queue), Library (compiled source), Pipeline (an entry point), Buffer (memory that
// CPU and GPU share), Commands (one command buffer) and Encoder (its dispatches).
//
// Lifetimes. Everything that New… or Open returned is the caller's to Release once, after the last command buffer that
// uses it has completed: command buffers keep no references. Commands and its encoders end with Wait or Discard.
//
// Threads. An autorelease pool belongs to a thread, so Commands locks its goroutine to the thread until Wait or Discard;
// Commands and Encoder belong to that goroutine. Device, Library, Pipeline and Buffer may be used from any.
//
// Every call that Metal needs here takes integers and pointers alone (a struct beyond 16 bytes travels as the address of
// a copy in the arm64 convention), so all go through one raw call that does not allocate. Only arm64 Macs are supported.
// With the build tag cpuonly, and where there is no Metal, Open returns ErrUnsupported and no shared library is linked.
//
// On Linux the same code runs against a stand-in for libobjc and Metal: package standin builds it for tests.
package metal
