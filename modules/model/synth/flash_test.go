package synth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

// small is a Flash file of T1's width: every layer kind and every type in a few megabytes.
func small(t *testing.T, quant string) Flash {
	t.Helper()
	s := T1().Shape
	s.Vocab = 4096
	types, err := Quant(quant)
	if err != nil {
		t.Fatal(err)
	}
	return Flash{Shape: s, Experts: types, Seed: 1, Workers: 2}
}

func write(t *testing.T, f Flash) []byte {
	t.Helper()
	w, err := f.Plan()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != w.Size() {
		t.Errorf("size: planned %d, wrote %d", w.Size(), b.Len())
	}
	return b.Bytes()
}

// TestFlashSizes holds the plans against the published files (model.md 2.4), and the cut ones against what they are for:
// memories of 16 and 24 GB.
func TestFlashSizes(t *testing.T) {
	for _, c := range []struct {
		quant string
		sets  int
		want  int64 // bytes of tensors, padded
	}{
		{"q2", 0, 86_714_777_664}, {"q4", 0, 164_628_168_768},
		{"q2", 43, 86_714_777_664}, {"q2", 2, 12_425_265_216}, {"q2", 4, 16_049_143_872},
	} {
		shape, err := FlashShape(43)
		if err != nil {
			t.Fatal(err)
		}
		types, err := Quant(c.quant)
		if err != nil {
			t.Fatal(err)
		}
		w, err := Flash{Shape: shape, Experts: types, ExpertSets: c.sets}.Plan()
		if err != nil {
			t.Fatal(err)
		}
		header, err := w.WriteHeader(io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.Size() - header; got != c.want {
			t.Errorf("%s, %d sets: want %d bytes of tensors, got %d (%.2f GiB)", c.quant, c.sets, c.want, got, float64(got)/(1<<30))
		}
	}
}

// TestFlashOpens opens files of all kinds as the programs do.
func TestFlashOpens(t *testing.T) {
	for _, quant := range Quants {
		for _, sets := range []int{0, 2} {
			fl := small(t, quant)
			fl.ExpertSets, fl.FixedRoute = sets, sets == 2
			data := write(t, fl)
			opts := []gguf.Option{gguf.CheckStrings()}
			if sets == 0 {
				opts = append(opts, gguf.RequireContiguous())
			} else {
				if _, err := gguf.ParseBytes(data); !errors.Is(err, gguf.ClassTensorsOverlap) {
					t.Errorf("%s, %d sets: want an overlap refused, got %v", quant, sets, err)
				}
				opts = append(opts, gguf.AllowSharedOffsets())
			}
			f, err := gguf.ParseBytes(data, opts...)
			if err != nil {
				t.Fatal(err)
			}
			s, err := model.ReadShape(f)
			if err != nil {
				t.Fatal(err)
			}
			if bad := model.CheckFile(f, s); len(bad) > 0 {
				t.Errorf("%s: %d tensors do not fit, first: %v", quant, len(bad), bad[0])
			}
			if !IsSynthetic(f) || HasFixedRoute(f) != fl.FixedRoute {
				t.Errorf("%s: want a synthetic file with fixed route %v", quant, fl.FixedRoute)
			}
			tok, err := tokenizer.FromGGUF(f, tokenizer.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if tok.Len() != s.Vocab {
				t.Errorf("vocabulary: want %d tokens, got %d", s.Vocab, tok.Len())
			}
			if ids := tok.Encode(nil, "The river follows the garden t4000"); len(ids) != 5+5 { // " t" and four digits
				t.Errorf("filling tokens: want them never read from text, got %v", ids)
			}
		}
	}
}

// TestFlashVocab checks the special tokens of the real size.
func TestFlashVocab(t *testing.T) {
	v, err := flashVocab(129280)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.tokens) != 129280 || len(v.ids) != len(v.tokens) {
		t.Fatalf("want 129280 distinct tokens, got %d, %d distinct", len(v.tokens), len(v.ids))
	}
	for _, s := range flashSpecials {
		if v.ids[s.text] != s.id {
			t.Errorf("%s: want id %d, got %d", s.text, s.id, v.ids[s.text])
		}
	}
	if _, err := flashVocab(600); err == nil {
		t.Error("600 tokens: want an error")
	}
}

// TestFlashReproducible: workers do not matter, seeds do, and the bytes are those of every other machine.
func TestFlashReproducible(t *testing.T) {
	const want = "e1ac6dcb1677c8bcca0e89f00d36194df9a0176b9294c7ed76cbe2cbffe7cd1b"
	f := small(t, "q2")
	a := write(t, f)
	f.Workers = 5
	if !bytes.Equal(a, write(t, f)) {
		t.Error("two runs with other workers differ")
	}
	sum := sha256.Sum256(a)
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("want sum %s, got %s", want, got)
	}
	f.Seed = 2
	if bytes.Equal(a, write(t, f)) {
		t.Error("two seeds give the same file")
	}
}

