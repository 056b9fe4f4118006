package chat

import (
	"strings"
	"testing"
)

func TestStops(t *testing.T) {
	for _, c := range []struct {
		stops     []string
		text      string
		out, stop string
	}{
		{[]string{"STOP"}, "Hello STOP here", "Hello ", "STOP"},
		{[]string{"ABCDE"}, "xxABCDyyABCDEzz", "xxABCDyy", "ABCDE"},
		{[]string{"aab"}, "aaab", "a", "aab"},
		{[]string{"abcd", "bc"}, "abcd", "a", "bc"}, // the first to be complete
		{[]string{"bc", "abc"}, "xabc", "x", "abc"}, // the longest that ends there
		{[]string{"世界", "\n\n"}, "Hello 世\n界 世界", "Hello 世\n界 ", "世界"},
		{[]string{"", "x"}, "abc", "abc", ""},
		{[]string{"abc"}, "ab", "ab", ""},
		{nil, "abc", "abc", ""},
		{[]string{"a"}, "", "", ""},
	} {
		for i := 0; i <= len(c.text); i++ {
			for j := i; j <= len(c.text); j++ {
				s := NewStops(c.stops)
				out, hit := "", ""
				for _, piece := range []string{c.text[:i], c.text[i:j], c.text[j:]} {
					if hit == "" {
						var o string
						var used int
						o, hit, used = s.Add(piece)
						out += o
						if used > len(piece) || hit == "" && used != len(piece) {
							t.Fatalf("%q: want all of the piece used, got %d of %d", c.text, used, len(piece))
						}
					}
				}
				out += s.Flush()
				if out != c.out || hit != c.stop {
					t.Errorf("%q in %q cut at %d, %d: want %q, %q, got %q, %q", c.stops, c.text, i, j, c.out, c.stop, out, hit)
				}
			}
		}
	}
}

// No more is held than might become a stop string.
func TestStopsHoldLittle(t *testing.T) {
	s := NewStops([]string{"abab", "x"})
	for _, step := range []struct{ in, out string }{{"a", ""}, {"b", ""}, {"a", ""}, {"a", "aba"}, {"c", "ac"}, {"cab", "c"}, {"c", "abc"}} {
		if out, hit, _ := s.Add(step.in); out != step.out || hit != "" {
			t.Errorf("%q: want %q, got %q, %q", step.in, step.out, out, hit)
		}
	}
}

// FuzzStops compares with a search in the whole text.
func FuzzStops(f *testing.F) {
	f.Add("hello stop", "stop", "lo", uint16(3))
	f.Add("aabaabaaab", "aabaaab", "baaa", uint16(5))
	f.Fuzz(func(t *testing.T, text, a, b string, cut uint16) {
		want, stop := text, ""
		for end := 1; end <= len(text) && stop == ""; end++ {
			for _, s := range []string{a, b} {
				if s != "" && strings.HasSuffix(text[:end], s) && len(s) > len(stop) {
					want, stop = text[:end-len(s)], s
				}
			}
		}
		s := NewStops([]string{a, b})
		i := int(cut) % (len(text) + 1)
		out, hit, _ := s.Add(text[:i])
		if hit == "" {
			more, h, _ := s.Add(text[i:])
			out, hit = out+more, h
		}
		if out += s.Flush(); out != want || hit != stop {
			t.Errorf("want %q, %q, got %q, %q", want, stop, out, hit)
		}
	})
}
