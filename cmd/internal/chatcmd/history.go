package chatcmd

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// historySize is the number of messages that are remembered.
const historySize = 512

// history is what was typed, newest last, one entry a line in ~/.ds4_history with line breaks folded.
// It implements term.History.
type history struct {
	path    string
	entries []string
}

// openHistory reads the user's history. A home that has none, or cannot be had, is an empty history.
func openHistory() *history {
	home, err := os.UserHomeDir()
	if err != nil {
		return &history{}
	}
	h := &history{path: filepath.Join(home, ".ds4_history")}
	f, err := os.Open(h.path)
	if errors.Is(err, fs.ErrNotExist) {
		return h
	}
	if err != nil {
		return &history{} // one that cannot be read is left alone
	}
	defer func() { _ = f.Close() }()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		h.push(s.Text())
	}
	return h // with what could be read
}

func (h *history) push(line string) {
	n := len(h.entries)
	if strings.TrimSpace(line) == "" || n > 0 && h.entries[n-1] == line {
		return
	}
	h.entries = append(h.entries, line)
	if n := len(h.entries); n > historySize {
		h.entries = h.entries[n-historySize:]
	}
}

// remember adds a message and writes the file, for its owner alone. Nothing is lost that matters if that fails.
func (h *history) remember(text string) {
	h.push(fold(text))
	if h.path == "" || len(h.entries) == 0 {
		return
	}
	tmp := h.path + ".tmp"
	if os.WriteFile(tmp, []byte(strings.Join(h.entries, "\n")+"\n"), 0o600) == nil {
		_ = os.Rename(tmp, h.path)
	}
}

// Add implements term.History. The editor adds whole messages itself.
func (h *history) Add(string) {}

// Len implements term.History.
func (h *history) Len() int { return len(h.entries) }

// At implements term.History: 0 is the newest.
func (h *history) At(i int) string { return h.entries[len(h.entries)-1-i] }
