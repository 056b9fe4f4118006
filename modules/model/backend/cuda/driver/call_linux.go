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
	var err error
	for _, p := range paths {
		if h, err = purego.Dlopen(p, purego.RTLD_NOW|purego.RTLD_LOCAL); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("driver: no CUDA driver: %w: %w", err, ErrUnsupported)
	}
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
