package metal

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unsafe"
)

// Defines are macros put before the source: how a kernel's variants are made.
type Defines map[string]string

// Library is compiled source. It lives until Release; pipelines made from it live on.
type Library struct{ dev, lib id }

// mathModeSafe is MTLMathModeSafe: no reassociation, no assumption about NaN. Sums keep the order they are written in.
const mathModeSafe = 0

// Compile compiles Metal Shading Language source for this device, without fast-math. Error: a *CompileError.
func (d *Device) Compile(source string, defs Defines) (lib *Library, err error) {
	var s strings.Builder
	for _, k := range slices.Sorted(maps.Keys(defs)) {
		fmt.Fprintf(&s, "#define %s %s\n", k, defs[k])
	}
	s.WriteString(source)
	pooled(func() {
		src := nsString(s.String())
		defer src.release()
		opt := class("MTLCompileOptions").sendID(selNew)
		defer opt.release()
		if opt.responds(selSetMathMode) { // macOS 15 on
			opt.send(selSetMathMode, mathModeSafe)
		} else {
			opt.send(selSetFastMath, 0)
		}
		var nserr id
		l := d.dev.sendID(selNewLibrary, uintptr(src), uintptr(opt), uintptr(unsafe.Pointer(&nserr)))
		if l == 0 {
			err = &CompileError{errorText(nserr)}
			return
		}
		lib = &Library{d.dev, l}
	})
	return lib, err
}

// Release drops the library.
func (l *Library) Release() { l.lib.release() }

// Pipeline is an entry point that is ready to run. It lives until Release.
type Pipeline struct {
	state id
	Name  string
	// MaxThreads is the most threads that a threadgroup of it can have: less than 1024 where it needs many registers.
	MaxThreads int
	SIMDWidth  int
	GroupBytes int // threadgroup memory that it declares itself
}

// Pipeline looks up an entry point and makes it ready. Error: no such kernel, a *CompileError.
func (l *Library) Pipeline(name string) (p *Pipeline, err error) {
	pooled(func() {
		n := nsString(name)
		defer n.release()
		f := l.lib.sendID(selNewFunction, uintptr(n))
		if f == 0 {
			err = fmt.Errorf("metal: kernel %q: not in the library", name)
			return
		}
		defer f.release()
		var nserr id
		s := l.dev.sendID(selNewPipeline, uintptr(f), uintptr(unsafe.Pointer(&nserr)))
		if s == 0 {
			err = fmt.Errorf("kernel %q: %w", name, &CompileError{errorText(nserr)})
			return
		}
		p = &Pipeline{s, name, int(s.send(selMaxThreads)), int(s.send(selExecWidth)), int(s.send(selStaticMemory))}
	})
	return p, err
}

// Release drops the pipeline.
func (p *Pipeline) Release() { p.state.release() }
