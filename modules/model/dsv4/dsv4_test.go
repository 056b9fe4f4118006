package dsv4

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// small has every kind of layer and few values.
func small() backend.Shape {
	s := backend.Flash()
	s.Layers, s.Ratio, s.Vocab, s.HeadDim, s.Window = 4, []int{0, 4, 128, 4}, 40, 192, 16
	return s
}

// buffer is an io.WriterAt that counts how often each byte was written.
type buffer struct {
	b     []byte
	times []uint8
}

func newBuffer(n int64) *buffer { return &buffer{make([]byte, n), make([]uint8, n)} }

func (w *buffer) WriteAt(p []byte, off int64) (int, error) {
	for i := range p {
		w.times[off+int64(i)]++
	}
	return copy(w.b[off:], p), nil
}

// session makes a random one whose rows are canonical: packed as a backend packs them.
func session(r *rand.Rand, s backend.Shape, n int) (Session, [][]byte) {
	d := Session{CtxTokens: n + 1 + r.IntN(100), Tokens: make([]int32, n), Logits: make([]float32, s.Vocab)}
	for i := range d.Tokens {
		d.Tokens[i] = r.Int32N(int32(s.Vocab))
	}
	for i := range d.Logits {
		d.Logits[i] = float32(r.NormFloat64())
	}
	l := newLayout(&s, n)
	pages := make([][]byte, (n+backend.PageTokens-1)/backend.PageTokens)
	for i := range pages {
		pages[i] = make([]byte, l.pageBytes())
		part := pages[i]
		for il := range s.Layers {
			for c := range min(s.PageRows(il), max(0, l.layers[il].count-i*s.PageRows(il))) {
				randomKV(r, part[c*s.KVRowBytes():], &s)
				if s.Indexed(il) {
					randomIndex(r, part[s.PageIndexOffset(il)+c*backend.IndexRowBytes:], part[s.PageIndexExpOffset(il)+c*backend.IndexExpBytes:])
				}
			}
			part = part[s.PagePartBytes(il):]
		}
	}
	for il := range s.Layers {
		at := len(d.State)
		d.State = append(d.State, make([]byte, l.imageBytes(il))...)
		p := d.State[at:]
		for range l.rawRows {
			randomKV(r, p, &s)
			p = p[s.KVRowBytes():]
		}
		for ; len(p) > 0; p = p[4:] {
			putF32(p, float32(r.NormFloat64()))
		}
	}
	d.Page = func(i int, dst []byte) error { copy(dst, pages[i]); return nil }
	return d, pages
}

func randomKV(r *rand.Rand, row []byte, s *backend.Shape) {
	n := s.HeadDim - s.RopeDim
	for i := range n {
		row[i] = byte(r.IntN(127) | r.IntN(2)<<7)
	}
	for blk := 0; blk < n; blk += backend.FP8Block {
		row[blk+r.IntN(backend.FP8Block)] = 0x7d // so that no smaller exponent would do
		row[s.KVExpOffset()+blk/backend.FP8Block] = byte(int8(r.IntN(14) - 8))
	}
	for i := range s.RopeDim {
		binary.LittleEndian.PutUint16(row[n+2*i:], gguf.Float32ToFloat16(float32(r.NormFloat64())))
	}
}

func randomIndex(r *rand.Rand, vals, exps []byte) {
	for i := range backend.IndexRowBytes {
		lo, hi := byte(r.IntN(16)), byte(r.IntN(16))
		if lo == 8 { // no negative zero
			lo = 0
		}
		if hi == 8 {
			hi = 0
		}
		if i%(backend.FP4Block/2) == 3 {
			lo = 7
		}
		vals[i] = lo | hi<<4
	}
	for i := range backend.IndexExpBytes {
		exps[i] = byte(int8(r.IntN(20) - 10))
	}
}

// The sizes that ds4's own benchmark publishes.
func TestBytesFlash(t *testing.T) {
	for n, want := range map[int]int64{2048: 52184460, 10240: 164939148, 32768: 475014540} {
		if got := Bytes(backend.Flash(), n); got != want {
			t.Errorf("%d tokens: want %d bytes, got %d", n, want, got)
		}
	}
}

