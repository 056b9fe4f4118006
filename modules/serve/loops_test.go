package serve

import (
	"slices"
	"strings"
	"testing"
)

// TestLoopGuard: what repeats itself is ended, reasoning with its tag and an answer with the turn; what has a form goes on to its end.
func TestLoopGuard(t *testing.T) {
	thought, said := slices.Repeat([]string{"But wait."}, 40), slices.Repeat([]string{" no,", " no", " and"}, 40)
	answer := append([]string{"Hm.", "</think>"}, said...)
	form := slices.Concat([]string{"Hm.", "</think>", `{"a":"`}, slices.Repeat([]string{"no "}, 40), []string{`"}`})
	for _, c := range []struct {
		name               string
		script             []string
		guard              int
		reasoning, content string // how they begin
		least, most        int    // bytes of both
	}{
		{"reasoning, no guard", thought, 0, "But wait.", "", 40 * 9, 40 * 9},
		{"reasoning", thought, 6, "But wait.", "", 6 * 9, 7 * 9},
		{"reasoning, seldom enough", thought, 41, "But wait.", "", 40 * 9, 40 * 9},
		{"answer", answer, 6, "Hm.", " no, no and", 3 + 6*11, 3 + 7*11},
		{"answer, no guard", answer, 0, "Hm.", " no, no and", 3 + 40*11, 3 + 40*11},
		{"a form", form, 6, "Hm.", `{"a":"no no`, 3 + 8 + 40*3, 3 + 8 + 40*3},
		{"the answer repeats the reasoning", append([]string{"a", "b", "a", "b", "</think>"}, "a", "b", "a", "b", "."), 3, "abab", "abab.", 9, 9},
	} {
		b := newBench(t, pieces(c.script...), func(k *Config) { k.LoopGuard = c.guard })
		fields := ""
		if c.name == "a form" {
			fields = `,"response_format":{"type":"json_object"}`
		}
		s := saidBy("/v1/chat/completions", b.post("/v1/chat/completions", `{"max_tokens":900,"messages":[{"role":"user","content":"x"}]`+fields+`}`))
		n := len(s.Reasoning) + len(s.Content)
		if !strings.HasPrefix(s.Reasoning, c.reasoning) || !strings.HasPrefix(s.Content, c.content) || n < c.least || n > c.most || s.Finish != "stop" {
			t.Errorf("%s: got %d bytes, finish %q: %q and %q", c.name, n, s.Finish, s.Reasoning, s.Content)
		}
	}
}
