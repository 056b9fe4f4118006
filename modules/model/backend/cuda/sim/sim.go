//go:build linux && amd64

// Package sim builds and steers the stand-in for libcuda that runs the kernels on the host. It needs clang++-19.
//
//	path, err := sim.Build()
//	b, err := cuda.New(shape, limits, cuda.Options{Library: path})
package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// ErrNoCompiler is returned where clang++-19 is not installed, or the sources are not where they were compiled from.
var ErrNoCompiler = errors.New("sim: clang++-19 or the sources are not here")

// Build compiles the stand-in into the user's cache folder, once for each state of its sources, and returns its path.
var Build = sync.OnceValues(build)

func build() (string, error) {
	cc, err := exec.LookPath("clang++-19")
	_, self, _, ok := runtime.Caller(0)
	if err != nil || !ok {
		return "", ErrNoCompiler
	}
	here, h := filepath.Dir(self), sha256.New()
	var files []string
	for _, pattern := range []string{"src/*", "../kernels/*.cu", "../kernels/*.cuh"} {
		m, err := filepath.Glob(filepath.Join(here, pattern))
		if err != nil {
			return "", fmt.Errorf("sim: %w", err)
		}
		files = append(files, m...)
	}
	slices.Sort(files)
	for _, f := range files {
		p, err := os.ReadFile(f)
		if err != nil {
			return "", fmt.Errorf("sim: %w", err)
		}
		h.Write(p)
	}
	if len(files) < 10 { // a binary that was taken elsewhere
		return "", ErrNoCompiler
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	path := filepath.Join(cache, "ds4", "cuda-sim", hex.EncodeToString(h.Sum(nil))[:16]+".so")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("sim: %w", err)
	}
	part := fmt.Sprintf("%s.%d", path, os.Getpid())
	cmd := exec.Command("sh", filepath.Join(here, "build.sh"), part)
	cmd.Env = append(os.Environ(), "CXX="+cc)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("sim: %w: %s", err, out)
	}
	if err := os.Rename(part, path); err != nil {
		return "", fmt.Errorf("sim: %w", err)
	}
	return path, nil
}

// Device is the stand-in's one device, as this process has it.
type Device struct{ fault, live uintptr }

// Load finds the device of a built stand-in.
func Load(path string) (*Device, error) {
	h, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("sim: %w", err)
	}
	d := &Device{}
	if d.fault, err = purego.Dlsym(h, "sim_fault"); err != nil {
		return nil, fmt.Errorf("sim: %w", err)
	}
	if d.live, err = purego.Dlsym(h, "sim_live"); err != nil {
		return nil, fmt.Errorf("sim: %w", err)
	}
	return d, nil
}

// Fault plans a fault: "CALL:N:CODE" or "KERNEL:N:CODE", see src/sim.cpp; "" plans none.
func (d *Device) Fault(spec string) error {
	p := append([]byte(spec), 0)
	r, _, _ := purego.SyscallN(d.fault, uintptr(unsafe.Pointer(unsafe.SliceData(p))))
	runtime.KeepAlive(p)
	if r != 0 {
		return fmt.Errorf("sim: fault: want NAME:N:CODE, got %q", spec)
	}
	return nil
}

// Live is the number of allocations, streams, events, graphs and modules that were not given back.
func (d *Device) Live() int {
	r, _, _ := purego.SyscallN(d.live)
	return int(r)
}
