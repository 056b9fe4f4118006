//go:build linux && amd64

// Package standin builds a stand-in for libobjc and Metal, so that the binding and the kernels run in tests on Linux. It
// needs clang-19. What it checks, and what only a Mac can show, is listed in docs/metal.md.
//
//	path, err := standin.Build()
//	d, err := metal.Open(metal.Options{Library: path})
package standin

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/ebitengine/purego"
)

//go:embed src
var sources embed.FS

// ErrNoCompiler is returned where clang-19 is not installed.
var ErrNoCompiler = errors.New("standin: clang-19 is not installed")

var build = sync.OnceValues(func() (string, error) {
	cc, err := exec.LookPath("clang-19")
	if err != nil {
		return "", ErrNoCompiler
	}
	h := sha256.New()
	err = fs.WalkDir(sources, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		p, err := sources.ReadFile(path)
		h.Write([]byte(path))
		h.Write(p)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("standin: %w", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "ds4", "metal-standin", hex.EncodeToString(h.Sum(nil))[:16])
	path := filepath.Join(dir, "libstandin.so")
	if _, err := os.Stat(path); err != nil {
		if err := compile(cc, dir, path); err != nil {
			return "", err
		}
	}
	return path, nil
})

func compile(cc, dir, path string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("standin: %w", err)
	}
	if err := os.CopyFS(dir, sources); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("standin: %w", err)
	}
	tmp := path + "." + strconv.Itoa(os.Getpid())
	args := []string{"-std=c++20", "-O3", "-march=x86-64-v3", "-shared", "-fPIC", "-fno-semantic-interposition", "-ftls-model=initial-exec", "-o", tmp}
	for _, f := range []string{"standin.cc", "compile.cc", "run.cc"} {
		args = append(args, filepath.Join(dir, "src", f))
	}
	out, err := exec.Command(cc, append(args, "-lstdc++", "-lm", "-lpthread", "-ldl")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("standin: %w: %s", err, out)
	}
	return os.Rename(tmp, path)
}

// BuildCUDA compiles the half that dispatches on an NVIDIA card to path: see the command cuda.
func BuildCUDA(path string) error {
	cc, err := exec.LookPath("clang-19")
	if err != nil {
		return ErrNoCompiler
	}
	dir, err := os.MkdirTemp("", "standin")
	if err != nil {
		return fmt.Errorf("standin: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.CopyFS(dir, sources); err != nil {
		return fmt.Errorf("standin: %w", err)
	}
	src := filepath.Join(dir, "src")
	out, err := exec.Command(cc, "-std=c++20", "-O2", "-shared", "-fPIC", "-o", path, filepath.Join(src, "standin.cc"), filepath.Join(src, "cuda.cc"),
		"-Wl,-Bstatic", "-lstdc++", "-Wl,-Bdynamic", "-lm", "-lpthread", "-ldl").CombinedOutput()
	if err != nil {
		return fmt.Errorf("standin: %w: %s", err, out)
	}
	return nil
}

// Build compiles the stand-in, or finds it in the user's cache, and returns its path. Compiled kernels are cached beside it.
func Build() (string, error) { return build() }

func symbol(path, name string) (uintptr, error) {
	h, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return 0, fmt.Errorf("standin: %w", err)
	}
	p, err := purego.Dlsym(h, name)
	if err != nil {
		return 0, fmt.Errorf("standin: %w", err)
	}
	return p, nil
}

func set(path, name, value string) error {
	p, err := symbol(path, "standin_set")
	if err != nil {
		return err
	}
	var f func(name, value string)
	purego.RegisterFunc(&f, p)
	f(name, value)
	return nil
}

// Set changes a setting, an integer: seed, threads, macos (version), trace (1: count bytes and look for races in
// threadgroup memory; libraries compiled from then on), working_set, max_buffer, memory, available (bytes); skip_barrier (the n-th barrier between
// dispatches since Reset is left out, and what comes after it runs first; 0: none).
func Set(name string, value int64) error {
	path, err := Build()
	if err != nil {
		return err
	}
	return set(path, name, strconv.FormatInt(value, 10))
}

// Plant makes libraries that are compiled from now on differ from their sources: the first `from` becomes `to`. An empty `from`
// ends it.
func Plant(from, to string) error {
	path, err := Build()
	if err != nil {
		return err
	}
	p, err := symbol(path, "standin_plant")
	if err != nil {
		return err
	}
	var f func(from, to string)
	purego.RegisterFunc(&f, p)
	f(from, to)
	return nil
}

// PlantEnv is Plant for a process that is still to be started: a line of its environment.
func PlantEnv(from, to string) (name, value string) { return "STANDIN_PLANT", from + "\x01" + to }

// Totals are counts since Reset.
type Totals struct{ CommandBuffers, Encoders, Dispatches, Barriers, Messages uint64 }

// Count is what one kernel did since Reset. Bytes are counted where trace is set: in distinct sectors of 32, of each
// threadgroup for wrapped buffers (weights), of each dispatch for others.
type Count struct {
	Dispatches            uint64
	Wrapped               uint64
	ReadBytes, WroteBytes uint64
}

// Reset clears the counts.
func Reset() error {
	path, err := Build()
	if err != nil {
		return err
	}
	p, err := symbol(path, "standin_reset")
	if err != nil {
		return err
	}
	purego.SyscallN(p)
	return nil
}

// Counts returns the totals, and each kernel's.
func Counts() (Totals, map[string]Count, error) {
	path, err := Build()
	if err != nil {
		return Totals{}, nil, err
	}
	total, err := symbol(path, "standin_total")
	if err != nil {
		return Totals{}, nil, err
	}
	counts, err := symbol(path, "standin_counts")
	if err != nil {
		return Totals{}, nil, err
	}
	var t Totals
	for i, to := range []*uint64{&t.CommandBuffers, &t.Encoders, &t.Dispatches, &t.Barriers, &t.Messages} {
		r, _, _ := purego.SyscallN(total, uintptr(i))
		*to = uint64(r)
	}
	var read func(out []byte, room uint64) uint64
	purego.RegisterFunc(&read, counts)
	text := make([]byte, 64<<10)
	text = text[:read(text, uint64(len(text)))]
	m := map[string]Count{}
	for line := range strings.Lines(string(text)) {
		var name string
		var c Count
		if _, err := fmt.Sscan(line, &name, &c.Dispatches, &c.Wrapped, &c.ReadBytes, &c.WroteBytes); err != nil {
			return t, nil, fmt.Errorf("standin: counts: %q: %w", line, err)
		}
		m[name] = c
	}
	return t, m, nil
}
