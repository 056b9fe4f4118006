//go:build unix

package agents

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ds4-go/ds4/tests/internal/program"
)

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }

const (
	key  = "BK-4417"
	file = "notes.txt"
	task = "Read the file " + file + " and tell me the key in it."
)

// agent is a program and what docs/clients.md says of it.
type agent struct {
	bin     string
	heading string
	place   string // of the section's first block, below the home; "": it is for the shell, and ends in the program's name
	run     string // how to have it do the task and end; that it may read needs no question
}

var all = []agent{
	{bin: "opencode", heading: "## opencode", place: ".config/opencode/opencode.json", run: `opencode run "$TASK"`},
	{bin: "pi", heading: "## Pi", place: ".pi/agent/models.json", run: `pi -p --model ds4/deepseek-v4-flash "$TASK"`},
	{bin: "codex", heading: "## Codex", place: ".codex/config.toml", run: `codex exec --strict-config --skip-git-repo-check "$TASK"`},
	{bin: "claude", heading: "## Claude Code", run: `claude -p --allowedTools Read -- "$TASK"`},
	{bin: "cn", heading: "## Continue", place: ".continue/config.yaml", run: `cn -p --config ~/.continue/config.yaml "$TASK"`},
}

// desk is a home and a folder to work in, both new.
type desk struct {
	t          *testing.T
	home, work string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	return &desk{t: t, home: t.TempDir(), work: t.TempDir()}
}

func (d *desk) write(name, text string) {
	d.t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// run has the shell run lines, with nothing of the user's own settings, and returns what they print.
func (d *desk) run(lines string) string {
	d.t.Helper()
	bin, err := filepath.Abs(filepath.Join("node_modules", ".bin"))
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(d.t.Context(), 8*time.Minute) // opencode fetches packages at its first start
	defer cancel()
	c := exec.CommandContext(ctx, "sh", "-c", lines)
	c.Dir, c.WaitDelay = d.work, 5*time.Second
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // agents leave children behind
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.Env = []string{"HOME=" + d.home, "PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH"), "TASK=" + task, "NO_COLOR=1", "TERM=dumb",
		"OPENCODE_DISABLE_AUTOUPDATE=1", "OPENCODE_DISABLE_MODELS_FETCH=1", "PI_OFFLINE=1", "CONTINUE_TELEMETRY_ENABLED=0"}
	out, err := c.CombinedOutput()
	_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) // an error says that all have ended
	if err != nil {
		d.t.Fatalf("%s: %v\n%s", lines, err, out)
	}
	return string(out)
}

func (a agent) need(t *testing.T) {
	t.Helper()
	if os.Getenv("DS4_AGENTS") == "" {
		t.Skip("DS4_AGENTS is not set: \"go tool task test:agents\" installs agents, which go to the network, and runs this test")
	}
	if _, err := os.Stat(filepath.Join("node_modules", ".bin", a.bin)); err != nil {
		t.Skipf("tests/agents/node_modules has no %s: \"npm install\" there installs it", a.bin)
	}
}

// TestScripted has each agent do the task with its own prompts and tools.
func TestScripted(t *testing.T) {
	for _, a := range all {
		t.Run(a.bin, func(t *testing.T) {
			a.need(t)
			d := newDesk(t)
			d.write(filepath.Join(d.work, file), "Some notes.\nThe key is "+key+".\n")
			r := &reader{dir: d.work, file: file}
			config := pasted(t, a.heading, 0, scripted(t, r))
			// As the documentation says of it: as much as the server has. A token here is a byte.
			config = strings.NewReplacer(`"context": 32768`, `"context": 524288`, `_window = 32768`, `_window = 524288`).Replace(config)
			lines := a.run
			if a.place != "" {
				d.write(filepath.Join(d.home, a.place), config)
			} else {
				lines = strings.TrimSuffix(config, a.bin+"\n") + a.run
			}
			out := d.run(lines)
			if !r.seen(key) {
				t.Errorf("the file's text did not come back as a tool's result")
			}
			if !strings.Contains(out, "The key is "+key+".") {
				t.Errorf("want the key %s told, got\n%s", key, out)
			}
			t.Logf("longest prompt: %d bytes", r.longest()) // a client's declared context is to hold it
		})
	}
}
