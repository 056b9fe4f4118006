package cuda

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKernelsAreCurrent: the PTX was generated from these sources. It needs no compiler; generate.sh --check does, and
// compares the text as well.
func TestKernelsAreCurrent(t *testing.T) {
	h := sha256.New()
	for _, pattern := range []string{"*.cu", "*.cuh"} {
		files, err := filepath.Glob(filepath.Join("kernels", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			p, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			h.Write(p)
		}
	}
	want, err := os.ReadFile("kernels/source.sha256")
	if os.IsNotExist(err) {
		t.Skip("the sources are not here")
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != strings.TrimSpace(string(want)) {
		t.Fatalf("kernels: sources changed: want %s, got %s: run kernels/generate.sh", want, got)
	}
}

// TestKernelNames: every kernel that is launched is in the module.
func TestKernelNames(t *testing.T) {
	for i, n := range kernelNames() {
		for _, text := range [][]byte{ptx80, ptx90} {
			if n == "" || !strings.Contains(string(text), ".entry "+n+"(") {
				t.Errorf("kernel %d, %q: not in the PTX", i, n)
			}
		}
	}
}
