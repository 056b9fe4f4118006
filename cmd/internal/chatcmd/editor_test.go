package chatcmd

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

// TestPaste: what a terminal sends comes out folded, wherever reads cut it.
func TestPaste(t *testing.T) {
	in := "ab\x1b[Cc\x1b[200~x\r\ny\nz\x1b[31m\tw\x03\r\x1b[201~d\r\x1b[200~e\x1b[201~"
	want := "ab\x1b[Cc\x1b[200~x⏎y⏎z1m⇥w⏎\x1b[201~d\r\x1b[200~e\x1b[201~"
	want = strings.Replace(want, "z1m", "z31m", 1)
	for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in)), iotest.HalfReader(strings.NewReader(in))} {
		got, err := io.ReadAll(&pasteReader{r: r})
		if err != nil || string(got) != want {
			t.Errorf("want %q, got %q, %v", want, got, err)
		}
	}
	p := &pasteReader{r: strings.NewReader("a\x1b[200~\x03\x1b[201~")}
	if _, err := io.ReadAll(p); err != nil || p.interrupted {
		t.Errorf("Ctrl+C inside a paste: want no interrupt, got %v, %v", p.interrupted, err)
	}
	p = &pasteReader{r: strings.NewReader("a\x03")}
	if _, err := io.ReadAll(p); err != nil || !p.interrupted {
		t.Errorf("Ctrl+C: want an interrupt, got %v, %v", p.interrupted, err)
	}
}

// FuzzPaste: nothing a terminal sends makes the reader fail, and no line break or control character gets out of a paste.
func FuzzPaste(f *testing.F) {
	f.Add([]byte("a\x1b[200~b\r\n\x1b[20\x1b[201~c"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := io.ReadAll(&pasteReader{r: bytes.NewReader(in)})
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(got), pasteStart)[1:] {
			pasted, _, _ := strings.Cut(part, pasteEnd)
			if i := strings.IndexFunc(pasted, func(r rune) bool { return r < ' ' }); i >= 0 {
				t.Fatalf("%q: a control character in the paste %q", in, pasted)
			}
		}
	})
}

func TestFold(t *testing.T) {
	for _, s := range []string{"", "a", "a\nb\n\n\tc"} {
		if got := unfold(fold(s)); got != s || strings.ContainsAny(fold(s), "\n\t") {
			t.Errorf("%q: folds to %q and back to %q", s, fold(s), got)
		}
	}
}

func TestHistory(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("USERPROFILE", dir)
	h := openHistory()
	for i := range 600 {
		h.remember("message " + strconv.Itoa(i))
	}
	h.remember("two\nlines")
	h.remember("two\nlines")
	h.remember("  ")
	h = openHistory()
	if h.Len() != historySize || h.At(0) != "two⏎lines" || h.At(1) != "message 599" || h.At(511) != "message 89" {
		t.Errorf("want the newest 512, got %d from %q to %q", h.Len(), h.At(h.Len()-1), h.At(0))
	}
	if info, err := os.Stat(filepath.Join(dir, ".ds4_history")); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("want a file for its owner alone, got %v, %v", info.Mode(), err)
	}
}
