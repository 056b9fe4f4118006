//go:build !linux || cpuonly || (!amd64 && !arm64)

package driver

import "fmt"

func load(string, []string, []uintptr) error {
	return fmt.Errorf("driver: built without CUDA: %w", ErrUnsupported)
}

func call(uintptr, ...uintptr) uintptr { return 1 }
