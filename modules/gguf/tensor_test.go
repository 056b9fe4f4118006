package gguf_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
)

// stack returns a file with an expert stack of known bytes, and the bytes.
func stack(t testing.TB) (*gguf.Writer, []byte) {
	t.Helper()
	data := make([]byte, 3*4*2*gguf.Q8_0Bytes) // 3 experts of 4 rows of 64
	for i := range data {
		data[i] = byte(i * 7)
	}
	w := gguf.NewWriter()
	if err := w.AddTensor("exps", gguf.TypeQ8_0, []uint64{64, 4, 3}, gguf.Bytes(data)); err != nil {
		t.Fatal(err)
	}
	return w, data
}

func TestTensorViews(t *testing.T) {
	w, data := stack(t)
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := w.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	for _, o := range openers {
		f, err := o.open(t, path)
		if err != nil {
			t.Fatal(err)
		}
		ts, ok := f.Tensor("exps")
		if !ok {
			t.Fatal("want tensor exps")
		}
		if ts.Elements() != 768 || ts.Rows() != 12 || ts.RowBytes() != 68 || ts.Bytes != 816 ||
			!slices.Equal(ts.Shape(), []uint64{3, 4, 64}) || ts.String() != "q8_0 (3, 4, 64)" {
			t.Errorf("%s: shape: got %v, %d elements, %d rows of %d bytes", o.name, ts, ts.Elements(), ts.Rows(), ts.RowBytes())
		}
		row, err := ts.Row(5)
		if err != nil || !bytes.Equal(row, data[5*68:6*68]) {
			t.Errorf("%s: row 5: %v", o.name, err)
		}
		expert, err := ts.Slice(2)
		if err != nil || !bytes.Equal(expert, data[2*272:]) {
			t.Errorf("%s: expert 2: %v", o.name, err)
		}
		all, err := io.ReadAll(ts.Section())
		if err != nil || !bytes.Equal(all, data) {
			t.Errorf("%s: section: %v", o.name, err)
		}
		if _, err := ts.Row(12); err == nil {
			t.Errorf("%s: row 12 of 12: want an error", o.name)
		}
		if _, err := ts.Slice(3); err == nil {
			t.Errorf("%s: expert 3 of 3: want an error", o.name)
		}
		if other, err := gguf.ParseBytes(write(t, w)); err != nil {
			t.Error(err)
		} else if _, err := other.Data(ts); err == nil {
			t.Errorf("%s: another file's tensor: want an error", o.name)
		}
		if mapped := o.name != "read" && o.name != "readerat"; f.Mapped() != mapped {
			t.Errorf("%s: want Mapped %v", o.name, mapped)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestOpenWhatIsNoFile gives one clear line for the mistakes people make.
func TestOpenWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	put := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for path, want := range map[string]string{
		dir:                        "a directory",
		filepath.Join(dir, "none"): "no such file",
		put("empty", ""):           "(truncated)",
		put("lfs", "version https://git-lfs.github.com/spec/v1\n"): "Git LFS pointer",
		put("html", "<!DOCTYPE html><html></html>"):                "an HTML page",
		put("old", "lmgg"+strings.Repeat("\x00", 60)):              "an older ggml format",
	} {
		f, err := gguf.Open(path)
		if err == nil {
			_ = f.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), "gguf: ") != 1 {
			t.Errorf("%s: want one line that says %q, got %v", filepath.Base(path), want, err)
		}
	}
}

func TestTypes(t *testing.T) {
	for id := gguf.Type(0); id < 64; id++ {
		if !id.Known() {
			if id.BlockSize() != 0 || id.BlockBytes() != 0 || !strings.HasPrefix(id.String(), "type(") {
				t.Errorf("%d: want nothing about an unknown type, got %v", id, id)
			}
			continue
		}
		for _, name := range []string{id.String(), strings.ToUpper(id.String()), strings.ReplaceAll(id.String(), "_", "-")} {
			if back, err := gguf.ParseType(name); err != nil || back != id {
				t.Errorf("%s: want %d, got %d, %v", name, id, back, err)
			}
		}
		if n, err := id.RowBytes(3 * id.BlockSize()); err != nil || n != int64(3*id.BlockBytes()) {
			t.Errorf("%v: row of 3 blocks: got %d, %v", id, n, err)
		}
	}
	if _, err := gguf.ParseType("q9_z"); err == nil {
		t.Error("q9_z: want an error")
	}
	// A fork's type, for one file.
	fork := gguf.WithType(100, gguf.TypeInfo{Name: "fork", BlockSize: 8, BlockBytes: 5})
	w := gguf.NewWriter(fork)
	if err := w.AddTensor("t", 100, []uint64{16}, gguf.Bytes(make([]byte, 10))); err != nil {
		t.Fatal(err)
	}
	f := parsed(t, w, fork)
	ts, _ := f.Tensor("t")
	if ts.Bytes != 10 || ts.String() != "fork (16)" {
		t.Errorf("fork: got %v of %d bytes", ts, ts.Bytes)
	}
	if _, err := gguf.ParseBytes(write(t, w)); err == nil || !strings.Contains(err.Error(), `tensor "t"`) || !strings.Contains(err.Error(), "100") {
		t.Errorf("without the option: want an error with name and id, got %v", err)
	}
}
