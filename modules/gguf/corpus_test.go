package gguf_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
)

// corpusFile is one entry of the corpus' index.
type corpusFile struct{ File, Expect, About string }

func corpus(t testing.TB) (string, []corpusFile) {
	t.Helper()
	dir := sharedData(t, "gguf-golden")
	var list []corpusFile
	if err := json.Unmarshal(readFile(t, filepath.Join(dir, "index.json")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 62 {
		t.Fatalf("corpus: want 62 files, got %d", len(list))
	}
	return dir, list
}

// policies says what we do with files that are legal but read differently by
// different readers: the class of the refusal (empty: accepted), and the
// option that turns it around.
var policies = map[string]struct {
	refusal gguf.Class
	flip    gguf.Option
	flipped gguf.Class
}{
	"ok-out-of-order.gguf":  {"", gguf.RequireContiguous(), gguf.ClassNotContiguous},
	"ok-gap.gguf":           {"", gguf.RequireContiguous(), gguf.ClassNotContiguous},
	"ok-trailing.gguf":      {"", nil, ""},
	"ok-nested-array.gguf":  {"", nil, ""},
	"pol-zero-dim.gguf":     {"", nil, ""},
	"pol-0d.gguf":           {gguf.ClassBadDims, gguf.AllowScalars(), ""},
	"pol-v2.gguf":           {gguf.ClassBadVersion, gguf.AllowVersion2(), ""},
	"ok-nopad-tail.gguf":    {"", gguf.RequireContiguous(), ""},
	"ok-align64.gguf":       {"", gguf.RequireContiguous(), ""},
	"bad-off-past-end.gguf": {gguf.ClassTensorOutOfFile, gguf.HeaderOnly(), ""},
	"bad-nodata.gguf":       {gguf.ClassTensorOutOfFile, gguf.HeaderOnly(), ""},
}

// opener is one way to open a file; all must agree.
type opener struct {
	name string
	open func(t *testing.T, path string, opts ...gguf.Option) (*gguf.File, error)
}

var openers = []opener{
	{"mmap", func(_ *testing.T, path string, opts ...gguf.Option) (*gguf.File, error) {
		return gguf.Open(path, opts...)
	}},
	{"read", func(_ *testing.T, path string, opts ...gguf.Option) (*gguf.File, error) {
		return gguf.Open(path, append(opts, gguf.NoMmap())...)
	}},
	{"readerat", func(t *testing.T, path string, opts ...gguf.Option) (*gguf.File, error) {
		data := readFile(t, path)
		return gguf.Parse(bytes.NewReader(data), int64(len(data)), opts...)
	}},
	{"bytes", func(t *testing.T, path string, opts ...gguf.Option) (*gguf.File, error) {
		return gguf.ParseBytes(readFile(t, path), opts...)
	}},
}

func TestCorpus(t *testing.T) {
	dir, list := corpus(t)
	for _, c := range list {
		t.Run(strings.TrimSuffix(c.File, ".gguf"), func(t *testing.T) {
			path := filepath.Join(dir, c.File)
			policy, isPolicy := policies[c.File]
			want := gguf.Class(c.Expect)
			switch {
			case c.Expect == "ok":
				want = ""
			case c.Expect == "policy":
				if !isPolicy {
					t.Fatalf("no policy for %s (%s)", c.File, c.About)
				}
				want = policy.refusal
			}
			for _, o := range openers {
				f, err := o.open(t, path)
				checkOutcome(t, o.name, f, err, want)
				if policy.flip != nil {
					f, err := o.open(t, path, policy.flip)
					checkOutcome(t, o.name+", flipped", f, err, policy.flipped)
				}
			}
		})
	}
}

// checkOutcome wants success where class is empty, else that refusal with
// everything that a user needs to find the fault.
func checkOutcome(t *testing.T, how string, f *gguf.File, err error, class gguf.Class) {
	t.Helper()
	if class == "" {
		if err != nil {
			t.Errorf("%s: want success, got %v", how, err)
			return
		}
		readAll(t, f)
		if err := f.Close(); err != nil {
			t.Errorf("%s: close: %v", how, err)
		}
		return
	}
	if f != nil || err == nil {
		t.Errorf("%s: want refusal %s, got success", how, class)
		return
	}
	var e *gguf.Error
	if !errors.As(err, &e) {
		t.Errorf("%s: want a *gguf.Error, got %T: %v", how, err, err)
		return
	}
	if class != "any_error" && !errors.Is(err, class) {
		t.Errorf("%s: want class %s, got %v", how, class, err)
	}
	if errors.Is(err, gguf.ErrCorrupt) == errors.Is(err, gguf.ErrUnsupported) {
		t.Errorf("%s: want corrupt or unsupported, one of both: %v", how, err)
	}
	if e.What == "" || e.Want == "" || e.Got == "" || e.Offset < 0 {
		t.Errorf("%s: error is incomplete: %+v", how, e)
	}
}

// readAll touches everything that a file offers.
func readAll(t testing.TB, f *gguf.File) {
	t.Helper()
	for kv := range f.KVs() {
		if kv.Kind == gguf.KindArray {
			a, err := kv.Array()
			if err != nil {
				t.Errorf("%s: %v", kv.Key, err)
				continue
			}
			readArray(t, a)
		}
		if kv.String() == "" {
			t.Errorf("%s: no text", kv.Key)
		}
	}
	for ts := range f.Tensors() {
		data, err := ts.Data()
		if errors.Is(err, gguf.ClassTruncated) {
			continue // opened with HeaderOnly
		}
		if err != nil || uint64(len(data)) != ts.Bytes {
			t.Errorf("%s: want %d bytes, got %d: %v", ts.Name, ts.Bytes, len(data), err)
		}
	}
}

func readArray(t testing.TB, a gguf.Array) {
	t.Helper()
	n := 0
	switch a.Elem {
	case gguf.KindString:
		seq, err := gguf.Seq[string](a)
		if err != nil {
			t.Error(err)
			return
		}
		table, err := a.StringTable()
		if err != nil {
			t.Error(err)
			return
		}
		for i, s := range seq {
			if s != table.At(i) {
				t.Errorf("string %d: iterator %q, table %q", i, s, table.At(i))
			}
			n++
		}
	case gguf.KindArray:
		seq, err := a.Arrays()
		if err != nil {
			t.Error(err)
			return
		}
		for _, inner := range seq {
			readArray(t, inner)
			n++
		}
	case gguf.KindBool:
		v, err := gguf.Slice[bool](a)
		if err != nil {
			t.Error(err)
		}
		n = len(v)
	default:
		v, err := gguf.Slice[float64](a)
		var ke *gguf.KeyError
		if err != nil && !errors.As(err, &ke) { // large 64-bit integers are no floats
			t.Error(err)
		}
		if n = len(v); err != nil {
			n = a.Len()
		}
	}
	if n != a.Len() {
		t.Errorf("array of %v: want %d elements, got %d", a.Elem, a.Len(), n)
	}
}

// TestCorpusMemory holds the reader to the corpus' promise: a few megabytes
// at most, whatever a file claims.
func TestCorpusMemory(t *testing.T) {
	dir, list := corpus(t)
	for _, c := range list {
		data := readFile(t, filepath.Join(dir, c.File))
		bytes := allocatedBytes(func() {
			if f, err := gguf.ParseBytes(data); err == nil {
				_ = f.Close()
			}
		})
		if bytes > 1<<20 {
			t.Errorf("%s: want at most 1 MiB allocated, got %d bytes", c.File, bytes)
		}
	}
}

// allocatedBytes returns what f allocates, other goroutines included.
func allocatedBytes(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestErrorText(t *testing.T) {
	dir := sharedData(t, "gguf-golden")
	for _, c := range []struct{ file, want string }{
		{"bad-block.gguf", `gguf: tensor "a" at byte 94: want rows in blocks of 32 elements (q8_0), got 40 elements (row_not_block_multiple)`},
		{"bad-key-dup.gguf", `gguf: key "x.y" at byte 92: want each key once, got the key of record 1 again (duplicate_key)`},
		{"bad-align-24.gguf", `gguf: key "general.alignment" at byte 102: want a u32 power of two, got 24 (bad_alignment)`},
		{"bad-magic-lower.gguf", `gguf: header at byte 0: want the bytes "GGUF", got "gguf", lower case (bad_magic)`},
	} {
		_, err := gguf.ParseBytes(readFile(t, filepath.Join(dir, c.file)))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s:\nwant %s\ngot  %v", c.file, c.want, err)
		}
	}
}
