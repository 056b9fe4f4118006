package synthcmd

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/modules/gguf"
)

func TestParse(t *testing.T) {
	for _, args := range [][]string{
		{}, {"a", "b"}, {"--quant", "q3", "a"}, {"--layers", "44", "a"}, {"--expert-sets", "0", "a"}, {"--expert-sets", "some", "a"},
	} {
		var usage *cli.UsageError
		if _, err := parse(args, &bytes.Buffer{}); !errors.As(err, &usage) {
			t.Errorf("%q: want a usage error, got %v", args, err)
		}
	}
	o, err := parse([]string{"--expert-sets", "all", "--quant", "q4", "--fixed-route", "f.gguf"}, &bytes.Buffer{})
	if err != nil || o.sets != 0 || o.quant != "q4" || !o.fixedRoute || o.path != "f.gguf" || o.layers != 43 {
		t.Errorf("want all sets at q4, got %+v, %v", o, err)
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o    options
		size int64
		want string
	}{
		{options{path: filepath.Join(dir, "no", "f")}, 1, "want a folder"},
		{options{path: dir}, 1, "got a directory"},
		{options{path: there}, 1, "--force replaces it"},
		{options{path: filepath.Join(dir, "f")}, 1 << 62, "disk space"},
	} {
		if _, ok := freeSpace(dir); !ok && c.size > 1 {
			continue
		}
		if err := check(c.o, c.size); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: want %q, got %v", c.o, c.want, err)
		}
	}
	if err := check(options{path: there, force: true}, 1); err != nil {
		t.Errorf("--force: %v", err)
	}
}

// TestInterrupted: what is stopped half way leaves nothing.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	w := gguf.NewWriter()
	big := make([]byte, 8<<20)
	for i, name := range []string{"a", "b"} {
		if err := w.AddTensor(name, gguf.TypeI8, []uint64{8 << 20}, gguf.Bytes(big)); err != nil {
			t.Fatal(i, err)
		}
	}
	cancel()
	if err := writeFile(ctx, w, filepath.Join(dir, "f")); !errors.Is(err, context.Canceled) {
		t.Errorf("want %v, got %v", context.Canceled, err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("want an empty folder, got %v, %v", left, err)
	}
	if err := writeFile(context.Background(), w, filepath.Join(dir, "f")); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
