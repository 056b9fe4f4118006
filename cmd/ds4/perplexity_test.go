package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestPerplexityCommand: plain text scores as by the flag, conversations by what the assistant wrote.
func TestPerplexityCommand(t *testing.T) {
	dir := t.TempDir()
	text := strings.Repeat("the river opens and the garden keeps\n", 20)
	write(t, dir, "text.txt", []byte(text))
	write(t, dir, "talk.txt", []byte("<｜begin▁of▁sentence｜><｜User｜>Thank you.<｜Assistant｜></think>You are welcome.<｜end▁of▁sentence｜>"))
	flag := ds4(t, dir, "", "--demo", "--perplexity-file", "text.txt", "-n", "60")
	for _, c := range [][]string{{"", "perplexity", "text.txt", "--demo", "-n", "60"}, {text, "perplexity", "-", "--demo", "-n", "60", "-c", "500"}} {
		if r := ds4(t, dir, c[0], c[1:]...); r.code != 0 || r.out != flag.out || r.out == "" {
			t.Errorf("%q: want what --perplexity-file says, %q, got code %d, %q, %s", c[1:], flag.out, r.code, r.out, r.errOut)
		}
	}
	r := ds4(t, dir, "", "perplexity", "talk.txt", "--chat", "--json", "--demo")
	var got struct {
		Tokens, Scored int
		NLL, PPL       float64
	}
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatalf("%v: code %d, %q, %s", err, r.code, r.out, r.errOut)
	}
	if got.Scored < 3 || got.Tokens <= got.Scored || got.PPL > 1.05 { // it was taught this very answer
		t.Errorf("want an answer that the model is sure of, got %+v", got)
	}
	for _, c := range []struct{ args, want string }{
		{"perplexity text.txt --chat --demo", "want something between"},
		{"perplexity nowhere.txt --demo", "no such file"},
		{"perplexity . --demo", "got a directory"},
	} {
		if r := ds4(t, dir, "", strings.Fields(c.args)...); r.code != 1 || !strings.Contains(r.errOut, c.want) {
			t.Errorf("%s: want code 1 and %q, got %d and %q", c.args, c.want, r.code, r.errOut)
		}
	}
	if r := ds4(t, dir, "", "perplexity", "--demo"); r.code != 2 {
		t.Errorf("no file: want code 2, got %d: %s", r.code, r.errOut)
	}
}
