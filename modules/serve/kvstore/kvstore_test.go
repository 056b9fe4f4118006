package kvstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// small is a shape with every kind of layer whose pages are small.
func small() model.Shape {
	s := backend.Flash()
	s.Layers, s.Ratio, s.Vocab, s.HeadDim, s.Window = 4, []int{0, 4, 128, 4}, 512, 128, 16
	return s
}

// talk is a conversation whose first shared tokens are those of every talk.
func talk(id, shared, n int) []int32 {
	t := make([]int32, n)
	for i := range t {
		who := id
		if i < shared {
			who = 0
		}
		t[i] = int32((37*i + 101*who + i*i%31*(who+1)) % 512)
	}
	return t
}

// fake is a source whose bytes are a function of its tokens, as the engine's are.
type fake struct {
	shape  model.Shape
	tokens []int32
	sums   []uint64 // of the tokens before
	freed  int
	read   int // pages
	err    error
	gate   chan struct{} // ReadPage waits for it
}

func newFake(s model.Shape, tokens []int32) *fake {
	f := &fake{shape: s, tokens: tokens, sums: make([]uint64, len(tokens)+1)}
	h := fnv.New64a()
	for i, t := range tokens {
		_ = binary.Write(h, binary.LittleEndian, t)
		f.sums[i+1] = h.Sum64()
	}
	return f
}

func (f *fake) Tokens() []int32 { return f.tokens }
func (f *fake) Free()           { f.freed++ }

func fill(p []byte, seed, salt uint64) {
	r := rand.New(rand.NewPCG(seed, salt))
	for i := range p {
		p[i] = byte(r.Uint32())
	}
}

func (f *fake) ReadPage(i int, dst []byte) error {
	if f.gate != nil {
		<-f.gate
	}
	f.read++
	fill(dst, 1, uint64(i)) // rows that are not complete: anything
	f.page(i, len(f.tokens), dst)
	return f.err
}

// page writes the rows that are complete after n tokens.
func (f *fake) page(i, n int, dst []byte) {
	r := newRows(f.shape)
	salt := uint64(0)
	at := 0
	for il, ratio := range f.shape.Ratio {
		if ratio == 0 {
			continue
		}
		for c := range f.shape.PageRows(il) {
			end := i*pageTokens + (c+1)*ratio
			if end > n {
				break
			}
			salt++
			row := dst[at+c*r.kv:][:r.kv]
			clear(row)
			fill(row[:r.used], f.sums[end], salt)
			if f.shape.Indexed(il) {
				fill(dst[at+f.shape.PageIndexOffset(il)+c*backend.IndexRowBytes:][:backend.IndexRowBytes], f.sums[end], salt)
				fill(dst[at+f.shape.PageIndexExpOffset(il)+c*backend.IndexExpBytes:][:backend.IndexExpBytes], f.sums[end], salt)
			}
		}
		salt = uint64(il) << 32
		at += f.shape.PagePartBytes(il)
	}
}

func (f *fake) State() ([]byte, error) {
	p := make([]byte, model.StateBytes(f.shape, len(f.tokens)))
	fill(p, f.sums[len(f.tokens)], 99)
	return p, f.err
}

// check compares a hit with what its tokens should give.
func (f *fake) check(h *Hit) error {
	n := len(h.Tokens)
	if !slices.Equal(h.Tokens, f.tokens[:n]) {
		return errors.New("tokens differ")
	}
	state := make([]byte, model.StateBytes(f.shape, n))
	if fill(state, f.sums[n], 99); !bytes.Equal(state, h.State) {
		return errors.New("state differs")
	}
	got, want := make([]byte, model.PageBytes(f.shape)), make([]byte, model.PageBytes(f.shape))
	for i := range (n + pageTokens - 1) / pageTokens {
		if err := h.Page(i, got); err != nil {
			return err
		}
		clear(want)
		if f.page(i, n, want); !bytes.Equal(got, want) {
			return errors.New("page differs")
		}
	}
	return nil
}

// box is a store in a folder with its events.
type box struct {
	*Store
	t      testing.TB
	mu     sync.Mutex
	events []Event
}

type set func(*Options)

func openBox(t testing.TB, dir string, sets ...set) *box {
	t.Helper()
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := &box{t: t}
	o := Options{Blobs: d, Shape: small(), CtxTokens: 100000, MinTokens: 16, Identity: Identity{Bits: 2},
		Log: func(e Event) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, e)
		}}
	for _, f := range sets {
		f(&o)
	}
	if b.Store, err = Open(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	return b
}

