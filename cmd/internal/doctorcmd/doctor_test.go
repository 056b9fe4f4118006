package doctorcmd

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/cmd/internal/machine"
)

// TestDiagnose looks at machines of several sizes, with and without a model.
func TestDiagnose(t *testing.T) {
	demo := filepath.Join(t.TempDir(), "demo.gguf")
	if err := engine.WriteDemo(demo); err != nil {
		t.Fatal(err)
	}
	const gib = 1 << 30
	gpu := []machine.GPU{{Name: "NVIDIA H100", API: "cuda", MemoryBytes: 80 * gib, FreeBytes: 79 * gib, Driver: "580.1"}}
	for _, c := range []struct {
		name, path  string
		total, free int64
		want        []string
		next        string
	}{
		{"no model, small", "nowhere.gguf", 16 * gib, 8 * gib, []string{"nowhere.gguf: not here", "very slowly"}, "ds4 demo"},
		{"no model, large", "nowhere.gguf", 192 * gib, 180 * gib, []string{"80.8 GiB of weights", "fits 192.0 GiB"}, "ds4 fetch q2"},
		{"no model, large and busy", "nowhere.gguf", 192 * gib, 10 * gib, []string{"only 10.0 GiB are free"}, "ds4 fetch q2"},
		{"no model, unknown", "nowhere.gguf", 0, 0, []string{"memory    unknown", "does not say"}, "ds4 fetch q2"},
		{"demo", demo, 16 * gib, 8 * gib, []string{"ds4 demo", "fits 16.0 GiB", "NVIDIA H100 (cuda, 80.0 GiB, driver 580.1)"}, "ds4 demo"},
		{"a folder", filepath.Dir(demo), 16 * gib, 8 * gib, []string{"want a model file, got a directory"}, "ds4 inspect --check " + filepath.Dir(demo)},
	} {
		cfg := engine.Defaults()
		cfg.Model = c.path
		r := diagnose(cfg, machine.Info{OS: "linux", Arch: "amd64", Cores: 4, MemoryBytes: c.total, FreeBytes: c.free, GPUs: gpu})
		var b bytes.Buffer
		if err := r.write(&b); err != nil {
			t.Fatal(err)
		}
		for _, w := range c.want {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%s: want %q, got\n%s", c.name, w, b.String())
			}
		}
		if r.Next[0] != c.next {
			t.Errorf("%s: want to type %q next, got %q", c.name, c.next, r.Next)
		}
	}
}
