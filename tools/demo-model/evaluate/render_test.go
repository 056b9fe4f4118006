package main

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/ds4-go/ds4/modules/model/chat"
)

// TestRender compares data.py's conversations with what the renderer of prompts makes of the same messages, byte by byte:
// the model was trained on what it is shown.
func TestRender(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 to make conversations")
	}
	cmd := exec.Command(python, "-B", "../data.py", "--seed", "3", "--scale", "0.5")
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	list, err := readConversations(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	sets := map[string]int{}
	for i, c := range list {
		segments, err := c.render(len(c.Messages), true)
		if err != nil {
			t.Fatalf("conversation %d: %v", i, err)
		}
		sets[c.Set]++
		if got := chat.Text(segments); got != c.Text {
			at := 0
			for at < min(len(got), len(c.Text)) && got[at] == c.Text[at] {
				at++
			}
			t.Fatalf("%s conversation %d: byte %d: want %.60q, got %.60q", c.Set, i, at, c.Text[at:], got[at:])
		}
	}
	for _, set := range []string{"chat", "tools", "sums", "keys"} {
		if sets[set] == 0 {
			t.Errorf("want conversations of the set %q, got none", set)
		}
	}
	t.Logf("%d conversations, %d bytes of JSON", len(list), len(text))
}
