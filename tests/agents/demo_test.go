//go:build unix

package agents

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/tests/internal/program"
)

const demo = "## Agents on the demo model"

// The section's blocks, in its order.
const (
	demoFile = iota
	demoOpencode
	demoPlugin
	demoOpencodeRun
	demoPi
	demoPiRun
)

// TestDemo has agents read a file with the demo model, as the documentation says it can be done.
func TestDemo(t *testing.T) {
	t.Run("opencode", func(t *testing.T) {
		d, s := demoDesk(t, "opencode")
		d.write(filepath.Join(d.home, ".config/opencode/opencode.json"), pasted(t, "## opencode", 0, s))
		d.write(filepath.Join(d.work, "opencode.json"), pasted(t, demo, demoOpencode, s))
		d.write(filepath.Join(d.work, "plain.js"), pasted(t, demo, demoPlugin, s))
		d.tells(pasted(t, demo, demoFile, s) + pasted(t, demo, demoOpencodeRun, s))
	})
	t.Run("pi", func(t *testing.T) {
		d, s := demoDesk(t, "pi")
		d.write(filepath.Join(d.home, ".pi/agent/models.json"), pasted(t, demo, demoPi, s))
		d.tells(pasted(t, demo, demoFile, s) + pasted(t, demo, demoPiRun, s))
	})
}

func demoDesk(t *testing.T, bin string) (*desk, server) {
	t.Helper()
	agent{bin: bin}.need(t)
	return newDesk(t), server{url: program.Serve(t, program.Options{}).URL, key: program.Key}
}

// tells wants the file's key among what the agent prints. It is not in the question: the agent read it.
func (d *desk) tells(lines string) {
	d.t.Helper()
	if out := d.run(lines); !strings.Contains(out, "The result is: "+key) {
		d.t.Errorf("want the key %s told, got\n%s", key, out)
	}
}
