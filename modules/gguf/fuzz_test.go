package gguf_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
)

// seed gives a fuzz target the corpus, where it is, and two files made here.
func seed(f *testing.F) {
	f.Helper()
	for _, shared := range []bool{false, true} {
		w := gguf.NewWriter()
		err := errors.Join(
			w.Add(gguf.KeyArchitecture, "test"),
			w.Add(gguf.KeyAlignment, uint32(64)),
			w.Add("tokens", []string{"a", "", "\xff"}),
			w.Add("scores", []float32{1, 2}),
			w.Add("flags", []bool{true, false}),
			w.AddTensor("w", gguf.TypeQ8_0, []uint64{32, 2}, gguf.Bytes(make([]byte, 68))),
			w.AddTensor("b", gguf.TypeF32, []uint64{3}, gguf.Bytes(make([]byte, 12))),
		)
		if shared {
			err = errors.Join(err, w.ShareOffsets(), w.AddShared("s", gguf.TypeI8, []uint64{4}, "w", 64))
		}
		var out bytes.Buffer
		if _, werr := w.WriteTo(&out); err != nil || werr != nil {
			f.Fatal(err, werr)
		}
		f.Add(out.Bytes())
	}
	files, err := filepath.Glob("../../../shared/data/gguf-golden/*.gguf")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		f.Add(readFile(f, path))
	}
}

var lenient = []gguf.Option{gguf.AllowVersion2(), gguf.AllowScalars(), gguf.AllowSharedOffsets()}

// FuzzOpen: any bytes give a file that can be read whole, or an *Error; the
// same through a reader as from memory; and strict accepts no more than lenient.
func FuzzOpen(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		strict, err := gguf.ParseBytes(data)
		checkFuzzed(t, strict, err)
		loose, looseErr := gguf.ParseBytes(data, append(lenient, gguf.HeaderOnly())...)
		checkFuzzed(t, loose, looseErr)
		if err == nil && looseErr != nil {
			t.Errorf("strict accepts, lenient says %v", looseErr)
		}
		read, readErr := gguf.Parse(bytes.NewReader(data), int64(len(data)))
		checkFuzzed(t, read, readErr)
		if (err == nil) != (readErr == nil) || err != nil && err.Error() != readErr.Error() {
			t.Errorf("from memory: %v\nfrom a reader: %v", err, readErr)
		}
		if err == nil {
			sameContent(t, strict, read)
		}
	})
}

func checkFuzzed(t *testing.T, f *gguf.File, err error) {
	t.Helper()
	if err == nil {
		readAll(t, f)
		return
	}
	var e *gguf.Error
	if !errors.As(err, &e) || e.Error() == "" {
		t.Errorf("want a *gguf.Error, got %T: %v", err, err)
	}
}

// FuzzRoundTrip: what can be read can be written, reads back the same, and
// writes the same bytes the second time.
func FuzzRoundTrip(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := gguf.ParseBytes(data, lenient...)
		if err != nil {
			return
		}
		w := rewrite(t, in)
		if w.Size() > 16<<20 {
			return // large alignments make large files of small ones
		}
		first := write(t, w)
		out, err := gguf.ParseBytes(first, lenient...)
		if err != nil {
			t.Fatalf("written file: %v", err)
		}
		sameContent(t, in, out)
		if !bytes.Equal(first, write(t, rewrite(t, out))) {
			t.Error("second writing differs")
		}
	})
}
