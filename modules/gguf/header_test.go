package gguf_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
)

// realHeader returns a header like that of the published q2 file: its 1328
// tensor records and 62 keys, with the real vocabulary (129,280 tokens,
// 127,741 merges) in place of the layout's stub.
func realHeader(t testing.TB) []byte {
	t.Helper()
	layout := parseGzip(t, filepath.Join(sharedData(t, "gguf-golden"), "layout-q2-headeronly.gguf.gz"))
	vocab := parseGzip(t, filepath.Join(sharedData(t, "tokenizer"), "vocab.gguf.gz"))
	w := gguf.NewWriter()
	for kv := range layout.KVs() {
		if v, ok := vocab.KV(kv.Key); ok && v.Kind == gguf.KindArray {
			kv = v
		}
		if err := w.Copy(kv); err != nil {
			t.Fatal(err)
		}
	}
	for ts := range layout.Tensors() {
		if err := w.AddTensor(ts.Name, ts.Type, ts.Dims, ts.Payload()); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if _, err := w.WriteHeader(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func parseGzip(t testing.TB, path string) *gguf.File {
	t.Helper()
	f, err := gguf.ParseBytes(readFile(t, path), gguf.HeaderOnly())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// realFile writes that header with a data section of the true size, which is
// a hole: no disk is used.
func realFile(t testing.TB) string {
	t.Helper()
	head := realHeader(t)
	path := filepath.Join(t.TempDir(), "q2.gguf")
	if err := os.WriteFile(path, head, 0o600); err != nil {
		t.Fatal(err)
	}
	const dataBytes = 86_714_777_664 // as published
	if err := os.Truncate(path, int64(len(head))+dataBytes); err != nil {
		t.Skipf("no sparse file of the real size here: %v", err)
	}
	return path
}

func TestRealLayouts(t *testing.T) {
	for name, dataBytes := range map[string]uint64{"q2": 86_714_777_664, "q4": 164_628_168_768} {
		raw := readFile(t, filepath.Join(sharedData(t, "gguf-golden"), "layout-"+name+"-headeronly.gguf.gz"))
		if _, err := gguf.ParseBytes(raw); !errors.Is(err, gguf.ClassTensorOutOfFile) {
			t.Errorf("%s, strict: want tensor_out_of_file, got %v", name, err)
		}
		f, err := gguf.ParseBytes(raw, gguf.HeaderOnly(), gguf.RequireContiguous())
		if err != nil {
			t.Fatalf("%s, header only: %v", name, err)
		}
		sum, elements := uint64(0), uint64(0)
		for ts := range f.Tensors() {
			sum += (ts.Bytes + 31) / 32 * 32
			elements += ts.Elements()
		}
		if f.NumTensors() != 1328 || sum != dataBytes || elements != 284_334_567_511 {
			t.Errorf("%s: want 1328 tensors of %d bytes and 284334567511 elements, got %d of %d and %d",
				name, dataBytes, f.NumTensors(), sum, elements)
		}
		first, _ := f.Tensor("blk.0.ffn_gate_exps.weight")
		if _, err := first.Data(); !errors.Is(err, gguf.ClassTruncated) {
			t.Errorf("%s: data of an absent tensor: want truncated, got %v", name, err)
		}
	}
}

// TestOpenRealHeader holds opening to its promise: under 2 MB of allocations
// for the largest file we know, with all arrays left where they are.
func TestOpenRealHeader(t *testing.T) {
	path := realFile(t)
	var f *gguf.File
	var err error
	got := allocatedBytes(func() { f, err = gguf.Open(path) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	t.Logf("header of %d bytes, %d allocated", f.HeaderSize(), got)
	if !f.Mapped() {
		t.Log("no mapping of this size here, the header is a copy")
	} else if got >= 2_000_000 {
		t.Errorf("want under 2 MB allocated, got %d bytes", got)
	}
	if n := f.NumTensors(); n != 1328 {
		t.Errorf("want 1328 tensors, got %d", n)
	}
	tokens, err := f.Strings("tokenizer.ggml.tokens")
	if err != nil || len(tokens) != 129280 || tokens[0] != "<｜begin▁of▁sentence｜>" {
		t.Errorf("tokens: want 129280 from <｜begin▁of▁sentence｜>, got %d, %v", len(tokens), err)
	}
	exp, _ := f.Tensor("blk.42.ffn_down_exps.weight")
	if b, err := exp.Slice(255); err != nil || len(b) != 4096*2048/256*84 {
		t.Errorf("expert 255: want %d bytes, got %d, %v", 4096*2048/256*84, len(b), err)
	}
}

// TestLazyIteration: walking all tokens allocates nothing to speak of.
func TestLazyIteration(t *testing.T) {
	f, err := gguf.ParseBytes(realHeader(t), gguf.HeaderOnly())
	if err != nil {
		t.Fatal(err)
	}
	a, err := f.Array("tokenizer.ggml.merges")
	if err != nil {
		t.Fatal(err)
	}
	types, err := f.Array("tokenizer.ggml.token_type")
	if err != nil {
		t.Fatal(err)
	}
	n, normal := 0, 0
	got := allocatedBytes(func() {
		seq, err := gguf.Seq[string](a)
		if err != nil {
			t.Error(err)
			return
		}
		for range seq {
			n++
		}
		kinds, err := gguf.Seq[uint8](types)
		if err != nil {
			t.Error(err)
			return
		}
		for _, k := range kinds {
			if k == 1 {
				normal++
			}
		}
	})
	if n != 127741 || normal < 100_000 || got > 64<<10 {
		t.Errorf("want 127741 merges, most tokens normal, under 64 KiB allocated; got %d, %d, %d bytes", n, normal, got)
	}
}

// TestHeaderThroughReader reads the header with a window that has to grow, and
// no more than the header.
func TestHeaderThroughReader(t *testing.T) {
	path := realFile(t)
	f, err := gguf.Open(path, gguf.NoMmap())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	g, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = g.Close() }()
	want, err := g.Strings("tokenizer.ggml.merges")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.Strings("tokenizer.ggml.merges"); err != nil || !slices.Equal(got, want) {
		t.Errorf("merges differ: %v", err)
	}
	if _, err := gguf.Open(path, gguf.NoMmap(), gguf.MaxHeader(4<<20)); !errors.Is(err, gguf.ClassHeaderTooLarge) {
		t.Errorf("MaxHeader: want header_too_large, got %v", err)
	}
}

func BenchmarkOpen(b *testing.B) {
	path := realFile(b)
	for _, c := range []struct {
		name string
		opts []gguf.Option
	}{{"mmap", nil}, {"read", []gguf.Option{gguf.NoMmap()}}, {"mmap+utf8", []gguf.Option{gguf.CheckStrings()}}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f, err := gguf.Open(path, c.opts...)
				if err != nil {
					b.Fatal(err)
				}
				if err := f.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTokens(b *testing.B) {
	f, err := gguf.ParseBytes(realHeader(b), gguf.HeaderOnly())
	if err != nil {
		b.Fatal(err)
	}
	a, err := f.Array("tokenizer.ggml.tokens")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("copy", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := gguf.Slice[string](a); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("iterate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			seq, err := gguf.Seq[string](a)
			if err != nil {
				b.Fatal(err)
			}
			for range seq {
			}
		}
	})
}

// A header that is cut short must not pass for a whole one.
func TestHeaderCutAnywhere(t *testing.T) {
	raw := readFile(t, filepath.Join(sharedData(t, "gguf-golden"), "layout-q2-headeronly.gguf.gz"))
	for n := 0; n < len(raw)-32; n += 61 {
		_, err := gguf.ParseBytes(raw[:n], gguf.HeaderOnly())
		var e *gguf.Error
		if !errors.As(err, &e) || !errors.Is(err, gguf.ErrCorrupt) {
			t.Fatalf("cut at %d: want a corrupt-file error, got %v", n, err)
		}
	}
}
