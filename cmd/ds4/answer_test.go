package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
)

var speedLine = regexp.MustCompile(`(?m)^ds4: prefill: \d+\.\d\d t/s, generation: \d+\.\d\d t/s(, guessed .*)?$`)

// TestDemo is what a fresh clone runs where nobody sits at a terminal.
func TestDemo(t *testing.T) {
	r := ds4(t, t.TempDir(), "", "demo", "-n", "5")
	if r.code != 0 || strings.TrimSpace(r.out) == "" || !strings.HasSuffix(r.out, "\n") {
		t.Errorf("want code 0 and an answer, got %d and %q", r.code, r.out)
	}
	if !speedLine.MatchString(r.errOut) || !strings.Contains(r.errOut, "this is the demo model") {
		t.Errorf("want the speeds and a word on the demo, got %q", r.errOut)
	}
	if n := regexp.MustCompile(`(?m)^processing (\d+) input tokens: (\d+)/(\d+) \(100%\)$`).FindStringSubmatch(r.errOut); n == nil || n[1] != n[2] || n[2] != n[3] {
		t.Errorf("want one line of progress, got %q", r.errOut)
	}
}

// TestSources: the same prompt by flag, file and pipe gives the same answer, and another seed another.
func TestSources(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "p.txt", []byte("the river"))
	flags := []string{"--demo", "-n", "6", "-sys", ""}
	answer := func(stdin string, more ...string) string {
		r := ds4(t, dir, stdin, append(flags, more...)...)
		if r.code != 0 {
			t.Fatalf("%q: want code 0, got %d: %s", more, r.code, r.errOut)
		}
		return r.out
	}
	want := answer("", "-p", "the river", "--seed", "7")
	for _, c := range [][]string{{"", "--prompt=the river", "--seed", "7"}, {"", "--prompt-file", "p.txt", "--seed", "7"},
		{"the river", "--seed", "7"}, {"the river", "--prompt-file", "-", "--seed", "7"}, {"ignored", "-p", "the river", "--seed", "7", "-t", "1"},
		{"", "-seed", "7", "-p", "<｜begin▁of▁sentence｜><｜User｜>the river<｜Assistant｜></think>"}} {
		if got := answer(c[0], c[1:]...); got != want {
			t.Errorf("%q: want %q, got %q", c, want, got)
		}
	}
	hot := []string{"-p", "the river", "--temp", "5", "--min-p", "0", "--seed"} // the demo model is sure of its answers
	if a, b := answer("", append(hot, "7")...), answer("", append(hot, "8")...); a == b {
		t.Errorf("seeds 7 and 8: want two answers, got %q twice", a)
	}
	if a, b := answer("", "-p", "the river", "--temp", "0"), answer("", "-p", "the river", "--top-k", "1", "--seed", "3"); a != b {
		t.Errorf("greedy and one candidate: want the same, got %q and %q", a, b)
	}
	if got := answer("", "-p", "the river<｜User｜>", "--temp", "0"); got == answer("", "-p", "the river", "--temp", "0") {
		t.Errorf("a user's text that spells a token: want it to be read as text, got the answer without it: %q", got)
	}
}

func TestDumpTokens(t *testing.T) {
	r := ds4(t, t.TempDir(), "", "--demo", "--dump-tokens", "-p", "The river<｜User｜> é")
	want := "[300, 1216, 1396, 35, 198, 172]\n" +
		"   300  The\n  1216  Ġriver\n  1396  <｜User｜>\n    35  Ġ\n   198  Ã\n   172  ©\n"
	if r.code != 0 || r.out != want || r.errOut != "" {
		t.Errorf("want\n%sgot code %d, %q and\n%s", want, r.code, r.errOut, r.out)
	}
}

// steps is the file of --dump-logprobs.
type steps struct {
	Source string `json:"source"`
	Prompt int    `json:"prompt_tokens"`
	Ctx    int    `json:"ctx"`
	TopK   int    `json:"top_k"`
	Steps  []struct {
		Step     int   `json:"step"`
		Selected token `json:"selected"`
		Top      []struct {
			Token   token   `json:"token"`
			Logit   float64 `json:"logit"`
			Logprob float64 `json:"logprob"`
		} `json:"top_logprobs"`
	} `json:"steps"`
}

type token struct {
	ID    int    `json:"id"`
	Text  string `json:"text"`
	Bytes []int  `json:"bytes"`
}

