package gguf_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
)

// rewrite copies everything that f holds through a Writer.
func rewrite(t testing.TB, f *gguf.File) *gguf.Writer {
	t.Helper()
	w := gguf.NewWriter(gguf.AllowScalars())
	for kv := range f.KVs() {
		if err := w.Copy(kv); err != nil {
			t.Fatal(err)
		}
	}
	for ts := range f.Tensors() {
		if err := w.AddTensor(ts.Name, ts.Type, ts.Dims, ts.Payload()); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// write returns the file, which must be as long as promised.
func write(t testing.TB, w *gguf.Writer) []byte {
	t.Helper()
	var out bytes.Buffer
	n, err := w.WriteTo(&out)
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(out.Len()) || n != w.Size() {
		t.Fatalf("want Size %d, bytes written %d and bytes reported %d to be equal", w.Size(), out.Len(), n)
	}
	return out.Bytes()
}

// sameContent compares metadata and tensors; places in the file may differ.
func sameContent(t testing.TB, a, b *gguf.File) {
	t.Helper()
	if a.NumKVs() != b.NumKVs() || a.NumTensors() != b.NumTensors() {
		t.Fatalf("want %d keys and %d tensors, got %d and %d", a.NumKVs(), a.NumTensors(), b.NumKVs(), b.NumTensors())
	}
	kvs := slices.Collect(b.KVs())
	i := 0
	for kv := range a.KVs() {
		want, errA := kv.Raw()
		got, errB := kvs[i].Raw()
		if err := errors.Join(errA, errB); err != nil {
			t.Fatal(err)
		}
		if kv.Key != kvs[i].Key || kv.Kind != kvs[i].Kind || !bytes.Equal(want, got) {
			t.Fatalf("key %d: want %q %v, got %q %v", i, kv.Key, kv, kvs[i].Key, kvs[i])
		}
		i++
	}
	tensors := slices.Collect(b.Tensors())
	i = 0
	for ta := range a.Tensors() {
		tb := tensors[i]
		want, errA := ta.Data()
		got, errB := tb.Data()
		if err := errors.Join(errA, errB); err != nil {
			t.Fatal(err)
		}
		if ta.Name != tb.Name || ta.Type != tb.Type || !slices.Equal(ta.Dims, tb.Dims) || !bytes.Equal(want, got) {
			t.Fatalf("tensor %d: want %q %v, got %q %v", i, ta.Name, ta, tb.Name, tb)
		}
		i++
	}
}

// TestRewriteCorpus reproduces, byte for byte, every legal file of the corpus
// that is laid out as the writer does it, and the content of the others.
func TestRewriteCorpus(t *testing.T) {
	dir, list := corpus(t)
	unpadded := []string{"ok-nopad-tail.gguf", "ok-q8_0.gguf", "pol-0d.gguf"} // our last tensor is padded too
	differ := append(unpadded, "ok-out-of-order.gguf", "ok-gap.gguf", "ok-trailing.gguf", "pol-v2.gguf")
	n := 0
	for _, c := range list {
		data := readFile(t, filepath.Join(dir, c.File))
		f, err := gguf.ParseBytes(data, gguf.AllowScalars(), gguf.AllowVersion2())
		if err != nil {
			continue
		}
		n++
		out := write(t, rewrite(t, f))
		if want := !slices.Contains(differ, c.File); bytes.Equal(out, data) != want {
			t.Errorf("%s: want equal bytes %v, got %v", c.File, want, !want)
		}
		if slices.Contains(unpadded, c.File) && !bytes.HasPrefix(out, data) {
			t.Errorf("%s: want the same bytes and then padding", c.File)
		}
		g, err := gguf.ParseBytes(out, gguf.AllowScalars())
		if err != nil {
			t.Errorf("%s: rewritten: %v", c.File, err)
			continue
		}
		sameContent(t, f, g)
	}
	if n < 14 {
		t.Errorf("want at least 14 readable files, got %d", n)
	}
}

func TestWriteValues(t *testing.T) {
	w := gguf.NewWriter()
	values := []any{
		uint8(255), int8(-128), uint16(65535), int16(-32768), uint32(1 << 31), int32(-1 << 31),
		uint64(1 << 63), int64(-1 << 63), float32(1.5), float64(math.Pi), true, false, "text\x00with NUL", "",
		[]uint8{1, 2}, []int8{-1}, []uint16{3}, []int16{-3}, []uint32{4}, []int32{-4}, []uint64{5}, []int64{-5},
		[]float32{0.25}, []float64{0.125}, []bool{true, false}, []string{"", "a", "\xff"}, []string{},
	}
	for i, v := range values {
		if err := w.Add("k."+string(rune('a'+i)), v); err != nil {
			t.Fatalf("%T: %v", v, err)
		}
	}
	f, err := gguf.ParseBytes(write(t, w))
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for kv := range f.KVs() {
		var got any
		var err error
		switch values[i].(type) {
		case uint64:
			got, err = gguf.Value[uint64](kv)
		case int64:
			got, err = gguf.Value[int64](kv)
		case float64:
			got, err = gguf.Value[float64](kv)
		case bool:
			got, err = gguf.Value[bool](kv)
		case string:
			got, err = gguf.Value[string](kv)
		default:
			i++
			continue
		}
		if err != nil || got != values[i] {
			t.Errorf("%s: want %v, got %v, %v", kv.Key, values[i], got, err)
		}
		i++
	}
	if s, err := f.Strings("k.z"); err != nil || !slices.Equal(s, []string{"", "a", "\xff"}) {
		t.Errorf("strings: got %q, %v", s, err)
	}
	a, err := f.Array("k.z")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.CheckUTF8(); !errors.Is(err, gguf.ClassBadUTF8) {
		t.Errorf("want bad UTF-8, got %v", err)
	}
	if _, err := gguf.ParseBytes(write(t, w), gguf.CheckStrings()); !errors.Is(err, gguf.ClassBadUTF8) {
		t.Errorf("CheckStrings: want bad UTF-8, got %v", err)
	}
}

func TestWriterRefuses(t *testing.T) {
	w := gguf.NewWriter()
	data := gguf.Bytes(make([]byte, 128))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.Add("a", uint32(1)))
	must(w.AddTensor("t", gguf.TypeF32, []uint64{32}, data))
	for _, c := range []struct {
		what string
		err  error
	}{
		{"plain int", w.Add("b", 1)},
		{"nil", w.Add("b", nil)},
		{"key twice", w.Add("a", uint32(2))},
		{"empty key", w.Add("", uint32(2))},
		{"key not UTF-8", w.Add("\xff", uint32(2))},
		{"string not UTF-8", w.Add("b", "\xff")},
		{"late alignment", w.Add(gguf.KeyAlignment, uint32(64))},
		{"alignment of 24", gguf.NewWriter().Add(gguf.KeyAlignment, uint32(24))},
		{"alignment as u64", gguf.NewWriter().Add(gguf.KeyAlignment, uint64(32))},
		{"tensor twice", w.AddTensor("t", gguf.TypeF32, []uint64{32}, data)},
		{"no payload", w.AddTensor("u", gguf.TypeF32, []uint64{32}, nil)},
		{"no name", w.AddTensor("", gguf.TypeF32, []uint64{32}, data)},
		{"long name", w.AddTensor(strings.Repeat("x", 64), gguf.TypeF32, []uint64{32}, data)},
		{"no dimensions", w.AddTensor("u", gguf.TypeF32, nil, data)},
		{"five dimensions", w.AddTensor("u", gguf.TypeF32, []uint64{1, 1, 1, 1, 1}, data)},
		{"removed type", w.AddTensor("u", 4, []uint64{32}, data)},
		{"half a block", w.AddTensor("u", gguf.TypeQ8_0, []uint64{16, 2}, data)},
		{"too many elements", w.AddTensor("u", gguf.TypeF32, []uint64{1 << 33, 1 << 33}, data)},
		{"too many bytes", w.AddTensor("u", gguf.TypeF32, []uint64{1 << 62}, data)},
		{"share without mark", w.AddShared("u", gguf.TypeF32, []uint64{32}, "t", 0)},
	} {
		if c.err == nil {
			t.Errorf("%s: want an error, got none", c.what)
		}
	}
	for size, name := range map[int]string{100: "short", 129: "long"} {
		w := gguf.NewWriter()
		must(w.AddTensor(name, gguf.TypeF32, []uint64{32}, gguf.Bytes(make([]byte, size))))
		if _, err := w.WriteTo(io.Discard); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("payload of %d bytes for 128: want an error naming the tensor, got %v", size, err)
		}
	}
}