// TestFlashPieces makes one tensor in pieces and at once, with a tail that fills no piece.
func TestFlashPieces(t *testing.T) {
	f := small(t, "q2")
	for _, typ := range []gguf.Type{gguf.TypeQ8_0, gguf.TypeF16, gguf.TypeIQ2_XXS, gguf.TypeQ2_K, gguf.TypeQ4_K, gguf.TypeMXFP4} {
		spec := model.Spec{Name: "blk.0.any.weight", Dims: []int{4096, 5001}}
		n, err := typ.RowBytes(4096 * 5001)
		if err != nil {
			t.Fatal(err)
		}
		fill := f.filler(spec, typ)
		whole := make([]byte, n)
		fill.fill(whole, 0)
		var b bytes.Buffer
		if err := fill.write(&b, n, 3); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(whole, b.Bytes()) {
			t.Errorf("%v: pieces differ from the whole", typ)
		}
		if err := fill.write(&failing{left: 5 << 20}, n, 3); !errors.Is(err, errFull) {
			t.Errorf("%v: want the writer's error, got %v", typ, err)
		}
		if typ == gguf.TypeQ8_0 {
			for i, c := range whole {
				if i%gguf.Q8_0Bytes >= gguf.Q8_0OffQ && c == 0x80 {
					t.Fatalf("q8_0: byte %d: want no code of -128", i)
				}
			}
		}
	}
}

var errFull = errors.New("full")

type failing struct{ left int }

func (w *failing) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// TestFlashScale compares each type's weights with those of the tiny models, whose runs are known to stay sane.
func TestFlashScale(t *testing.T) {
	f := small(t, "q2")
	for _, typ := range []gguf.Type{gguf.TypeQ8_0, gguf.TypeF16, gguf.TypeIQ2_XXS, gguf.TypeQ2_K, gguf.TypeQ4_K, gguf.TypeMXFP4} {
		spec := model.Spec{Name: "blk.0.any.weight", Dims: []int{256, 256}}
		n, err := typ.RowBytes(256 * 256)
		if err != nil {
			t.Fatal(err)
		}
		rms := func(data []byte) float64 {
			v := make([]float32, 256*256)
			if err := gguf.Dequantize(typ, v, data); err != nil {
				t.Fatal(err)
			}
			sum := 0.0
			for _, x := range v {
				sum += float64(x) * float64(x)
			}
			return math.Sqrt(sum / float64(len(v)))
		}
		tiny, flash := make([]byte, n), make([]byte, n)
		T1().fill(tiny, spec, typ)
		f.filler(spec, typ).fill(flash, 0)
		if a, b := rms(tiny), rms(flash); !(math.Abs(a/b-1) < 0.05) {
			t.Errorf("%v: want root mean square %g, got %g", typ, a, b)
		}
	}
}

func BenchmarkFlashFill(b *testing.B) {
	f := Flash{Shape: T1().Shape, Seed: 1}
	for _, typ := range []gguf.Type{gguf.TypeQ8_0, gguf.TypeF16, gguf.TypeIQ2_XXS, gguf.TypeQ2_K, gguf.TypeQ4_K, gguf.TypeMXFP4} {
		b.Run(typ.String(), func(b *testing.B) {
			fill := f.filler(model.Spec{Name: "blk.0.any.weight", Dims: []int{4096, 256}}, typ)
			data := make([]byte, pieceBytes/fill.unit*fill.unit)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				fill.fill(data, 0)
			}
		})
	}
}
