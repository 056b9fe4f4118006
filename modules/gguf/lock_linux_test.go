package gguf_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
)

// locked is what the system keeps in memory for this process, in bytes.
func locked(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmLck:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Skip("the system does not say what is locked")
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

func TestLock(t *testing.T) {
	w, _ := stack(t)
	path := filepath.Join(t.TempDir(), "x.gguf")
	if err := os.WriteFile(path, write(t, w), 0o600); err != nil {
		t.Fatal(err)
	}
	before := locked(t)
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Lock(); err != nil {
		t.Fatal(err)
	}
	if n := locked(t) - before; n < int(f.Size()) {
		t.Errorf("want at least %d bytes locked, got %d", f.Size(), n)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if n := locked(t) - before; n != 0 {
		t.Errorf("after Close: want nothing locked, got %d bytes", n)
	}
	if err := f.Lock(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("after Close: want ErrUnsupported, got %v", err)
	}

	read, err := gguf.Open(path, gguf.NoMmap())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = read.Close() }()
	if err := read.Lock(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("not mapped: want ErrUnsupported, got %v", err)
	}
}
