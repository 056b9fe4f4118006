package engine

import (
	"strings"
	"testing"
)

func TestLarger(t *testing.T) {
	for _, c := range []struct {
		file, memory int64
		want         string
	}{
		{81 << 30, 64 << 30, "81.0 GiB and this machine 64.0 GiB"},
		{81 << 30, 128 << 30, ""},
		{81 << 30, 0, ""},
	} {
		if got := larger(c.file, c.memory); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%d bytes in %d: want %q, got %q", c.file, c.memory, c.want, got)
		}
	}
}

// TestKeep opens the demo model locked in memory, and on no device where that means nothing.
func TestKeep(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	c := Defaults()
	c.Demo, c.Backend, c.Lock, c.Ctx = true, "cpu", true, 64
	m, err := Open(t.Context(), c, Hooks{})
	if err != nil {
		if strings.Contains(err.Error(), "ulimit -l") { // less than the file may be locked here
			t.Skip(err)
		}
		t.Fatal(err)
	}
	m.Backend = "cuda"
	if err := m.keep(c, Hooks{}); err == nil || !strings.Contains(err.Error(), "want --cpu") {
		t.Errorf("want an error that names --cpu, got %v", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