// The image is the one that the engine's snapshots cut.
func TestImageBytes(t *testing.T) {
	for _, s := range []backend.Shape{small(), backend.Flash()} {
		for _, n := range []int{1, 3, 4, 5, 7, 8, 127, 128, 129, 130, 2047, 2048, 4097} {
			l, got := newLayout(&s, n), 0
			for il := range s.Layers {
				got += l.imageBytes(il)
			}
			if want := model.StateBytes(s, n); got != want {
				t.Errorf("%d tokens: want %d bytes, got %d", n, want, got)
			}
		}
	}
}

// Packed to f32 and back is the identity, for pages and image, at every remainder.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s := small()
	for _, n := range []int{1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 126, 127, 128, 129, 255, 256, 2047, 2048, 2049, 2052, 4096, 4101} {
		d, pages := session(r, s, n)
		w := newBuffer(Bytes(s, n))
		if err := Write(w, s, d); err != nil {
			t.Fatal(err)
		}
		if i := slices.Index(w.times, 0); i >= 0 {
			t.Fatalf("%d tokens: byte %d is not written", n, i)
		}
		p, err := Open(bytes.NewReader(w.b), int64(len(w.b)), s)
		if err != nil {
			t.Fatalf("%d tokens: %v", n, err)
		}
		if !slices.Equal(p.Tokens(), d.Tokens) || p.CtxTokens() != d.CtxTokens {
			t.Fatalf("%d tokens: tokens or context differ", n)
		}
		if v, err := p.Logits(); err != nil || !slices.Equal(v, d.Logits) {
			t.Fatalf("%d tokens: logits differ (%v)", n, err)
		}
		if image, err := p.State(); err != nil || !bytes.Equal(image, d.State) {
			t.Fatalf("%d tokens: image differs (%v)", n, err)
		}
		for i, want := range pages {
			got := make([]byte, len(want))
			if err := p.Page(i, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d tokens: page %d differs (%v)", n, i, err)
			}
		}
	}
}

// builder lays a payload out from the specification's text, sharing no code with the package.
type builder struct{ bytes.Buffer }

func (b *builder) u32(v ...int) {
	for _, x := range v {
		_ = binary.Write(b, binary.LittleEndian, uint32(x))
	}
}

func (b *builder) fill(n int, v func(i int) float32) {
	for i := range n {
		_ = binary.Write(b, binary.LittleEndian, v(i))
	}
}

func constant(v float32) func(int) float32 { return func(int) float32 { return v } }

