//go:build linux && (amd64 || arm64) && !cpuonly

package driver

import (
	"fmt"

	"github.com/ebitengine/purego"
)

// load opens the library and finds every name.
func load(path string, names []string, fns []uintptr) error {
	paths := []string{path}
	if path == "" {
		paths = []string{"libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"}
	}
	var h uintptr
	var first error // of the usual path: what is wrong there tells more than that the others are not there
	for _, p := range paths {
		var err error
		if h, err = purego.Dlopen(p, purego.RTLD_NOW|purego.RTLD_LOCAL); err == nil {
			break
		} else if first == nil {
			first = err
		}
	}
	if h == 0 {
		return fmt.Errorf("driver: no CUDA driver: %w: %w", first, ErrUnsupported)
	}
	var err error
	for i, n := range names {
		if fns[i], err = purego.Dlsym(h, n); err != nil {
			return fmt.Errorf("driver: %s: %w: %w", n, err, ErrUnsupported)
		}
	}
	return nil
}

func call(fn uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(fn, args...)
	return r & 0xffffffff
}
