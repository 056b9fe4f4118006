package kvstore

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func names(t *testing.T, dir, ext string) []string {
	t.Helper()
	l, err := filepath.Glob(filepath.Join(dir, "*"+ext))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1 << (at % 8)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A flipped bit anywhere in a block or checkpoint is noticed by its reader.
func TestFlippedAnywhere(t *testing.T) {
	dir := t.TempDir()
	b := openBox(t, dir)
	b.save(talk(1, 0, 2100), Mark{Text: []byte("hello"), Tools: []Tool{{"id", "block"}}, Aliases: []Alias{{7}}, Logits: make([]float32, 512)})
	for _, path := range append(names(t, dir, ".blk"), names(t, dir, ".end")...) {
		p, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		step := 1
		for at := 0; at < len(p); at += step {
			if at == 1500 {
				step = 499
			}
			p[at] ^= 1 << (at % 8)
			if _, err := readFile(bytes.NewReader(p), int64(len(p))); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s, byte %d: want %v, got %v", filepath.Base(path), at, ErrCorrupt, err)
			}
			p[at] ^= 1 << (at % 8)
		}
		for _, n := range []int{0, 1, 255, 256, len(p) - 1} {
			if _, err := readFile(bytes.NewReader(p[:n]), int64(n)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s, %d bytes: want %v, got %v", filepath.Base(path), n, ErrCorrupt, err)
			}
		}
	}
	p, err := os.ReadFile(filepath.Join(dir, indexName))
	if err != nil {
		t.Fatal(err)
	}
	for at := range p {
		p[at] ^= 1 << (at % 8)
		if _, _, err := parseIndex(p); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("index, byte %d: want %v, got %v", at, ErrCorrupt, err)
		}
		p[at] ^= 1 << (at % 8)
	}
}

// What a server makes of a damaged file: a shorter checkpoint or a miss, a report, the file out of the way; and what is
// saved again is there again.
func TestDamage(t *testing.T) {
	prompt := talk(1, 0, 9000)
	for _, c := range []struct {
		name string
		ext  string
		at   func(bytes int64) int64
		left int // tokens found afterwards
	}{
		{"rows of a block", ".blk", func(n int64) int64 { return n / 2 }, 0},
		{"header of a block", ".blk", func(int64) int64 { return 24 }, 0},
		{"image", ".end", func(n int64) int64 { return n - 100 }, 2000},
		{"header of a checkpoint", ".end", func(int64) int64 { return 40 }, 2000},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			b := openBox(t, dir)
			b.save(prompt[:2000], Mark{})
			short := names(t, dir, ".end")
			b.save(prompt[:3000], Mark{})
			path := names(t, dir, c.ext)
			path = slices.DeleteFunc(path, func(p string) bool { return p == short[0] })
			info, err := os.Stat(path[0])
			if err != nil {
				t.Fatal(err)
			}
			flip(t, path[0], c.at(info.Size()))
			h, err := b.Lookup(Query{Tokens: prompt})
			if err == nil && len(h.Tokens) == 3000 { // the block is read later
				if err := newFake(b.o.Shape, prompt).check(h); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("want %v, got %v", ErrCorrupt, err)
				}
				h.Close(Unused)
				b.want(prompt, 2000)
			} else {
				b.want(prompt, c.left)
			}
			b.Flush()
			if b.count(Quarantined) != 1 || len(names(t, dir, ".bad")) != 1 {
				t.Errorf("want one file quarantined, got %d, %v", b.count(Quarantined), names(t, dir, ".bad"))
			}
			b.save(prompt[:3000], Mark{})
			b.want(prompt, 3000)
			b.close()
			b = openBox(t, dir)
			b.want(prompt, 3000)
		})
	}
}