// A payload of six tokens, made by hand: where each value must turn up in pages and image.
func TestHandMade(t *testing.T) {
	s := small()
	s.Layers, s.Ratio = 3, []int{0, 4, 128}
	const n, d = 6, 192
	var b builder
	b.u32(0x34565344, 1, 100, 100, 100, 16, 27, n, 3, d, 128, 40, n)
	b.u32(1, 2, 3, 4, 5, 6)
	b.fill(40, func(i int) float32 { return float32(i) })
	b.u32(0, 1, 0, 0, 1, 0)
	raw := func(layer float32) {
		for p := range n {
			b.fill(d, constant(layer*float32(8+p)/8))
		}
	}
	raw(16) // layer 0: windows alone
	raw(32)
	b.fill(d, constant(1.5)) // one compressed row
	for _, base := range []float32{1000, 2000} {
		for row := range 8 { // 0–3: positions 0–3; 4, 5: positions 4, 5; the rest stale
			b.fill(2*d, func(i int) float32 { return base + float32(100*row) + float32(i)/1024 })
		}
	}
	b.fill(128, constant(3))
	for _, base := range []float32{3000, 4000} {
		for row := range 8 {
			b.fill(256, func(i int) float32 { return base + float32(100*row) + float32(i)/1024 })
		}
	}
	raw(64)
	for _, base := range []float32{5000, 6000} {
		for row := range 128 {
			b.fill(d, func(i int) float32 { return base + float32(row) })
		}
	}
	p, err := Open(bytes.NewReader(b.Bytes()), int64(b.Len()), s)
	if err != nil {
		t.Fatal(err)
	}
	page := make([]byte, newLayout(&s, n).pageBytes())
	if err := p.Page(0, page); err != nil {
		t.Fatal(err)
	}
	row := make([]byte, 4*d)
	unpackKV(row, page, &s)
	if got := getF32(row[4*7:]); got != 1.5 {
		t.Errorf("compressed row: want 1.5, got %g", got)
	}
	unpackIndex(row, page[s.PageIndexOffset(1):], page[s.PageIndexExpOffset(1):])
	if got := getF32(row[4*127:]); got != 3 {
		t.Errorf("index row: want 3, got %g", got)
	}
	image, err := p.State()
	if err != nil {
		t.Fatal(err)
	}
	next := func(what string, want float32) {
		t.Helper()
		if got := getF32(image); got != want {
			t.Errorf("%s: want %g, got %g", what, want, got)
		}
	}
	window := func(layer float32) {
		for p := range n {
			unpackKV(row, image, &s)
			if got, want := getF32(row[4*9:]), layer*float32(8+p)/8; got != want {
				t.Errorf("window, row %d: want %g, got %g", p, want, got)
			}
			image = image[s.KVRowBytes():]
		}
	}
	window(16)
	window(32)
	for p := range 6 {
		at, width, index := p, d, 128 // low halves of the window before, then whole rows
		if p >= 4 {
			width, index = 2*d, 256
		}
		for i, base := range []float32{1000, 2000, 3000, 4000} {
			next("compressor state", base+float32(100*at))
			if i < 2 {
				image = image[4*width:]
			} else {
				image = image[4*index:]
			}
		}
	}
	window(64)
	for p := range 6 {
		next("plain compressor", 5000+float32(p))
		image = image[4*d:]
		next("plain compressor", 6000+float32(p))
		image = image[4*d:]
	}
	if len(image) != 0 {
		t.Errorf("%d bytes of image left", len(image))
	}
}

// Values that the CPU path has rounded to f16 below its normal range are still exact.
func TestSmallValues(t *testing.T) {
	s := small()
	row, src, back := make([]byte, s.KVRowBytes()), make([]byte, 4*s.HeadDim), make([]byte, 4*s.HeadDim)
	for e := -22; e <= 7; e++ {
		for c := range 127 {
			for i := range s.HeadDim {
				v := round16(fp8(byte(max(0, c-i%9)|i&1<<7)) * pow2(e))
				putF32(src[4*i:], v)
			}
			if err := packKV(row, src, &s); err != nil {
				t.Fatalf("2^%d, code %d: %v", e, c, err)
			}
			if unpackKV(back, row, &s); !bytes.Equal(src, back) {
				t.Fatalf("2^%d, code %d: values differ", e, c)
			}
		}
	}
	idx := make([]byte, 4*backend.IndexDim)
	vals, exps := make([]byte, backend.IndexRowBytes), make([]byte, backend.IndexExpBytes)
	for e := -126; e <= 20; e++ {
		for _, round := range []func(float32) float32{round16, func(v float32) float32 { return v }} {
			if e > 12 && round(1) == round16(1) && round(pow2(-30)) == 0 {
				continue // beyond f16
			}
			for i := range backend.IndexDim {
				putF32(idx[4*i:], round(gguf.E2M1ToFloat32(byte(i%16))*pow2(e))+0)
			}
			if err := packIndex(vals, exps, idx); err != nil {
				t.Fatalf("2^%d: %v", e, err)
			}
			unpackIndex(back, vals, exps)
			for i := range backend.IndexDim {
				if want, got := getF32(idx[4*i:]), getF32(back[4*i:]); want != got {
					t.Fatalf("2^%d, value %d: want %g, got %g", e, i, want, got)
				}
			}
		}
	}
}

