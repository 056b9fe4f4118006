package kvstore

import (
	"bytes"
	"os"
	"testing"
)

type memory struct{ *bytes.Reader }

func (memory) Close() error  { return nil }
func (m memory) Size() int64 { return m.Reader.Size() }

func blobOf(p []byte) Blob { return memory{bytes.NewReader(p)} }

// seeds are files that a store wrote.
func seeds(f *testing.F, ext string, s ...set) {
	f.Helper()
	tiny := func(o *Options) {
		o.Shape.Layers, o.Shape.Ratio, o.Shape.Window, o.Shape.Vocab = 3, []int{0, 4, 8}, 2, 512
	}
	dir := f.TempDir()
	b := openBox(f, dir, append([]set{tiny}, s...)...)
	for _, n := range []int{17, 40} {
		saveCanonical(b, talk(1, 0, n), Mark{Text: talkText(n), Aliases: []Alias{{1}}, Tools: []Tool{{"id", "ab"}}})
	}
	b.close()
	paths, err := os.ReadDir(dir)
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range paths {
		if p, err := os.ReadFile(dir + "/" + e.Name()); err == nil && bytes.HasSuffix([]byte(e.Name()), []byte(ext)) {
			f.Add(p)
		}
	}
}

func talkText(n int) []byte { return bytes.Repeat([]byte("ab"), n) }

// FuzzBlock: what is accepted is laid out again to the same bytes.
func FuzzBlock(f *testing.F) {
	seeds(f, ".end")
	f.Fuzz(func(t *testing.T, p []byte) {
		p = summed(p)
		b, err := readFile(bytes.NewReader(p), int64(len(p)))
		if err != nil {
			return
		}
		_, _ = entryOf("name", b)
		_ = b.fits(newRows(small()))
		if again := b.encode(); !bytes.Equal(again[:57], p[:57]) || len(again) != len(p) {
			t.Fatal("laid out again, it differs")
		}
	})
}

// summed is a file with the right checksums, so that the fuzzer gets past them.
func summed(p []byte) []byte {
	if len(p) < headerBytes {
		return p
	}
	q := appendSum(bytes.Clone(p[:252]))
	h, err := parseHeader(q, int64(len(p)))
	if err != nil {
		return p
	}
	q = appendSum(append(q, p[headerBytes:h.head()-4]...))
	return append(q, appendSum(bytes.Clone(p[h.head():len(p)-4]))...)
}

// FuzzIndex: what is accepted makes a catalog that can be walked and emptied.
func FuzzIndex(f *testing.F) {
	seeds(f, indexName)
	f.Fuzz(func(t *testing.T, p []byte) {
		_, entries, err := parseIndex(fixed(p))
		if err != nil {
			return
		}
		c := newCatalog(entries)
		for _, e := range c.sorted() {
			_, _ = c.chainOf(e.key, Key{}, anyOf)
			_ = c.lengths(e.parent)
			_ = e.start()
		}
		for {
			gone := c.victim(0, func(string) bool { return false })
			if len(gone) == 0 {
				break // blocks in a circle need each other for ever
			}
			for _, e := range gone {
				c.forget(e)
			}
		}
	})
}

// fixed is an index with the right checksum, so that the fuzzer gets past it.
func fixed(p []byte) []byte {
	if len(p) < 4 {
		return p
	}
	q := bytes.Clone(p)
	return appendSum(q[:len(q)-4])
}

func FuzzKVC(f *testing.F) {
	seeds(f, ".kv", v1)
	f.Fuzz(func(t *testing.T, p []byte) {
		k, err := openKVC(blobOf(p))
		if err != nil {
			return
		}
		_, _ = k.entry("name")
		_, _ = k.tools()
		s := small()
		s.Layers, s.Ratio, s.Window = 3, []int{0, 4, 8}, 2
		d, err := k.open(s)
		if err != nil {
			return
		}
		_, _ = d.State()
		_ = d.Page(0, make([]byte, newRows(s).page))
	})
}
