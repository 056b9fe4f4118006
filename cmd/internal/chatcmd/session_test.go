package chatcmd

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/model/chat"
)

// demoSession is a session of the demo model. Progress goes nowhere.
func demoSession(t *testing.T, c engine.Config) *session {
	t.Helper()
	c.Model = filepath.Join(t.TempDir(), "demo.gguf")
	if err := engine.WriteDemo(c.Model); err != nil {
		t.Fatal(err)
	}
	m, err := engine.Open(t.Context(), c, engine.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = null.Close() })
	s, err := newSession(m, &c, null)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ignore([]chat.Event) error { return nil }

// TestReach: a second turn evaluates what is new, another conversation all of it; the answers are those of a fresh session.
func TestReach(t *testing.T) {
	c := engine.Defaults()
	c.Ctx = 400
	s := demoSession(t, c)
	ask := func(s *session, ids []int32) answer {
		a, err := s.generate(t.Context(), request{prompt: ids, limit: 5}, ignore)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	tok := s.m.Tokenizer
	first, _, err := rendered(tok, s.m.Checkpoint, "Answer.", "the river", chat.Off)
	if err != nil {
		t.Fatal(err)
	}
	a := ask(s, first)
	if a.fed != len(first) {
		t.Errorf("first turn: want %d tokens evaluated, got %d", len(first), a.fed)
	}
	next := turn(tok, "the garden", chat.Off)
	second := slices.Concat(first, a.tokens, []int32{tok.Special().EOS}, next)
	b := ask(s, second)
	if most := len(next) + 2; b.fed > most { // the end, and the last token of an answer cut short
		t.Errorf("second turn: want at most %d tokens evaluated, got %d", most, b.fed)
	}
	other := ask(s, slices.Concat(first[:4], next))
	for name, c := range map[string]struct {
		ids []int32
		got answer
	}{"second": {second, b}, "other": {slices.Concat(first[:4], next), other}} {
		fresh := demoSession(t, engine.Defaults())
		if want := ask(fresh, c.ids); !slices.Equal(want.tokens, c.got.tokens) {
			t.Errorf("%s: want %v as in a fresh session, got %v", name, want.tokens, c.got.tokens)
		}
	}
	if again := ask(s, slices.Concat(first[:4], next)); again.fed > len(next) || !slices.Equal(again.tokens, other.tokens) {
		t.Errorf("the same prompt again: want the same answer for little work, got %d tokens evaluated and %v", again.fed, again.tokens)
	}
}

// TestInterrupted: a context that has ended stops at once, and leaves a session that goes on.
func TestInterrupted(t *testing.T) {
	s := demoSession(t, engine.Defaults())
	ids := turn(s.m.Tokenizer, strings.Repeat("the river ", 200), chat.Off)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	r := request{prompt: ids[:20], limit: 50}
	a, err := s.generate(ctx, r, func([]chat.Event) error {
		if n++; n == 2 {
			cancel()
		}
		return nil
	})
	if err == nil || len(a.tokens) != 2 {
		t.Errorf("want an error and 2 tokens, got %v and %d", err, len(a.tokens))
	}
	if _, err := s.generate(ctx, r, ignore); err == nil {
		t.Error("an ended context: want an error, got none")
	}
	if b, err := s.generate(t.Context(), r, ignore); err != nil || !slices.Equal(b.tokens[:2], a.tokens) {
		t.Errorf("afterwards: want the answer that began with %v, got %v, %v", a.tokens, b.tokens, err)
	}
}

func TestHarmless(t *testing.T) {
	for in, want := range map[string]string{"a\tb\n": "a\tb\n", "a\x1b[2Jb": "a\ufffd[2Jb", "é\u009b": "é\ufffd", "x\x00\x7f": "x\ufffd\ufffd"} {
		if got := harmless(in); got != want {
			t.Errorf("%q: want %q, got %q", in, want, got)
		}
	}
}

func FuzzSaved(f *testing.F) {
	f.Add([]byte(`{"format":"ds4-chat","version":1,"vocabulary":723,"system":"x","turns":[{"user":"a","thinking":"none","answer":"b","tokens":[1,2]}]}`))
	f.Add([]byte(`{"format":"ds4-chat","version":1,"turns":[{"user":"a","thinking":"max","answer":"b</think>c"}]}`))
	path := filepath.Join(f.TempDir(), "demo.gguf")
	if err := engine.WriteDemo(path); err != nil {
		f.Fatal(err)
	}
	c := engine.Defaults()
	c.Model = path
	m, err := engine.Open(f.Context(), c, engine.Hooks{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = m.Close() })
	f.Fuzz(func(t *testing.T, data []byte) {
		_, turns, err := parseSaved(data, m.Tokenizer)
		if err != nil {
			return
		}
		for _, e := range turns {
			for _, id := range e.tokens {
				if id < 0 || int(id) >= m.Tokenizer.Len() {
					t.Fatalf("accepted token %d", id)
				}
			}
			if e.thinking > chat.Max {
				t.Fatalf("accepted thinking %d", e.thinking)
			}
		}
	})
}
