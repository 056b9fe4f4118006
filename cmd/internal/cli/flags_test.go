package cli

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/model"
)

type all struct {
	text string
	n    int
	f    float64
	on   bool
	seed uint64
}

func set(v *all) *Set {
	s := New("ds4 x", "does x", "ds4 x FILE")
	s.String(&v.text, "-sys, --system", "TEXT", "a text")
	s.Int(&v.n, "-n, --tokens", "N", "a number", 1, 10)
	s.Float(&v.f, "--temp", "F", "another", 0, 2)
	s.Bool(&v.on, "--on", "a switch")
	s.Uint(&v.seed, "--seed", "N", "a seed")
	s.Set("--hidden", "", func() { v.text = "hidden" })
	return s
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args string
		want all
		rest []string
	}{
		{"", all{n: 3}, nil},
		{"-sys a --tokens=4", all{text: "a", n: 4}, nil},
		{"-system a -tokens 4 -on", all{text: "a", n: 4, on: true}, nil},
		{"one --on two -n 5 three", all{n: 5, on: true}, []string{"one", "two", "three"}},
		{"one -- --on -x", all{n: 3}, []string{"one", "--on", "-x"}},
		{"--on=false --seed 18446744073709551615 --temp 0", all{n: 3, seed: 1<<64 - 1}, nil},
		{"--hidden -", all{n: 3, text: "hidden"}, []string{"-"}},
	} {
		got := all{n: 3}
		rest, err := set(&got).Parse(strings.Fields(c.args), nil)
		if err != nil || got != c.want || !slices.Equal(rest, c.rest) {
			t.Errorf("%q: want %+v and %q, got %+v and %q, %v", c.args, c.want, c.rest, got, rest, err)
		}
	}
	var v all
	s := set(&v)
	if _, err := s.Parse([]string{"-sys", ""}, nil); err != nil || !s.Given("system") || !s.Given("--sys") || s.Given("on") {
		t.Errorf("given: want system and nothing else, got %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--nope", "unknown flag --nope"},
		{"--tmep 1", "unknown flag --tmep; did you mean --temp?"},
		{"-q", "unknown flag -q"},
		{"-n", "-n: want a value, got nothing"},
		{"--tokens", "--tokens: want a value, got nothing"},
		{"-n x", `-n: want a whole number from 1 to 10, got "x"`},
		{"-n 11", `-n: want a whole number from 1 to 10, got "11"`},
		{"--temp nan", `--temp: want a number from 0 to 2, got "nan"`},
		{"--temp : for flag -x: y", `--temp: want a number`},
		{"--seed -1", `--seed: want a whole number above 0, got "-1"`},
		{"--on=maybe", `--on: want true or false, got "maybe"`},
	} {
		_, err := set(&all{}).Parse(strings.Fields(c.args), nil)
		var usage *UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), `"ds4 x --help" tells more`) {
			t.Errorf("%q: want %q, got %v", c.args, c.want, err)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, args := range []string{"-h", "--help", "file -n 3 --help"} {
		var b bytes.Buffer
		_, err := set(&all{n: 3}).Parse(strings.Fields(args), &b)
		if !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%s: want flag.ErrHelp, got %v", args, err)
		}
		for _, want := range []string{"ds4 x: does x", "-sys, --system TEXT", "-n, --tokens N", "(3)", "  --on"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: want %q, got\n%s", args, want, b.String())
			}
		}
		if strings.Contains(b.String(), "hidden") {
			t.Errorf("%s: want no hidden flag, got\n%s", args, b.String())
		}
	}
}

func TestExit(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		out  string
	}{
		{nil, 0, ""},
		{flag.ErrHelp, 0, ""},
		{Silent(3), 3, ""},
		{errors.New("a\nb\r\n"), 1, "ds4: a; b\n"},
		{fmt.Errorf("x: %w", model.ErrCanceled), 130, "ds4: interrupted\n"},
		{set(&all{}).Usagef("no"), 2, "ds4: no (\"ds4 x --help\" tells more)\n"},
	} {
		var b bytes.Buffer
		if code := Exit(&b, "ds4", c.err); code != c.code || b.String() != c.out {
			t.Errorf("%v: want %d and %q, got %d and %q", c.err, c.code, c.out, code, b.String())
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 86720111488: "80.8 GiB", 1 << 60: "1048576.0 TiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: want %s, got %s", n, want, got)
		}
	}
}