func dump(t *testing.T, dir string, args ...string) steps {
	t.Helper()
	r := ds4(t, dir, "", append([]string{"--demo", "--dump-logprobs", "lp.json"}, args...)...)
	if r.code != 0 || r.out != "" {
		t.Fatalf("want code 0 and no text, got %d, %q, %s", r.code, r.out, r.errOut)
	}
	b, err := os.ReadFile(filepath.Join(dir, "lp.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s steps
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDumpLogprobs(t *testing.T) {
	dir := t.TempDir()
	s := dump(t, dir, "-p", "the garden", "-n", "4", "--logprobs-top-k", "128", "-c", "300", "--nothink")
	if s.Source != "ds4" || s.Ctx != 300 || s.TopK != 128 || s.Prompt < 10 || len(s.Steps) != 4 {
		t.Fatalf("header: got %+v with %d steps", s, len(s.Steps))
	}
	answer := ""
	for i, x := range s.Steps {
		sum, last := 0.0, math.Inf(1)
		for _, c := range x.Top {
			sum += math.Exp(c.Logprob)
			if c.Logit > last {
				t.Errorf("step %d: want descending logits, got %g after %g", i, c.Logit, last)
			}
			last = c.Logit
		}
		if x.Step != i || len(x.Top) != 128 || x.Selected.ID != x.Top[0].Token.ID || sum > 1 || sum < 0.5 {
			t.Errorf("step %d: want the best of 128 with most of the mass, got %v of %d with %g", i, x.Selected, len(x.Top), sum)
		}
		answer += x.Selected.Text
	}
	// the steps are the greedy answer
	if r := ds4(t, dir, "", "--demo", "--temp", "0", "-p", "the garden", "-n", "4", "--nothink"); r.out != answer+"\n" {
		t.Errorf("greedy answer: want %q, got %q", answer+"\n", r.out)
	}
}

// TestVectors compares the demo model with itself, and then with wrong expectations.
func TestVectors(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "prompts"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "prompts/a.txt", []byte("the garden"))
	s := dump(t, dir, "-p", "the garden", "-n", "3", "-sys", "", "--nothink")
	vec := func(change func(step int, token string) string, shift float64) string {
		var b strings.Builder
		fmt.Fprintf(&b, "# made from a dump\n\ncase a 200 %d somewhere/else/a.txt\n", len(s.Steps))
		for i, x := range s.Steps {
			fmt.Fprintf(&b, "step %d %s 2\n", i, change(i, hexOf(x.Selected)))
			for _, c := range x.Top[:2] {
				fmt.Fprintf(&b, "top %s %g\n", hexOf(c.Token), c.Logprob+shift)
			}
		}
		return b.String() + "end\n"
	}
	same := func(_ int, token string) string { return token }
	wrong := func(step int, token string) string {
		if step == 1 {
			return "21"
		}
		return token
	}
	for _, c := range []struct {
		name, text string
		code       int
		want       string
	}{
		{"itself", vec(same, 0), 0, "1 of 1 cases agree"},
		{"near", vec(same, -3.9), 0, "difference +3.9000"},
		{"far", vec(same, -4.1), 1, "0 of 1 cases agree"},
		{"another token", vec(wrong, 0), 1, `FAIL step 1: want "!"`},
	} {
		path := write(t, dir, "x.vec", []byte(c.text))
		r := ds4(t, t.TempDir(), "", "vectors", path, "--demo")
		if r.code != c.code || !strings.Contains(r.out, c.want) {
			t.Errorf("%s: want code %d and %q, got %d and\n%s%s", c.name, c.code, c.want, r.code, r.out, r.errOut)
		}
	}
}

func hexOf(x token) string {
	s := ""
	for _, b := range x.Bytes {
		s += fmt.Sprintf("%02x", b)
	}
	return s
}

func TestPerplexity(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "text.txt", []byte(strings.Repeat("the river opens and the garden keeps\n", 20)))
	line := regexp.MustCompile(`^tokens=(\d+) scored=(\d+) nll=(\d+\.\d{9}) avg_nll=(\d+\.\d{9}) ppl=(\d+\.\d{9})\n$`)
	r := ds4(t, dir, "", "--demo", "--perplexity-file", "text.txt", "-n", "100")
	m := line.FindStringSubmatch(r.out)
	if r.code != 0 || m == nil || m[2] != "100" {
		t.Fatalf("want 100 tokens scored, got code %d, %q, %s", r.code, r.out, r.errOut)
	}
	if again := ds4(t, dir, "", "--demo", "--perplexity-file", "text.txt", "-c", "132"); strings.Split(again.out, " ")[2] != strings.Split(r.out, " ")[2] {
		t.Errorf("bounded by the context: want the same as by -n, got %q and %q", again.out, r.out)
	}
}

// TestImatrix measures, and holds the file against what it must have: an entry per expert tensor, gate and up alike.
func TestImatrix(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "set.txt", []byte("the river\n===== second\nthe garden <｜User｜>\n"))
	r := ds4(t, dir, "", "--demo", "--imatrix-dataset", "set.txt", "--imatrix-out", "im.dat")
	if r.code != 0 || !strings.Contains(r.errOut, "of 2 prompts") {
		t.Fatalf("want 2 prompts measured, got code %d: %s", r.code, r.errOut)
	}
	f, err := os.Open(filepath.Join(dir, "im.dat"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	list, err := gguf.ReadImportance(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 6*3 || list[0].Name != "blk.0.ffn_gate_exps.weight" || len(list[0].Values) != 6*256 {
		t.Fatalf("want 18 entries of 1536 values, got %d, first %s of %d", len(list), list[0].Name, len(list[0].Values))
	}
	ones := 0
	for i, e := range list {
		for k, v := range e.Values {
			if !(v >= 0) || i%3 == 1 && v != list[i-1].Values[k] {
				t.Fatalf("%s: value %d: got %g", e.Name, k, v)
			}
			if v == 1 {
				ones++
			}
		}
	}
	if ones == 0 || ones == 18*1536 {
		t.Errorf("want experts with and without tokens, got %d ones", ones)
	}
}
