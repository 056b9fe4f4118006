package kvstore

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// canonical is a source whose rows are such as an engine writes, so that they survive f32.
type canonical struct{ *fake }

func (c canonical) page(i, n int, dst []byte) {
	c.fake.page(i, n, dst)
	s, r := c.shape, newRows(c.shape)
	for il, ratio := range s.Ratio {
		if ratio == 0 {
			continue
		}
		for row := range max(0, min(s.PageRows(il), (n-i*pageTokens)/ratio)) {
			tame(dst[row*r.kv:][:r.kv], s.HeadDim-s.RopeDim, s.HeadDim+s.RopeDim)
			if !s.Indexed(il) {
				continue
			}
			vals := dst[s.PageIndexOffset(il)+row*backend.IndexRowBytes:][:backend.IndexRowBytes]
			for j := range vals {
				vals[j] &= 0x77 // positive: no negative zero
				if j%16 == 0 {
					vals[j] = 0x77
				}
			}
			exps := dst[s.PageIndexExpOffset(il)+row*backend.IndexExpBytes:][:backend.IndexExpBytes]
			for j := range exps {
				exps[j] &= 7
			}
		}
		dst = dst[s.PagePartBytes(il):]
	}
}

// tame makes a KV row canonical: codes that are numbers, one of them large, finite f16s, small exponents.
func tame(row []byte, n, exps int) {
	for j := range n {
		if row[j]&0x7f == 0x7f {
			row[j]--
		}
		if j%backend.FP8Block == 0 {
			row[j] = 0x7d
		}
	}
	for j := n + 1; j < exps; j += 2 {
		row[j] &= 0xbf // f16 exponents below 16
	}
	for j := exps; j < exps+n/backend.FP8Block; j++ {
		row[j] &= 7
	}
}

func (c canonical) ReadPage(i int, dst []byte) error {
	clear(dst)
	c.page(i, len(c.tokens), dst)
	return nil
}

func (c canonical) State() ([]byte, error) {
	s := c.shape
	p, err := c.fake.State()
	at := p
	for il, ratio := range s.Ratio {
		for range min(s.Window, len(c.tokens)) {
			row := at[:s.KVRowBytes()]
			tame(row, s.HeadDim-s.RopeDim, s.HeadDim+s.RopeDim)
			clear(row[newRows(s).used:])
			at = at[len(row):]
		}
		n := len(c.tokens)
		if ratio == 0 {
			continue
		}
		floats := (n % ratio) * s.CompRowFloats(il)
		if ratio == 4 && n >= 4 {
			floats += 4 * s.CompRowFloats(il) / 2
		}
		for range floats {
			binary.LittleEndian.PutUint32(at, binary.LittleEndian.Uint32(at)&0xbfffffff) // finite
			at = at[4:]
		}
	}
	return p, err
}

func (c canonical) check(t *testing.T, h *Hit) {
	t.Helper()
	n := len(h.Tokens)
	f := canonical{newFake(c.shape, c.tokens[:n])}
	state, _ := f.State()
	if !slices.Equal(h.Tokens, f.tokens) || !bytes.Equal(h.State, state) {
		t.Fatalf("%d tokens: tokens or state differ", n)
	}
	got, want := make([]byte, newRows(c.shape).page), make([]byte, newRows(c.shape).page)
	for i := range (n + pageTokens - 1) / pageTokens {
		if err := h.Page(i, got); err != nil {
			t.Fatal(err)
		}
		clear(want)
		if f.page(i, n, want); !bytes.Equal(got, want) {
			t.Fatalf("%d tokens: page %d differs", n, i)
		}
	}
}

func saveCanonical(b *box, tokens []int32, m Mark) canonical {
	b.t.Helper()
	f := canonical{newFake(b.o.Shape, tokens)}
	if err := b.Save(f, m); err != nil {
		b.t.Fatal(err)
	}
	b.Flush()
	if e := b.last(); e.Op != Stored {
		b.t.Fatalf("want it stored, got %+v", e)
	}
	return f
}

func v1(o *Options) { o.Format = V1 }

// KVC files are written on request, found by text by any store, and their header is as the specification says.
func TestKVC(t *testing.T) {
	dir := t.TempDir()
	b := openBox(t, dir, v1)
	text := []byte("system<|User|>hello <call/> world")
	logits := make([]float32, 512)
	logits[7] = 1.5
	f := saveCanonical(b, talk(1, 0, 2500), Mark{Reason: Evict, Text: text, Logits: logits, Tools: []Tool{{"call_1", "<call/>"}, {"call_2", "elsewhere"}}})
	saveCanonical(b, talk(1, 0, 300), Mark{Reason: Cold, Text: text[:10]})
	b.close()

	sum := sha1.Sum(text)
	p, err := os.ReadFile(filepath.Join(dir, hex.EncodeToString(sum[:])+".kv"))
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	payload := le.Uint64(p[40:])
	if string(p[:8]) != "KVC\x01\x02\x03\x01\x00" || le.Uint32(p[8:]) != 2500 || le.Uint32(p[48:]) != uint32(len(text)) ||
		!bytes.Equal(p[52:52+len(text)], text) || string(p[52+len(text):][:4]) != "DSV4" {
		t.Errorf("header: %x", p[:60])
	}
	if rest := string(p[52+len(text)+int(payload):]); rest != "KTM\x01\x01\x00\x00\x00\x06\x00\x00\x00\x07\x00\x00\x00call_1<call/>" {
		t.Errorf("tool map: %q", rest)
	}

	for _, s := range []set{v1, func(*Options) {}} {
		b = openBox(t, dir, s)
		h, err := b.Lookup(Query{Text: append(slices.Clone(text), " and on"...)})
		if err != nil {
			t.Fatal(err)
		}
		if h.By != ByText || h.TextBytes != len(text) || h.Logits[7] != 1.5 || h.Reason != Evict {
			t.Errorf("want %d bytes by text, got %d by %d", len(text), h.TextBytes, h.By)
		}
		f.check(t, h)
		h.Close(Used)
		if h, err = b.Lookup(Query{Text: text}); err != nil || h.TextBytes != 10 {
			t.Fatalf("the shorter one: %v", err)
		}
		h.Close(Used)
		if got := b.Tools([]string{"call_1", "call_2"}); len(got) != 1 || got["call_1"] != "<call/>" {
			t.Errorf("tools: %q", got)
		}
		b.close()
	}
	if _, err := openBox(t, dir, func(o *Options) { o.Identity.Bits = 4; o.RejectDifferentQuant = true }).Lookup(Query{Text: append(text, '.')}); err == nil {
		t.Error("other quantisation: want a miss")
	}
}

