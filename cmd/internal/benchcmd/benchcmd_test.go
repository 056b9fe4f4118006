package benchcmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/probe"
	"github.com/ds4-go/ds4/modules/model/synth"
)

func TestParse(t *testing.T) {
	for _, args := range [][]string{
		{"x"}, {"--prompt-file", "a", "--chat-prompt-file", "b"}, {"--csv", "a", "--json"}, {"--ctx-start", "9", "--ctx-max", "8"},
		{"--ctx-max", "4096", "-n", "8", "--ctx-alloc", "4104"}, {"--step-mul", "0.5"}, {"--batch", "0"},
	} {
		var usage *cli.UsageError
		if _, err := parse(args, &bytes.Buffer{}); !errors.As(err, &usage) {
			t.Errorf("%q: want a usage error, got %v", args, err)
		}
	}
	o, err := parse([]string{"--ctx-max", "4096", "-n", "8", "--batch", "3"}, &bytes.Buffer{})
	if err != nil || o.engine.Ctx != 4105 || o.engine.Seqs != 3 {
		t.Errorf("want a context of 4105 for 3 sequences, got %+v, %v", o, err)
	}
}

func TestRandom(t *testing.T) {
	a := random(100, 50, 1)
	if !slices.Equal(a, random(100, 50, 1)) || slices.Equal(a, random(100, 50, 2)) || slices.Max(a) > 99 || slices.Min(a) < 0 {
		t.Errorf("want 50 tokens below 100 that a seed decides, got %v", a)
	}
}

// synthetic writes a file whose layers share experts, with or without the key that allows it.
func synthetic(t *testing.T, allowed bool) string {
	t.Helper()
	s := synth.T1().Shape
	s.Vocab = 4096
	types, err := synth.Quant("q2")
	if err != nil {
		t.Fatal(err)
	}
	w, err := synth.Flash{Shape: s, Experts: types, Seed: 1, ExpertSets: 2}.Plan()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	data := b.Bytes()
	if !allowed {
		data[bytes.Index(data, []byte(gguf.KeySharedOffsets))] = 'x'
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSharedOffsets: the programs open files with shared data, and only those that say so.
func TestSharedOffsets(t *testing.T) {
	c := engine.Defaults()
	c.Model = synthetic(t, false)
	if _, _, err := engine.OpenFile(c); !errors.Is(err, gguf.ClassTensorsOverlap) {
		t.Errorf("without the key: want %v, got %v", gguf.ClassTensorsOverlap, err)
	}
	c.Model = synthetic(t, true)
	f, _, err := engine.OpenFile(c)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := model.ReadShape(f); err != nil || s.Layers != 7 {
		t.Errorf("want 7 layers, got %d, %v", s.Layers, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// printed runs the command and returns what it prints.
func printed(t *testing.T, args []string) ([]byte, error) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	o, err := parse(args, f)
	if err == nil {
		err = measure(context.Background(), o, f, f)
	}
	if e := f.Close(); e != nil {
		t.Fatal(e)
	}
	data, e := os.ReadFile(out)
	if e != nil {
		t.Fatal(e)
	}
	return data, err
}

// TestMeasure runs the command on a file with shared experts, and on prompts that are too short.
func TestMeasure(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it measures the memory four times")
	}
	dir := t.TempDir()
	path, plot, text := synthetic(t, true), filepath.Join(dir, "o.svg"), filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("The river follows the garden"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) ([]byte, error) {
		return printed(t, append([]string{"-m", path, "--cpu", "--ctx-start", "8", "--ctx-max", "16", "--step-mul", "2", "-n", "2"}, args...))
	}
	data, err := run("--json", "--ops", "--batch", "2", "--plot", plot)
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 2 || r.Rows[1].Context != 16 || r.Rows[1].Batch != 2 || !(r.Ceiling > 0) || r.Backend != "cpu" {
		t.Errorf("want two rows of two sequences, got %+v", r)
	}
	ops := r.Rows[1].GenOps // seven layers a step, two steps
	if i := slices.IndexFunc(ops, func(o probe.OpTime) bool { return o.Op == "experts" }); i < 0 || ops[i].Calls != 14 || !(ops[i].Seconds > 0) {
		t.Errorf("--ops: want the time of 14 calls of experts, got %+v", ops)
	}
	if ops = r.Rows[1].PrefillOps; len(ops) == 0 || ops[0].Seconds < ops[len(ops)-1].Seconds {
		t.Errorf("--ops: want the operations of the prefill, the longest first, got %+v", ops)
	}
	if svg, err := os.ReadFile(plot); err != nil || !bytes.Contains(svg, []byte("</svg>")) {
		t.Errorf("--plot: want a drawing, got %d bytes, %v", len(svg), err)
	}
	if _, err := run("--prompt-file", text); err == nil || !strings.Contains(err.Error(), "want 16 tokens or more") {
		t.Errorf("short prompt: want to hear how many tokens it needs, got %v", err)
	}
	if data, err = run("--chat-prompt-file", text, "-sys", "One. Two. Three."); err != nil || strings.Count(string(data), "\n") != 3 {
		t.Errorf("chat prompt: want a header and two rows, got %q, %v", data, err)
	}
}
