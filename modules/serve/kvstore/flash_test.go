package kvstore

import (
	"fmt"
	"testing"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// blank is a source of zeros.
type blank struct {
	tokens []int32
	shape  model.Shape
	pages  int
}

func (b *blank) Tokens() []int32 { return b.tokens }
func (b *blank) ReadPage(int, []byte) error {
	b.pages++
	return nil
}
func (b *blank) State() ([]byte, error) {
	return make([]byte, model.StateBytes(b.shape, len(b.tokens))), nil
}
func (b *blank) Free() {}

func flash(o *Options) { o.Shape = backend.Flash() }

func flashTalk(n int) []int32 {
	t := make([]int32, n)
	for i := range t {
		t[i] = int32(i * 7919 % 129280)
	}
	return t
}

// A conversation of 32,768 tokens takes less than 120 MB (10⁶ bytes) at the real shape; the next checkpoint of it costs its new
// rows and the image; everything on the disk counted.
func TestFlashBytes(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 120 MB")
	}
	dir := t.TempDir()
	b := openBox(t, dir, flash)
	tokens := flashTalk(32768 + 2048)
	save := func(n int) int64 {
		before := folderBytes(t, dir)
		if err := b.Save(&blank{tokens: tokens[:n], shape: b.o.Shape}, Mark{}); err != nil {
			t.Fatal(err)
		}
		b.Flush()
		return folderBytes(t, dir) - before
	}
	if got := save(32768); got >= 120e6 || got < 118e6 {
		t.Errorf("32768 tokens: want under 120 MB, and over 118, got %d bytes", got)
	} else {
		t.Logf("32768 tokens: %d bytes", got)
	}
	if got, want := save(32768+2048), b.blockBytes()+int64(model.StateBytes(b.o.Shape, 34816)); got < want || got > want+2000 {
		t.Errorf("2048 tokens more: want %d bytes and a little, got %d", want, got)
	} else {
		t.Logf("2048 tokens more: %d bytes", got)
	}
	if b.blockBytes() != 7194568 {
		t.Errorf("block: want 7194568 bytes, as doc.go says, got %d", b.blockBytes())
	}
}

func BenchmarkSave(b *testing.B) {
	for _, n := range []int{2048, 32768} {
		b.Run(fmt.Sprintf("tokens=%d", n), func(b *testing.B) {
			var written int64
			for b.Loop() {
				b.StopTimer()
				s := openBox(b, b.TempDir(), flash)
				b.StartTimer()
				if err := s.Save(&blank{tokens: flashTalk(n), shape: s.o.Shape}, Mark{}); err != nil {
					b.Fatal(err)
				}
				s.Flush()
				b.StopTimer()
				written = s.Stats().BytesPut
				if err := s.Wipe(); err != nil {
					b.Fatal(err)
				}
				s.close()
				b.StartTimer()
			}
			b.SetBytes(written)
		})
	}
}

// BenchmarkSaveNext is a checkpoint of a conversation that is there but for its last block.
func BenchmarkSaveNext(b *testing.B) {
	s := openBox(b, b.TempDir(), flash)
	tokens := flashTalk(32768 + 2048*2000)
	n := 32768
	save := func() {
		if err := s.Save(&blank{tokens: tokens[:n], shape: s.o.Shape}, Mark{}); err != nil {
			b.Fatal(err)
		}
		s.Flush()
	}
	save()
	for b.Loop() {
		n += 2048
		save()
	}
}

func BenchmarkLookup(b *testing.B) {
	s := openBox(b, b.TempDir(), flash)
	tokens := flashTalk(32769)
	if err := s.Save(&blank{tokens: tokens[:32768], shape: s.o.Shape}, Mark{}); err != nil {
		b.Fatal(err)
	}
	s.Flush()
	b.Run("miss", func(b *testing.B) {
		other := append([]int32{5}, tokens...)
		for b.Loop() {
			if _, err := s.Lookup(Query{Tokens: other}); err == nil {
				b.Fatal("want a miss")
			}
		}
	})
	find := func(b *testing.B) *Hit {
		h, err := s.Lookup(Query{Tokens: tokens})
		if err != nil {
			b.Fatal(err)
		}
		return h
	}
	b.Run("find", func(b *testing.B) {
		for b.Loop() {
			find(b).Close(Used)
		}
	})
	b.Run("load", func(b *testing.B) {
		b.SetBytes(16 * s.blockBytes())
		page := make([]byte, s.rows.page)
		for b.Loop() {
			h := find(b)
			for i := range 16 {
				if err := h.Page(i, page); err != nil {
					b.Fatal(err)
				}
			}
			h.Close(Used)
		}
	})
}
