package vectorscmd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const good = `# comment
case one 4096 2 prompts/one.txt
step 0 416461 1
top 416461 -0.5

step 1 0a 2
top 0a 0
top 20 -9999
end
case two 16384 1 p
step 0 ff 0
end
`

func TestParse(t *testing.T) {
	cases, err := Parse(strings.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) != 2 || cases[0].ID != "one" || cases[0].Ctx != 4096 || cases[0].Prompt != "prompts/one.txt" || len(cases[0].Steps) != 2 {
		t.Fatalf("got %+v", cases)
	}
	s := cases[0].Steps[1]
	if !bytes.Equal(s.Selected, []byte("\n")) || len(s.Tops) != 2 || s.Tops[1].Logprob != -9999 || string(cases[0].Steps[0].Selected) != "Ada" {
		t.Errorf("got %+v", cases[0].Steps)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"nonsense", "line 1: want case, step, top or end"},
		{"step 0 41 0", "line 1: step: out of place"},
		{"end", "out of place"},
		{"case a 1 1", "case: want 4 fields, got 3"},
		{"case a 0 1 p", `context: want 1 to 16777216, got "0"`},
		{"case a 1 17 p", `steps: want 1 to 16, got "17"`},
		{"case a 1 1 p\ncase b 1 1 p", "line 2: case: out of place"},
		{"case a 1 1 p\ntop 41 0", "want a step first"},
		{"case a 1 1 p\nstep 1 41 0", `step: want 0 to 0, got "1"`},
		{"case a 1 1 p\nstep 0 4 0", "token: want 1 to 128 bytes"},
		{"case a 1 1 p\nstep 0 " + strings.Repeat("41", 129) + " 0", "token: want 1 to 128 bytes"},
		{"case a 1 1 p\nstep 0 41 33", `tops: want 0 to 32, got "33"`},
		{"case a 1 1 p\nstep 0 41 0\ntop 41 0", "top: want 0, got more"},
		{"case a 1 1 p\nstep 0 41 1\ntop 41 NaN", "log-probability"},
		{"case a 1 1 p\nstep 0 41 1\nend", "step 0: want 1 tops, got 0"},
		{"case a 1 2 p\nstep 0 41 0\nend", "case a: want 2 steps, got 1"},
		{"case a 1 1 p\nstep 0 41 0\nstep 1 41 0", "step: want 1, got more"},
		{"case a 1 1 p\nstep 0 41 0", "case a: want end, got the end of the file"},
	} {
		if _, err := Parse(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: want %q, got %v", c.text, c.want, err)
		}
	}
}

// shared is the folder of golden data, or a skip.
func shared(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("DS4_SHARED"); dir != "" {
		return filepath.Join(dir, "data")
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			t.Skip("no go.work above: no shared data")
		}
		dir = filepath.Dir(dir)
	}
	data := filepath.Join(dir, "..", "shared", "data")
	if _, err := os.Stat(data); err != nil {
		t.Skipf("no golden data: %v", err)
	}
	return data
}

// TestOfficial reads the official file and finds every prompt of it.
func TestOfficial(t *testing.T) {
	path := filepath.Join(shared(t), "official-vectors", "official.vec")
	o := &options{all: true}
	cases, err := o.read(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) != 5 {
		t.Errorf("want 5 cases, got %d", len(cases))
	}
	for _, c := range cases {
		if p, err := o.prompt(path, c); err != nil || p == "" {
			t.Errorf("case %s: want a prompt, got %q, %v", c.ID, p, err)
		}
		if len(c.Steps) < 1 || len(c.Steps) > 4 || len(c.Steps[0].Tops) != 1 {
			t.Errorf("case %s: want 1 to 4 steps of one top, got %+v", c.ID, c.Steps)
		}
	}
	o.all = false
	if cases, err := o.read(path); err != nil || len(cases) != 4 {
		t.Errorf("want %s left out, got %d cases, %v", skipped, len(cases), err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Fuzz(func(t *testing.T, data []byte) {
		cases, err := Parse(bytes.NewReader(data))
		if err != nil {
			return
		}
		for _, c := range cases {
			if c.Ctx < 1 || len(c.Steps) < 1 || len(c.Steps) > maxSteps {
				t.Fatalf("accepted %+v", c)
			}
			for _, s := range c.Steps {
				if len(s.Selected) < 1 || len(s.Selected) > maxTokenBytes || len(s.Tops) > maxTops {
					t.Fatalf("accepted %+v", s)
				}
			}
		}
	})
}
