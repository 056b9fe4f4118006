package gpulock

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const childPath = "GPULOCK_TEST_PATH"

// TestMain is the other process of TestTwoProcesses as well: it takes the lock, says so, and waits.
func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		_, err := Take(path)
		fmt.Println(err)
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// holder starts a process that takes the lock, and returns what it says.
func holder(t *testing.T, path string) (*exec.Cmd, string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe)
	c.Env = append(os.Environ(), childPath+"="+path)
	if _, err := c.StdinPipe(); err != nil { // it waits for its end
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return c, strings.TrimSpace(line)
}

func TestTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	other, said := holder(t, path)
	if said != "<nil>" {
		t.Fatalf("want the lock free, got %s", said)
	}
	want := fmt.Sprintf("in use by process %d, ", other.Process.Pid)
	if _, err := Take(path); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
		t.Errorf("want %q and the file, got %v", want, err)
	}
	if l, err := Take(filepath.Join(t.TempDir(), "another")); err != nil || l.Close() != nil {
		t.Errorf("another file: %v", err)
	}
	_ = other.Process.Kill() // a process that can clean nothing up
	_ = other.Wait()
	l, err := Take(path)
	if err != nil {
		t.Fatalf("after its holder was killed: %v", err)
	}
	again, err := Take(path)
	if err != nil {
		t.Fatalf("in the same process: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, said := holder(t, path); !strings.Contains(said, fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("closed once of twice: want this process as the holder, got %s", said)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if _, said := holder(t, path); said != "<nil>" {
		t.Errorf("closed twice: want it free, got %s", said)
	}
}

// TestNoFile gives what must not be locked, let alone written to.
func TestNoFile(t *testing.T) {
	dir := t.TempDir()
	precious, link := filepath.Join(dir, "precious"), filepath.Join(dir, "link")
	if err := os.WriteFile(precious, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	paths := []string{dir, filepath.Join(dir, "none", "lock")}
	if err := os.Symlink(precious, link); err != nil {
		t.Logf("a link is not tried: %v", err) // Windows, without the right to make one
	} else {
		paths = append(paths, link)
	}
	for _, path := range paths {
		if l, err := Take(path); err == nil {
			t.Errorf("%s: want an error, got a lock (%v)", path, l.Close())
		}
	}
	if b, err := os.ReadFile(precious); err != nil || string(b) != "text" {
		t.Errorf("want the file behind the link as it was, got %q, %v", b, err)
	}
}
