//go:build unix

package agents

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// section is what docs/clients.md has between fences under a heading, block by block.
func section(t *testing.T, heading string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "clients.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("docs/clients.md: want a heading %q, got none", heading)
	}
	var blocks []string
	in := false
	for line := range strings.SplitSeq(rest, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			if in = !in; in {
				blocks = append(blocks, "")
			}
		case in:
			blocks[len(blocks)-1] += line + "\n"
		case strings.HasPrefix(line, "#"):
			return blocks
		}
	}
	return blocks
}

// pasted is a block as a user pastes it, but for the server's address and key.
func pasted(t *testing.T, heading string, block int, s server) string {
	t.Helper()
	blocks := section(t, heading)
	if block >= len(blocks) {
		t.Fatalf("docs/clients.md: %s: want at least %d blocks, got %d", heading, block+1, len(blocks))
	}
	text := blocks[block]
	if s.key != "" {
		for _, quoted := range []string{`"none"`, "=none", ": none"} {
			text = strings.ReplaceAll(text, quoted, strings.Replace(quoted, "none", s.key, 1))
		}
	}
	return strings.ReplaceAll(text, "http://127.0.0.1:8000", s.url)
}
