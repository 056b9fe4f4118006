//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// terminal is the program at a terminal: what it wrote so far, and how to type.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	tty  *os.File
	mu   sync.Mutex
	text bytes.Buffer
	read int // of text, by expect
}

func atTerminal(t *testing.T, dir string, env []string, args ...string) *terminal {
	t.Helper()
	x := &terminal{t: t, cmd: exec.CommandContext(t.Context(), os.Args[0], args...)}
	x.cmd.Dir, x.cmd.Env = dir, env
	tty, err := pty.StartWithSize(x.cmd, &pty.Winsize{Rows: 40, Cols: 120})
	if err != nil {
		t.Skipf("no pseudo-terminal: %v", err)
	}
	x.tty = tty
	t.Cleanup(func() { _ = tty.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := tty.Read(buf)
			x.mu.Lock()
			x.text.Write(buf[:n])
			x.mu.Unlock()
			if err != nil {
				return // the program is gone
			}
		}
	}()
	return x
}

func (x *terminal) typed(s string) {
	x.t.Helper()
	if _, err := x.tty.WriteString(s); err != nil {
		x.t.Fatal(err)
	}
}

// expect waits until the text was written after what the last expect found, and returns everything up to its end.
func (x *terminal) expect(want string) string {
	x.t.Helper()
	for range 6000 {
		x.mu.Lock()
		all := x.text.String()
		x.mu.Unlock()
		if i := strings.Index(all[x.read:], want); i >= 0 {
			got := all[x.read : x.read+i+len(want)]
			x.read += i + len(want)
			return got
		}
		time.Sleep(10 * time.Millisecond)
	}
	x.t.Fatalf("want %q, got %q", want, x.text.String()[x.read:])
	return ""
}

func (x *terminal) exit() int {
	x.t.Helper()
	_ = x.cmd.Wait() // the code says it all
	return x.cmd.ProcessState.ExitCode()
}

func TestChat(t *testing.T) {
	dir, env := t.TempDir(), home(t)
	write(t, dir, "note.txt", []byte("the winter\nand the summer\n"))
	x := atTerminal(t, dir, env, "--demo", "-sys", "", "-n", "6", "--seed", "5")
	x.expect("this is the demo model")
	x.expect("ds4> ")
	x.typed("the river\r")
	x.expect("ds4: prefill: ")
	x.expect("ds4> ")

	x.typed("/help\r")
	x.expect("/think-max")
	x.typed("/nosuch\r")
	x.expect("unknown command /nosuch")
	x.typed("/ctx\r")
	x.expect("want /ctx N")
	x.typed("/read nowhere\r")
	x.expect("no such file")
	x.typed("/read note.txt\r")
	x.expect("generation: ")
	x.typed("/think\r")
	x.expect("thinking: default")
	x.typed("/think-max\r")
	x.expect("wants a context of 393216")
	x.typed("/nothink\r")
	x.expect("thinking: none")
	x.typed("/stats\r")
	x.expect("turns       2,")
	x.typed("/ctx 400\r")
	x.expect("context: 400 tokens")
	x.typed("on\r")
	x.expect("generation: ")

	// a paste is one message, whatever lines it has
	x.expect("ds4> ")
	x.typed("\x1b[200~one\ntwo\r\n\tthree\x1b[201~\r")
	x.expect("one⏎two⏎⇥three")
	x.expect("generation: ")
	x.expect("ds4> ")
	x.typed("first \\\r")
	x.expect("...> ")
	x.typed("second\r")
	x.expect("generation: ")
	x.typed("/save talk.json\r")
	x.expect("saved 5 turns")
	x.typed("/load talk.json\r")
	x.expect("loaded 5 turns")
	x.typed("/load note.txt\r")
	x.expect("want a conversation saved by /save")

	x.expect("ds4> ")
	x.typed("half a line\x03")
	x.expect("Ctrl+D or /quit leaves")
	x.expect("ds4> ")
	x.typed("\x04")
	if code := x.exit(); code != 0 {
		t.Errorf("end of file: want code 0, got %d", code)
	}
	talk, err := os.ReadFile(filepath.Join(dir, "talk.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"user": "one\ntwo\n\tthree"`, `"user": "first \nsecond"`, `"user": "the winter\nand the summer\n"`} {
		if !bytes.Contains(talk, []byte(want)) {
			t.Errorf("saved conversation: want %s, got\n%s", want, talk)
		}
	}
	var file string
	for _, e := range env {
		if d, ok := strings.CutPrefix(e, "HOME="); ok {
			file = filepath.Join(d, ".ds4_history")
		}
	}
	if h, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(h), "the river\n/help\n") || !strings.Contains(string(h), "one⏎two⏎⇥three\n") {
		t.Errorf("history: got %q, %v", h, err)
	}
}

// TestInterrupt: Ctrl+C stops an answer and not the program, and takes back a message that has none yet. At this temperature
// hardly anything is the end of an answer.
func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "long.txt", []byte(strings.Repeat("the river and the garden and the bridge ", 150)))
	x := atTerminal(t, dir, home(t), "--demo", "-sys", "", "-n", "5000", "--temp", "100", "--seed", "5", "-c", "20000")
	x.expect("ds4> ")
	x.typed("/read long.txt\r")
	x.expect("processing ")
	x.typed("\x03")
	x.expect("interrupted; the message was taken back")
	x.expect("ds4> ")
	x.typed("/stats\r")
	x.expect("turns       0,")
	x.typed("/nosuch\r")
	x.expect("ds4> ")
	x.typed("the stone\r")
	x.expect("(100%)")
	x.expect(" ") // of the answer
	time.Sleep(300 * time.Millisecond)
	x.typed("\x03")
	x.expect("interrupted after ")
	x.expect("ds4> ")
	x.typed("/stats\r")
	x.expect("turns       1,")
	x.typed("/quit\r")
	if code := x.exit(); code != 0 {
		t.Errorf("/quit: want code 0, got %d", code)
	}
}

// TestReasoning: at a terminal it is grey, its tags are hidden.
func TestReasoning(t *testing.T) {
	var env []string
	for _, e := range home(t) {
		if !strings.HasPrefix(e, "NO_COLOR=") && !strings.HasPrefix(e, "TERM=") {
			env = append(env, e)
		}
	}
	x := atTerminal(t, t.TempDir(), append(env, "TERM=xterm"), "--demo", "--think", "-n", "3", "-p", "the river")
	got := x.expect("ds4: prefill")
	if !strings.Contains(got, "\x1b[90m") || !strings.Contains(got, "\x1b[0m") || strings.Contains(got, "think>") {
		t.Errorf("want grey and no tags, got %q", got)
	}
	if code := x.exit(); code != 0 {
		t.Errorf("want code 0, got %d", code)
	}
	x = atTerminal(t, t.TempDir(), append(env, "TERM=xterm", "NO_COLOR=1"), "--demo", "--think", "-n", "3", "-p", "the river")
	if got := x.expect("ds4: prefill"); strings.Contains(got, "\x1b[") {
		t.Errorf("NO_COLOR: want no colours, got %q", got)
	}
	if code := x.exit(); code != 0 {
		t.Errorf("want code 0, got %d", code)
	}
}