// The index may be lost, damaged, or behind; files may vanish, appear, or be cut short.
func TestIndexLost(t *testing.T) {
	prompt := talk(1, 0, 9000)
	dir := t.TempDir()
	b := openBox(t, dir)
	b.save(prompt[:5000], Mark{Aliases: []Alias{{5}}, Reason: Evict, Tools: []Tool{{"id", "block"}}})
	b.close()
	index := filepath.Join(dir, indexName)
	good, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string][]byte{"missing": nil, "empty": {}, "short": good[:len(good)-1], "other": []byte(strings.Repeat("x", 100))} {
		if err := os.Remove(index); err != nil {
			t.Fatal(err)
		}
		if p != nil {
			if err := os.WriteFile(index, p, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		b := openBox(t, dir)
		b.want(prompt, 5000)
		if b.count(Rebuilt) != 1 || len(b.Tools([]string{"id"})) != 1 {
			t.Errorf("%s: want the index rebuilt, got %v", name, b.events)
		}
		if h, err := b.Lookup(Query{Aliases: []Alias{{5}}}); err != nil || h.Reason != Evict {
			t.Errorf("%s: alias: %v", name, err)
		}
		b.close()
	}
	// An index from before the last save.
	b = openBox(t, dir)
	b.save(prompt[:6000], Mark{})
	b.close()
	if err := os.WriteFile(index, good, 0o600); err != nil {
		t.Fatal(err)
	}
	b = openBox(t, dir)
	b.want(prompt, 6000)
	// A file that vanishes under an open store, and one that is cut short.
	if err := os.Remove(names(t, dir, ".blk")[0]); err != nil {
		t.Fatal(err)
	}
	h, err := b.Lookup(Query{Tokens: prompt})
	if err != nil {
		t.Fatal(err)
	}
	if err := newFake(b.o.Shape, prompt).check(h); !errors.Is(err, ErrNotFound) {
		t.Errorf("want %v, got %v", ErrNotFound, err)
	}
	h.Close(Unused)
	b.want(prompt, 0)
	b.save(prompt[:6000], Mark{})
	b.want(prompt, 6000)
	b.close()
	if err := os.Truncate(names(t, dir, ".end")[0], 300); err != nil {
		t.Fatal(err)
	}
	b = openBox(t, dir)
	if b.count(Quarantined) != 1 {
		t.Errorf("want one file quarantined, got %v", b.events)
	}
}

func TestBroken(t *testing.T) {
	b := openBox(t, t.TempDir())
	prompt := talk(1, 0, 3000)
	b.save(prompt[:1000], Mark{})
	b.save(prompt[:2000], Mark{})
	h, err := b.Lookup(Query{Tokens: prompt})
	if err != nil {
		t.Fatal(err)
	}
	h.Close(Broken)
	b.want(prompt, 1000)
}

// A damaged file is met on the goroutine that a writer, which holds the lock, waits for.
func TestDamageWhileWriting(t *testing.T) {
	dir := t.TempDir()
	b := openBox(t, dir, v1)
	text := []byte("some text")
	saveCanonical(b, talk(1, 0, 200), Mark{Text: text})
	flip(t, names(t, dir, ".kv")[0], 54) // in the text
	f := newFake(b.o.Shape, talk(2, 0, 200))
	f.gate = make(chan struct{})
	if err := b.Save(canonicalGate{canonical{f}}, Mark{Text: []byte("another")}); err != nil {
		t.Fatal(err)
	}
	f.gate <- struct{}{} // the writer has the lock, and waits for its page
	if _, err := b.Lookup(Query{Text: append(text, '!')}); err == nil {
		t.Error("want a miss")
	}
	close(f.gate)
	b.Flush()
	if b.count(Quarantined) != 1 || b.count(Stored) != 2 {
		t.Errorf("want one file quarantined and two stored, got %v", b.events)
	}
}

// canonicalGate waits for its gate twice.
type canonicalGate struct{ canonical }

func (c canonicalGate) ReadPage(i int, dst []byte) error {
	<-c.gate
	<-c.gate
	return c.canonical.ReadPage(i, dst)
}