func (b *box) close() {
	if err := b.Close(context.Background()); err != nil {
		b.t.Error(err)
	}
}

func (b *box) save(tokens []int32, m Mark) *fake {
	b.t.Helper()
	f := newFake(b.o.Shape, tokens)
	if err := b.Save(f, m); err != nil {
		b.t.Fatal(err)
	}
	b.Flush()
	if f.freed != 1 {
		b.t.Fatalf("source: want freed once, got %d times", f.freed)
	}
	return f
}

// want looks a prompt up and wants the first n tokens of it back, 0: a miss.
func (b *box) want(prompt []int32, n int) {
	b.t.Helper()
	h, err := b.Lookup(Query{Tokens: prompt})
	if n == 0 {
		if miss := (*Miss)(nil); !errors.As(err, &miss) {
			b.t.Fatalf("want a miss, got %v", err)
		}
		return
	}
	if err != nil {
		b.t.Fatalf("want %d tokens, got %v", n, err)
	}
	defer h.Close(Used)
	if len(h.Tokens) != n {
		b.t.Fatalf("want %d tokens, got %d", n, len(h.Tokens))
	}
	if err := newFake(b.o.Shape, prompt).check(h); err != nil {
		b.t.Fatalf("%d tokens: %v", n, err)
	}
}

func (b *box) count(op Op) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, e := range b.events {
		if e.Op == op {
			n++
		}
	}
	return n
}

func (b *box) last() Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.events[len(b.events)-1]
}

func TestSaveLookup(t *testing.T) {
	dir := t.TempDir()
	b := openBox(t, dir)
	long := talk(1, 0, 9000)
	b.want(long, 0)
	for _, n := range []int{16, 17, 127, 128, 2047, 2048, 2049, 4096, 7001} {
		b.save(long[:n], Mark{Reason: Continued})
		b.want(long, n)
		b.want(long[:n+1], n)
	}
	b.want(long[:2049], 2048) // the whole prompt leaves nothing to evaluate
	b.want(long[:2000], 128)
	b.want(talk(2, 0, 5000), 0)
	b.want(talk(2, 4100, 9000), 0) // talk 0 is another
	b.close()
	b = openBox(t, dir)
	b.want(long, 7001)
	b.want(long[:4096], 2049)
	if n := b.count(Rebuilt); n != 0 {
		t.Errorf("want the index used, got it rebuilt")
	}
}

// A checkpoint costs its new rows, and what conversations share is there once.
func TestSharing(t *testing.T) {
	b := openBox(t, t.TempDir())
	f := b.save(talk(1, 4500, 5000), Mark{})
	if f.read != 3 {
		t.Errorf("first: want 3 pages read, got %d", f.read)
	}
	first := b.last().Bytes
	f = b.save(talk(2, 4500, 5000), Mark{})
	if f.read != 1 {
		t.Errorf("second: want 1 page read, got %d", f.read)
	}
	if want := first - 2*b.blockBytes(); b.last().Bytes != want {
		t.Errorf("second: want %d bytes, got %d", want, b.last().Bytes)
	}
	f = b.save(talk(2, 4500, 5000), Mark{})
	if f.read != 0 || b.last().Bytes != 0 {
		t.Errorf("again: want nothing written, got %d pages read, %d bytes", f.read, b.last().Bytes)
	}
	b.want(talk(1, 4500, 6000), 5000)
	b.want(talk(2, 4500, 6000), 5000)
}

func TestAliases(t *testing.T) {
	b := openBox(t, t.TempDir())
	long := talk(1, 0, 5000)
	b.save(long[:4500], Mark{Aliases: []Alias{{1}, {2}}})
	for _, q := range []Query{{Aliases: []Alias{{9}, {2}}}, {Tokens: talk(7, 0, 30), Aliases: []Alias{{1}}}} {
		h, err := b.Lookup(q)
		if err != nil {
			t.Fatal(err)
		}
		if h.By != ByAlias || h.Alias != len(q.Aliases)-1 || len(h.Tokens) != 4500 {
			t.Errorf("want alias %d of 4500 tokens, got %d, %d of %d", len(q.Aliases)-1, h.By, h.Alias, len(h.Tokens))
		}
		if err := newFake(b.o.Shape, long).check(h); err != nil {
			t.Error(err)
		}
		h.Close(Used)
	}
	// An alias more: the checkpoint is written again, the blocks are not.
	if f := b.save(long[:4500], Mark{Aliases: []Alias{{3}}}); f.read != 1 {
		t.Errorf("want 1 page read, got %d", f.read)
	}
	if _, err := b.Lookup(Query{Aliases: []Alias{{3}}}); err != nil {
		t.Error(err)
	}
}