func TestSharedOffsets(t *testing.T) {
	w := gguf.NewWriter()
	blob := make([]byte, 256)
	for i := range blob {
		blob[i] = byte(i)
	}
	for _, err := range []error{
		w.ShareOffsets(),
		w.AddTensor("blob", gguf.TypeI8, []uint64{256}, gguf.Bytes(blob)),
		w.AddShared("all", gguf.TypeF32, []uint64{64}, "blob", 0),
		w.AddShared("part", gguf.TypeF32, []uint64{8, 2}, "blob", 64),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if w.AddShared("misaligned", gguf.TypeI8, []uint64{8}, "blob", 8) == nil ||
		w.AddShared("beyond", gguf.TypeI8, []uint64{65}, "blob", 192) == nil ||
		w.AddShared("nobody's", gguf.TypeI8, []uint64{8}, "none", 0) == nil {
		t.Error("want bad shares refused")
	}
	out := write(t, w)
	_, err := gguf.ParseBytes(out)
	if !errors.Is(err, gguf.ClassTensorsOverlap) || !strings.Contains(err.Error(), "synthetic") {
		t.Errorf("without the option: want an overlap that names the way out, got %v", err)
	}
	f, err := gguf.ParseBytes(out, gguf.AllowSharedOffsets())
	if err != nil {
		t.Fatal(err)
	}
	part, _ := f.Tensor("part")
	if data, err := part.Data(); err != nil || !bytes.Equal(data, blob[64:128]) {
		t.Errorf("part: got %x, %v", data, err)
	}
	// The option alone is not enough: without the key, or with false, overlaps are errors.
	dir := sharedData(t, "gguf-golden")
	for _, name := range []string{"bad-overlap.gguf", "bad-overlap-partial.gguf"} {
		if _, err := gguf.Open(filepath.Join(dir, name), gguf.AllowSharedOffsets()); !errors.Is(err, gguf.ClassTensorsOverlap) {
			t.Errorf("%s: want an overlap, got %v", name, err)
		}
	}
	marked := bytes.Index(out, []byte(gguf.KeySharedOffsets)) + len(gguf.KeySharedOffsets) + 4
	out[marked] = 0
	if _, err := gguf.ParseBytes(out, gguf.AllowSharedOffsets()); !errors.Is(err, gguf.ClassTensorsOverlap) {
		t.Errorf("key false: want an overlap, got %v", err)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.gguf")
	w := gguf.NewWriter()
	if err := errors.Join(w.Add("a", "b"), w.AddTensor("t", gguf.TypeF32, []uint64{2}, gguf.Bytes(make([]byte, 8)))); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	before := readFile(t, path)
	// A write that fails leaves the old file and nothing else.
	boom := errors.New("boom")
	if err := w.AddTensor("u", gguf.TypeF32, []uint64{2}, func(io.Writer) error { return boom }); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteFile(path); !errors.Is(err, boom) {
		t.Errorf("want the payload's error, got %v", err)
	}
	if !bytes.Equal(before, readFile(t, path)) {
		t.Error("a failed write changed the file")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("want 1 file left, got %v, %v", left, err)
	}
}
