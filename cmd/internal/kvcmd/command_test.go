package kvcmd

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/synth"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
)

// zeros is a source of zeros: valid rows of no meaning.
type zeros struct {
	tokens []int32
	state  []byte
}

func (z zeros) Tokens() []int32                { return z.tokens }
func (z zeros) ReadPage(_ int, p []byte) error { clear(p); return nil }
func (z zeros) State() ([]byte, error)         { return z.state, nil }
func (z zeros) Free()                          {}

// cache makes a model file and a cache of it with two checkpoints, the second without text.
func cache(t *testing.T) (modelFile, dir string) {
	t.Helper()
	f, err := synth.T1().File()
	if err != nil {
		t.Fatal(err)
	}
	modelFile = filepath.Join(t.TempDir(), "tiny.gguf")
	data := make([]byte, f.Size())
	if _, err := f.ReadAt(data, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(modelFile, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err = gguf.Open(modelFile); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	shape, err := model.ReadShape(f)
	if err != nil {
		t.Fatal(err)
	}
	id, err := engine.Identity(f)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	blobs, err := kvstore.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := kvstore.Open(kvstore.Options{Blobs: blobs, Identity: id, Shape: shape, CtxTokens: 10000})
	if err != nil {
		t.Fatal(err)
	}
	tokens := synth.Prompt(shape.Vocab, 3000)
	for n, text := range map[int]string{2500: "some text", 3000: ""} {
		src := zeros{tokens[:n], make([]byte, model.StateBytes(shape, n))}
		if err := s.Save(src, kvstore.Mark{Reason: kvstore.Cold, Text: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	return modelFile, dir
}

// ds4 runs "ds4 kv" and returns what it prints and its exit code.
func ds4(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	err := run(context.Background(), args, &stdout, &stderr)
	if err != nil {
		t.Logf("ds4 kv %s: %v", strings.Join(args, " "), err)
	}
	code = cli.Exit(&stderr, "ds4", err)
	return stdout.String() + stderr.String(), code
}

func TestKV(t *testing.T) {
	modelFile, dir := cache(t)
	out, code := ds4(t, "ls", dir)
	if code != 0 || strings.Count(out, "checkpoint") != 2 || !strings.Contains(out, "3 files") {
		t.Errorf("ls: %d\n%s", code, out)
	}
	out, _ = ds4(t, "ls", "--json", "--blocks", dir)
	var list []jsonInfo
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 3 {
		t.Fatalf("ls --json: %v\n%s", err, out)
	}
	var long, withText string
	for _, i := range list {
		switch {
		case i.Kind == "checkpoint" && i.Tokens == 3000:
			long = i.Name
		case i.Kind == "checkpoint":
			withText = i.Name
		}
	}
	if out, code = ds4(t, "show", dir, withText[:10]); code != 0 || !strings.Contains(out, `"some text"`) || !strings.Contains(out, "2500") {
		t.Errorf("show: %d\n%s", code, out)
	}
	if out, code = ds4(t, "verify", dir); code != 0 || !strings.Contains(out, "3 files") || !strings.Contains(out, " 0 damaged") {
		t.Errorf("verify: %d\n%s", code, out)
	}

	// Out to KVC and into a new cache.
	kv, second := filepath.Join(t.TempDir(), "kv"), filepath.Join(t.TempDir(), "new")
	out, code = ds4(t, "export", dir, withText, kv, "-m", modelFile)
	if code != 0 || !strings.HasSuffix(out, ".kv\n") {
		t.Fatalf("export: %d\n%s", code, out)
	}
	if _, code = ds4(t, "export", dir, long, kv, "-m", modelFile); code != 1 { // no text, and no vocabulary to spell it with
		t.Errorf("export without text: want exit code 1, got %d", code)
	}
	if out, code = ds4(t, "verify", kv, "-m", modelFile); code != 0 || !strings.Contains(out, "1 files") {
		t.Errorf("verify of a KVC file: %d\n%s", code, out)
	}
	if out, code = ds4(t, "import", second, strings.TrimSpace(out0(t, kv)), "-m", modelFile); code != 0 || !strings.Contains(out, "2500 tokens") {
		t.Fatalf("import: %d\n%s", code, out)
	}
	if out, _ = ds4(t, "ls", second); !strings.Contains(out, withText[:12]) {
		t.Errorf("want the same checkpoint, got\n%s", out)
	}

	// Damage.
	path := filepath.Join(dir, withText)
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p[len(p)-9] ^= 1
	if err := os.WriteFile(path, p, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code = ds4(t, "verify", dir, "--quarantine"); code != 1 || !strings.Contains(out, "1 damaged") {
		t.Errorf("verify: %d\n%s", code, out)
	}
	if out, code = ds4(t, "rm", dir, long); code != 0 {
		t.Errorf("rm: %d\n%s", code, out)
	}
	if out, _ = ds4(t, "ls", dir); !strings.Contains(out, "1 files") || !strings.Contains(out, "bad") {
		t.Errorf("want the quarantined file left, got\n%s", out)
	}
	if out, code = ds4(t, "rm", "--all", dir); code != 0 {
		t.Errorf("rm --all: %d\n%s", code, out)
	}
	if out, _ = ds4(t, "ls", dir); !strings.Contains(out, "0 files") {
		t.Errorf("want nothing left, got\n%s", out)
	}
}

// out0 is the one file in a folder of KVC files.
func out0(t *testing.T, dir string) string {
	t.Helper()
	l, err := filepath.Glob(filepath.Join(dir, "*.kv"))
	if err != nil || len(l) != 1 {
		t.Fatalf("want one file, got %v, %v", l, err)
	}
	return l[0]
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{{}, {"lst", dir}, {"ls"}, {"ls", dir, "x"}, {"show", dir}, {"rm", dir}, {"rm", dir, "x", "--all"}, {"export", dir, "x"}, {"--nope"}} {
		if _, code := ds4(t, args...); code != 2 {
			t.Errorf("%v: want exit code 2, got %d", args, code)
		}
	}
	for _, args := range [][]string{{"ls", filepath.Join(dir, "missing")}, {"show", dir, "x"}, {"rm", dir, "x"}} {
		if _, code := ds4(t, args...); code != 1 {
			t.Errorf("%v: want exit code 1, got %d", args, code)
		}
	}
	if out, code := ds4(t, "--help"); code != 0 || !strings.Contains(out, "ds4 kv export") {
		t.Errorf("help: %d\n%s", code, out)
	}
}
