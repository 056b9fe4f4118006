package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/synth"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// beProgram makes the test binary behave as ds4: the tests start it as a process of its own.
const beProgram = "DS4_TEST_BE_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(beProgram) != "" {
		os.Exit(run(os.Args[1:]))
	}
	code := m.Run()
	if cacheDir != "" {
		_ = os.RemoveAll(cacheDir) // the system's own business if it cannot be
	}
	os.Exit(code)
}

// home is a folder of its own for what the program keeps: history and the demo model.
func home(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	env := append(os.Environ(), beProgram+"=1", "HOME="+dir, "USERPROFILE="+dir, "LocalAppData="+dir, "XDG_CACHE_HOME="+cache(t), "NO_COLOR=1")
	return env
}

// cache is one folder with the demo model for all tests of a run.
var cacheDir string

func cache(t *testing.T) string {
	t.Helper()
	if cacheDir == "" {
		dir, err := os.MkdirTemp("", "ds4-test-*")
		if err != nil {
			t.Fatal(err)
		}
		cacheDir = dir
	}
	return cacheDir
}

type result struct {
	code        int
	out, errOut string
}

// ds4 runs the program in dir with a standard input that is no terminal.
func ds4(t *testing.T, dir, stdin string, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	var out, errOut bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, home(t), strings.NewReader(stdin), &out, &errOut
	cmd.WaitDelay = time.Minute
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("ds4 %q: %v", args, err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}

func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// demoBytes is the demo model as a file.
func demoBytes(t *testing.T) []byte {
	t.Helper()
	w, err := synth.Demo()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// remade is the demo model with changes: keep says which tensors and keys stay, and put adds to the file.
func remade(t *testing.T, keep func(name string) bool, put func(*gguf.Writer) error) []byte {
	t.Helper()
	f, err := gguf.ParseBytes(demoBytes(t))
	if err != nil {
		t.Fatal(err)
	}
	w := gguf.NewWriter()
	for kv := range f.KVs() {
		if keep(kv.Key) {
			err = errors.Join(err, w.Copy(kv))
		}
	}
	for x := range f.Tensors() {
		if keep(x.Name) {
			err = errors.Join(err, w.AddTensor(x.Name, x.Type, x.Dims, x.Payload()))
		}
	}
	err = errors.Join(err, put(w))
	var b bytes.Buffer
	if _, e := w.WriteTo(&b); err != nil || e != nil {
		t.Fatal(err, e)
	}
	return b.Bytes()
}

// TestMistakes: whatever is wrong, one line says so and the exit code is 2 for the command line, 1 for the rest.
func TestMistakes(t *testing.T) {
	dir := t.TempDir()
	demo := demoBytes(t)
	write(t, dir, "demo.gguf", demo)
	write(t, dir, "cut.gguf", demo[:100000])
	write(t, dir, "header.gguf", demo[:500])
	write(t, dir, "empty.gguf", nil)
	write(t, dir, "text.gguf", []byte("GGML is not what this begins with\n"))
	all := func(string) bool { return true }
	without := func(names ...string) func(string) bool {
		return func(name string) bool {
			for _, n := range names {
				if n == name {
					return false
				}
			}
			return true
		}
	}
	none := func(*gguf.Writer) error { return nil }
	write(t, dir, "llama.gguf", remade(t, without(gguf.KeyArchitecture), func(w *gguf.Writer) error { return w.Add(gguf.KeyArchitecture, "llama") }))
	write(t, dir, "norm.gguf", remade(t, without("blk.4.attn_norm.weight"), none))
	write(t, dir, "vocab.gguf", remade(t, without("tokenizer.ggml.tokens"), none))
	write(t, dir, "key.gguf", remade(t, without(model.Architecture+".attention.head_count"), none))
	write(t, dir, "more.gguf", remade(t, all, func(w *gguf.Writer) error {
		return w.AddTensor("extra.weight", gguf.TypeF32, []uint64{1}, gguf.Bytes(make([]byte, 4)))
	}))
	long := write(t, dir, "long.txt", []byte(strings.Repeat("the river ", 400)))
	write(t, dir, "steer.bin", make([]byte, 100))
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		want string // in the line
	}{
		{"-p hi", 1, `ds4flash.gguf: no such model file; fetch one with "ds4 fetch q2", or use the small demo model with --demo`},
		{"serve", 1, `ds4flash.gguf: no such model file; fetch one with "ds4 fetch q2", or use the small demo model with --demo`},
		{"-m folder -p hi", 1, "folder: want a model file, got a directory"},
		{"-m . -p hi", 1, "it holds"},
		{"-m cut.gguf -p hi", 1, "the file is cut short"},
		{"-m header.gguf -p hi", 1, "the file is cut short"},
		{"-m empty.gguf -p hi", 1, "cut short"},
		{"-m text.gguf -p hi", 1, `text.gguf: not a GGUF file: want the bytes "GGUF", got "GGML"`},
		{"-m llama.gguf -p hi", 1, `want "deepseek4", got "llama"`},
		{"-m norm.gguf -p hi", 1, "blk.4.attn_norm.weight: want f32 [256], got nothing"},
		{"-m vocab.gguf -p hi", 1, "tokenizer.ggml.tokens"},
		{"-m key.gguf -p hi", 1, "deepseek4.attention.head_count"},
		{"--demo -c 200 --prompt-file " + long, 1, "raise --ctx"},
		{"--demo -c 1 -p hi", 1, "raise --ctx"},
		{"--demo --prompt-file nowhere", 1, "--prompt-file: nowhere: no such file"},
		{"--demo --prompt-file folder", 1, "want a text file, got a directory"},
		{"--demo -p hi --dir-steering-file steer.bin", 1, "--dir-steering-file steer.bin: want 6144 bytes"},
		{"--demo -p hi --dir-steering-file nowhere", 1, "no such file"},
		{"--demo -p hi --mtp x.gguf", 1, "--mtp: gguf: open x.gguf"},
		{"--demo -p hi --metal", 1, "metal"},
		{"--demo --perplexity-file nowhere", 1, "no such file"},
		{"--demo -p hi --dump-logprobs folder/x/y", 1, "no such file"},
		{"inspect nowhere.gguf", 1, "no such model file"},
		{"inspect text.gguf", 1, "not a GGUF file"},
		{"vectors nowhere.vec --demo", 1, "nowhere.vec"},
		{"vectors text.gguf --demo", 1, "line 1: want case, step, top or end"},
		{"demo-model folder", 1, "folder: want a file name, got a directory"},
		{"demo-model nowhere/x.gguf", 1, "no such file"},

		{"--demo", 2, "no prompt: standard input is empty"},
		{"--nonsense", 2, `unknown flag --nonsense ("ds4 --help" tells more)`},
		{"--pormpt hi", 2, "did you mean --prompt?"},
		{"inspet x", 2, `did you mean "inspect"?`},
		{"hello", 2, `unknown command "hello"; a prompt follows -p`},
		{"-p", 2, "-p: want a value, got nothing"},
		{"--temp hot -p hi", 2, `--temp: want a number from 0 to 100, got "hot"`},
		{"--temp NaN -p hi", 2, "--temp"},
		{"--top-p 1.5 -p hi", 2, "--top-p: want a number from 0 to 1"},
		{"--min-p -0.1 -p hi", 2, "--min-p"},
		{"--seed 0 -p hi", 2, "--seed: want a whole number above 0"},
		{"-n 0 -p hi", 2, "-n: want a whole number from 1"},
		{"-c 99999999999999999999 -p hi", 2, "-c: want a whole number"},
		{"--logprobs-top-k 129 -p hi", 2, "--logprobs-top-k"},
		{"--backend tpu -p hi", 2, `--backend: want`},
		{"-p hi --prompt-file x", 2, "--prompt and --prompt-file: want one of them"},
		{"-p hi --perplexity-file x", 2, "want one of them"},
		{"--demo -m x -p hi", 2, "--demo and --model: want one of them"},
		{"-p hi stray", 2, `unexpected argument "stray"`},
		{"--imatrix-out x", 2, "want both of them"},
		{"--metal-graph-test", 2, "ds4 doctor --gpu"},
		{"--head-test -p hi", 2, "ds4 doctor --gpu"},
		{"inspect a b", 2, "want one file, got 2"},
		{"vectors", 2, "want one file of vectors, got 0"},
		{"demo-model", 2, "want one file name, got 0"},
		{"doctor stray", 2, "unexpected argument"},
		{"help stray", 2, `unknown command "stray"`},
	} {
		r := ds4(t, dir, "", strings.Fields(c.args)...)
		lines := strings.Split(strings.TrimSuffix(r.errOut, "\n"), "\n")
		last := lines[len(lines)-1] // the demo model introduces itself first
		if r.code != c.code || !strings.HasPrefix(last, "ds4: ") || !strings.Contains(last, c.want) || strings.Contains(r.errOut, "goroutine ") || r.out != "" {
			t.Errorf("ds4 %s: want code %d and one line with %q, got code %d, output %q and\n%s", c.args, c.code, c.want, r.code, r.out, r.errOut)
		}
	}
	if r := ds4(t, dir, "", "inspect", "--check", "more.gguf"); r.code != 0 || !strings.Contains(r.out, "extra.weight is not used") {
		t.Errorf("inspect --check of a file with one more tensor: want a note, got code %d and %s%s", r.code, r.out, r.errOut)
	}
}

// TestHelp compares every help text with its golden file.
func TestHelp(t *testing.T) {
	if b := engine.Backends(); !slices.Equal(b, []string{"cuda", "cpu"}) {
		t.Skipf("the golden files are of a build with cuda and cpu, this one has %q", b)
	}
	texts := map[string]string{"ds4": "--help"}
	for _, c := range commands {
		if c.name != "fetch" && c.name != "serve" && c.name != "bench" && c.name != "kv" && c.name != "synth" { // these have tests of their own
			texts["ds4-"+c.name] = c.name + " --help"
		}
	}
	for name, args := range texts {
		r := ds4(t, t.TempDir(), "", strings.Fields(args)...)
		if r.code != 0 || r.errOut != "" {
			t.Errorf("%s: want code 0 and nothing on standard error, got %d and %q", args, r.code, r.errOut)
		}
		path := filepath.Join("testdata", "help", name+".txt")
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, ".", path, []byte(r.out))
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if name == "ds4" { // the list of commands grows by itself
			for _, c := range commands {
				if !strings.Contains(r.out, "ds4 "+c.name+" ") {
					t.Errorf("ds4 --help: does not list %s", c.name)
				}
			}
			r.out, want = beforeCommands(r.out), []byte(beforeCommands(string(want)))
		}
		if r.out != string(want) {
			t.Errorf("%s: want %s (run with -update and read the difference), got\n%s", args, want, r.out)
		}
	}
}

func beforeCommands(s string) string {
	head, _, _ := strings.Cut(s, "\ncommands (")
	return head
}
