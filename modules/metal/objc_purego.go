//go:build !cpuonly && (darwin || linux) && (arm64 || amd64)

package metal

import (
	"github.com/ebitengine/purego"
)

// symbol opens a library and looks a function up.
func symbol(lib, name string) (uintptr, error) {
	h, err := purego.Dlopen(lib, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return 0, err
	}
	return purego.Dlsym(h, name)
}

// call does not allocate: the caller's slice is the argument list.
func call(fn uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(fn, args...)
	return r
}

// sendFloat is objc_msgSend for a selector without arguments that returns a double. It allocates: keep it off the hot path.
func (o id) sendFloat(s sel) float64 {
	if o == 0 {
		return 0
	}
	var f func(id, sel) float64
	purego.RegisterFunc(&f, rt.msgSend)
	return f(o, s)
}
