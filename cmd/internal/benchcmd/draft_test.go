package benchcmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/engine"
)

func TestParseDraft(t *testing.T) {
	for _, args := range [][]string{
		{"--draft", "guess"}, {"--draft", "replay:1.5"}, {"--draft", "0.5"}, {"--draft", "replay:NaN"}, {"--draft", "mtp"},
		{"--draft", "off", "--draft-depths", "0"}, {"--draft", "off", "--draft-depths", "17"}, {"--draft-verify", "18"}, {"--draft-seconds", "-1"},
	} {
		var usage *cli.UsageError
		if _, err := parse(args, &bytes.Buffer{}); !errors.As(err, &usage) {
			t.Errorf("%q: want a usage error, got %v", args, err)
		}
	}
	o, err := parse([]string{"--draft", "replay:0,0.5,1,lookup,off", "--draft-depths", "1,16", "--ctx-start", "64", "-n", "8"}, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	if d := o.draft.run; len(d.Probs) != 3 || len(d.Named) != 1 || len(d.Depths) != 2 || d.Gen != 8 || o.run.Max != 64 || o.engine.Seqs != 2 {
		t.Errorf("want three probabilities, lookup and two depths behind 64 tokens, got %+v", o)
	}
}

// TestMeasureDrafts runs the command on the demo with its draft head, with a text that is given, and looks at what it prints.
func TestMeasureDrafts(t *testing.T) {
	dir := t.TempDir()
	base, head, text := filepath.Join(dir, "m.gguf"), filepath.Join(dir, "h.gguf"), filepath.Join(dir, "text")
	if err := errors.Join(engine.WriteDemo(base), engine.WriteDemoDraft(head), os.WriteFile(text, []byte("lamp river stone garden window lamp river stone garden window"), 0o600)); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) ([]byte, error) {
		return printed(t, append([]string{"-m", base, "--mtp", head, "--cpu", "--ctx-start", "32", "-n", "12"}, args...))
	}
	plot := filepath.Join(dir, "o.svg")
	data, err := run("--draft", "replay:0,1,mtp,auto", "--draft-verify", "3", "--draft-depths", "2", "--json", "--plot", plot)
	if err != nil {
		t.Fatal(err)
	}
	var r DraftReport
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if svg, err := os.ReadFile(plot); err != nil || bytes.Count(svg, []byte("<polyline")) != 1+4 {
		t.Errorf("--plot: want a curve of prices, three of speeds and a line, got %q, %v", svg, err)
	}
	if want := 2 + 3 + 5 + 4*3; len(r.Rows) != want || r.Context != 32 || r.Backend != "cpu" {
		t.Errorf("want %d rows behind 32 tokens, got %+v", want, r)
	}
	guessed := false
	for _, row := range r.Rows {
		guessed = guessed || row.Kind == "mtp" && row.Drafted > 0
	}
	if !guessed {
		t.Errorf("mtp: want guesses, got %+v", r.Rows)
	}
	if data, err = run("--draft", "lookup", "--answer-file", text); err != nil || strings.Count(string(data), "\nlookup,") != 2 {
		t.Errorf("a given text: want two rows of lookup, got %q, %v", data, err)
	}
	if _, err := run("--draft", "off", "--answer-file", filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "--answer-file") {
		t.Errorf("no such file: want to hear which, got %v", err)
	}
}