func TestTools(t *testing.T) {
	dir := t.TempDir()
	b := openBox(t, dir)
	b.save(talk(1, 0, 100), Mark{Tools: []Tool{{"call_1", "\n\n<a>"}, {"call_2", "<b>"}}})
	b.save(talk(2, 0, 100), Mark{Tools: []Tool{{"call_3", "<c>"}}})
	b.close()
	b = openBox(t, dir)
	got := b.Tools([]string{"call_2", "call_3", "call_1", "call_9"})
	if len(got) != 3 || got["call_1"] != "\n\n<a>" || got["call_2"] != "<b>" || got["call_3"] != "<c>" {
		t.Errorf("got %q", got)
	}
}

func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	long := talk(1, 0, 3000)
	id := func(model, text, weights, bits byte, reject bool) set {
		return func(o *Options) {
			o.Identity = Identity{Model: Key{model}, Text: Key{text}, Weights: Key{weights}, Bits: bits}
			o.RejectDifferentQuant = reject
		}
	}
	b := openBox(t, dir, id(1, 1, 1, 2, false))
	b.save(long, Mark{Logits: make([]float32, 512)})
	prompt := talk(1, 0, 3001)
	for _, c := range []struct {
		name string
		set  set
		n    int
	}{
		{"same", id(1, 1, 1, 2, true), 3000}, {"other quantisation", id(1, 1, 2, 4, false), 3000}, {"rejected", id(1, 1, 2, 4, true), 0},
		{"other model", id(2, 1, 1, 2, false), 0}, {"other template", id(1, 2, 1, 2, false), 0},
		{"other shape", func(o *Options) { id(1, 1, 1, 2, false)(o); o.Shape.Window = 32 }, 0},
	} {
		o := openBox(t, dir, c.set)
		h, err := o.Lookup(Query{Tokens: prompt})
		if (err == nil) != (c.n > 0) {
			t.Errorf("%s: want %d tokens, got %v", c.name, c.n, err)
		}
		if err == nil {
			h.Close(Used)
		}
		o.close()
	}
	// With its own weights wanted, the second quantisation writes its own blocks beside the first's.
	o := openBox(t, dir, id(1, 1, 2, 4, true))
	if f := o.save(long, Mark{}); f.read != 2 {
		t.Errorf("want 2 pages read, got %d", f.read)
	}
	o.want(prompt, 3000)
	b.want(prompt, 3000)
}

func TestSaveErrors(t *testing.T) {
	b := openBox(t, t.TempDir(), func(o *Options) { o.Queue = 1; o.BudgetBytes = 400000 })
	if err := b.Save(newFake(small(), talk(1, 0, 15)), Mark{}); !errors.Is(err, ErrShort) {
		t.Errorf("want %v, got %v", ErrShort, err)
	}
	b.save(talk(1, 0, 30000), Mark{})
	if e := b.last(); e.Op != Skipped || b.Stats().Bytes != 0 {
		t.Errorf("too long: want skipped and nothing written, got %+v and %d bytes", e, b.Stats().Bytes)
	}
	f := newFake(small(), talk(1, 0, 100))
	f.err = errors.New("device lost")
	if err := b.Save(f, Mark{}); err != nil {
		t.Fatal(err)
	}
	b.Flush()
	if e := b.last(); e.Op != Failed || !errors.Is(e.Err, f.err) || f.freed != 1 {
		t.Errorf("want the source's error and it freed, got %+v", e)
	}
	// One is written, one waits, and the third finds the queue full.
	gate := make(chan struct{})
	var busy int
	var all []*fake
	for i := range 3 {
		f := newFake(small(), talk(i, 0, 100))
		f.gate = gate
		all = append(all, f)
		for b.Save(f, Mark{}) != nil {
			if i < 2 {
				continue // the writer has not taken the first one yet
			}
			busy++
			break
		}
	}
	close(gate)
	b.Flush()
	if busy != 1 || all[0].freed != 1 || all[1].freed != 1 || all[2].freed != 0 {
		t.Errorf("want the third refused, got %d refused", busy)
	}
	b.close()
	if err := b.Save(newFake(small(), talk(1, 0, 100)), Mark{}); !errors.Is(err, ErrClosed) {
		t.Errorf("want %v, got %v", ErrClosed, err)
	}
}