func TestRefuses(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	s := small()
	d, _ := session(r, s, 300)
	w := newBuffer(Bytes(s, 300))
	if err := Write(w, s, d); err != nil {
		t.Fatal(err)
	}
	l := newLayout(&s, 300)
	open := func(b []byte) error {
		p, err := Open(bytes.NewReader(b), int64(len(b)), s)
		if err == nil {
			_, err = p.State()
		}
		if err == nil {
			err = p.Page(0, make([]byte, l.pageBytes()))
		}
		if err == nil {
			_, err = p.Logits()
		}
		return err
	}
	if err := open(w.b); err != nil {
		t.Fatal(err)
	}
	nan := math.Float32bits(float32(math.NaN()))
	for name, f := range map[string]struct {
		at int64
		v  uint32
	}{
		"magic": {0, 1}, "version": {4, 2}, "window": {20, 17}, "tokens": {28, 301}, "none": {28, 0}, "huge": {28, 1 << 31}, "layers": {32, 5},
		"head width": {36, 64}, "indexer": {40, 64}, "vocabulary": {44, 41}, "raw rows": {48, 15}, "token": {52, 40},
		"count": {l.counts + 4, 74}, "index count": {l.counts + 16, 1}, "logit": {l.logits + 8, nan},
		"raw row": {l.layers[0].raw + 8, nan}, "off the grid": {l.layers[1].comp, math.Float32bits(1.03)},
		"rope": {l.layers[1].comp + 4*191, math.Float32bits(1e6)}, "index row": {l.layers[1].index, math.Float32bits(0.7)},
		"frontier": {l.layers[3].sc, nan}, "ratio 128": {l.layers[2].kv, nan},
	} {
		b := slices.Clone(w.b)
		binary.LittleEndian.PutUint32(b[f.at:], f.v)
		if err := open(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: want %v, got %v", name, ErrCorrupt, err)
		}
	}
	for _, b := range [][]byte{nil, w.b[:51], w.b[:len(w.b)-1], append(slices.Clone(w.b), 0)} {
		if err := open(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d bytes: want %v, got %v", len(b), ErrCorrupt, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	s := small()
	s.Layers, s.Ratio, s.Window, s.HeadDim, s.Vocab = 3, []int{0, 4, 8}, 4, 128, 8
	d, _ := session(rand.New(rand.NewPCG(5, 6)), s, 5)
	w := newBuffer(Bytes(s, 5))
	if err := Write(w, s, d); err != nil {
		f.Fatal(err)
	}
	f.Add(w.b)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Open(bytes.NewReader(b), int64(len(b)), s)
		if err != nil {
			return
		}
		image, err := p.State()
		if err != nil {
			return
		}
		page := make([]byte, p.l.pageBytes())
		if p.Page(0, page) != nil {
			return
		}
		// What is accepted survives a round trip.
		again := newBuffer(int64(len(b)))
		d := Session{CtxTokens: len(p.Tokens()) + 1, Tokens: p.Tokens(), State: image, Page: p.Page}
		if err := Write(again, s, d); err != nil {
			t.Fatal(err)
		}
		q, err := Open(bytes.NewReader(again.b), int64(len(again.b)), s)
		if err != nil {
			t.Fatal(err)
		}
		if image2, err := q.State(); err != nil || !bytes.Equal(image, image2) {
			t.Fatalf("image changed (%v)", err)
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	s := backend.Flash()
	d, _ := session(rand.New(rand.NewPCG(7, 8)), s, 2048)
	w := &buffer{b: make([]byte, Bytes(s, 2048)), times: nil}
	b.SetBytes(int64(len(w.b)))
	for b.Loop() {
		if err := Write(discard{w.b}, s, d); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{ b []byte }

func (d discard) WriteAt(p []byte, off int64) (int, error) { return copy(d.b[off:], p), nil }

func BenchmarkRead(b *testing.B) {
	s := backend.Flash()
	d, _ := session(rand.New(rand.NewPCG(7, 8)), s, 2048)
	w := discard{make([]byte, Bytes(s, 2048))}
	if err := Write(w, s, d); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(w.b)))
	page := make([]byte, newLayout(&s, 2048).pageBytes())
	for b.Loop() {
		p, err := Open(bytes.NewReader(w.b), int64(len(w.b)), s)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.State(); err != nil {
			b.Fatal(err)
		}
		if err := p.Page(0, page); err != nil {
			b.Fatal(err)
		}
	}
}
