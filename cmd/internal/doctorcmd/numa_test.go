package doctorcmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNuma counts the folders of nodes.
func TestNuma(t *testing.T) {
	dir := t.TempDir()
	pattern := filepath.Join(dir, "node[0-9]*")
	for i, name := range []string{"node0", "possible", "node1", "node12"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if got := numa(pattern); (got != "") != (i >= 2) {
			t.Errorf("after %s: want advice from two nodes on, got %q", name, got)
		}
	}
	if got := numa(pattern); !strings.HasPrefix(got, "3 memory nodes") {
		t.Errorf("want 3 nodes, got %q", got)
	}
}