// Export and import keep everything.
func TestConvert(t *testing.T) {
	for _, n := range []int{100, 2048, 4999} {
		from, to, kv := openBox(t, t.TempDir()), openBox(t, t.TempDir()), t.TempDir()
		logits := make([]float32, 512)
		logits[3] = -2
		tools := []Tool{{"call_1", "<call/>"}}
		f := saveCanonical(from, talk(1, 0, n), Mark{Reason: Shutdown, Text: []byte("a <call/> b"), Logits: logits, Tools: tools})
		d, err := OpenDir(kv)
		if err != nil {
			t.Fatal(err)
		}
		name, err := from.Export(from.List()[0].Name, nil, d)
		if err != nil {
			t.Fatal(err)
		}
		blob, err := d.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := to.Import(blob); err != nil {
			t.Fatal(err)
		}
		_ = blob.Close()
		h, err := to.Lookup(Query{Tokens: talk(1, 0, n+1)})
		if err != nil {
			t.Fatal(err)
		}
		f.check(t, h)
		if h.Logits[3] != -2 || h.Reason != Shutdown || len(to.Tools([]string{"call_1"})) != 1 {
			t.Errorf("logits %g, reason %s", h.Logits[3], h.Reason)
		}
		h.Close(Used)
		show, err := to.Show(h.Name)
		if err != nil || string(show.Text) != "a <call/> b" || show.Info.Tokens != n {
			t.Errorf("show: %+v, %v", show, err)
		}
	}
}

// A flipped bit in a KVC file: what can be seen is a miss and the file is put aside; nothing panics.
func TestKVCDamage(t *testing.T) {
	text := []byte("some text")
	src := t.TempDir()
	b := openBox(t, src, v1)
	saveCanonical(b, talk(1, 0, 200), Mark{Text: text})
	b.close()
	good, err := os.ReadFile(names(t, src, ".kv")[0])
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(31, 32))
	for i := range 80 {
		at := i
		if i > 62 {
			at = 62 + r.IntN(len(good)-62)
		}
		dir := t.TempDir()
		p := slices.Clone(good)
		p[at] ^= 1 << (at % 8)
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(names(t, src, ".kv")[0])), p, 0o600); err != nil {
			t.Fatal(err)
		}
		b := openBox(t, dir, func(o *Options) { o.RejectDifferentQuant = true })
		h, err := b.Lookup(Query{Text: append(slices.Clone(text), '!')})
		seen := at < 5 || at >= 8 && at < 12 || at >= 40 && at < 52+len(text)+8
		if seen && err == nil {
			t.Errorf("byte %d: want a miss", at)
		}
		if err == nil {
			_ = h.Page(0, make([]byte, newRows(b.o.Shape).page))
			h.Close(Used)
		}
		b.close()
	}
}

func TestManage(t *testing.T) {
	dir := t.TempDir()
	b := openBox(t, dir)
	b.save(talk(1, shared, 5000), Mark{})
	b.save(talk(2, shared, 7000), Mark{})
	b.close()
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Blobs: d})
	if err != nil {
		t.Fatal(err)
	}
	list := s.List()
	if len(list) != 5 || list[0].Kind != "checkpoint" || list[4].Kind != "block" {
		t.Fatalf("want 2 checkpoints, then 3 blocks, got %+v", list)
	}
	if err := s.Verify(t.Context(), false, func(i Info, err error) {
		if err != nil {
			t.Errorf("%s: %v", i.Name, err)
		}
	}); err != nil {
		t.Error(err)
	}
	if _, err := s.Find(list[0].Name[:12]); err != nil {
		t.Error(err)
	}
	if _, err := s.Remove(list[4].Name); err == nil && list[4].Tokens < 6000 {
		t.Error("a block in use: want it refused")
	}
	for _, i := range list[:2] {
		if _, err := s.Remove(i.Name); err != nil {
			t.Error(err)
		}
	}
	if left := s.List(); len(left) != 0 {
		t.Errorf("want nothing left, got %+v", left)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	st, err := os.Stat(filepath.Join(dir, indexName))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("index: want mode 0600, got %v, %v", st, err)
	}
	if folderBytes(t, dir) > 100 {
		t.Errorf("want an empty folder, got %d bytes", folderBytes(t, dir))
	}
}
