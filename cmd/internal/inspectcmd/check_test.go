package inspectcmd

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/cmd/internal/engine"
)

// golden is the folder of golden GGUF files, or a skip.
func golden(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	shared := os.Getenv("DS4_SHARED")
	for ; shared == "" && filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			shared = filepath.Join(dir, "..", "shared")
		}
	}
	data := filepath.Join(shared, "data", "gguf-golden")
	if _, err := os.Stat(data); err != nil {
		t.Skipf("no golden data: %v", err)
	}
	return data
}

// TestPublished checks the headers of the published files: everything fits but what was left out of them, the weights and
// most of the vocabulary.
func TestPublished(t *testing.T) {
	data := golden(t)
	for _, name := range []string{"layout-q2-headeronly", "layout-q4-headeronly"} {
		c := engine.Defaults()
		c.Model = unzipped(t, filepath.Join(data, name+".gguf.gz"))
		found, err := examine(c)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(found.Problems); n != 2 || !strings.Contains(found.Problems[0], "cut short") || !strings.Contains(found.Problems[1], "unusable vocabulary") {
			t.Errorf("%s: want missing weights and vocabulary, got %d problems: %q", name, n, found.Problems)
		}
		if found.OK || len(found.Notes) != 0 {
			t.Errorf("%s: want no notes, got %q", name, found.Notes)
		}
	}
}

func unzipped(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "x.gguf")
	if err := os.WriteFile(out, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return out
}
