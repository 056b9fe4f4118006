package program

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Key is the API key of every server.
const Key = "sk-test-key"

// home is where the program lies and keeps its caches; it goes when the tests have run.
var home string

// Main runs a package's tests and removes what they left.
func Main(m *testing.M) int {
	var err error
	if home, err = os.MkdirTemp("", "ds4-tests-*"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := os.RemoveAll(home); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}

// built is the path of the program, which the first test that wants it compiles.
var built = sync.OnceValues(func() (string, error) {
	if home == "" {
		return "", errors.New("program: want TestMain to call program.Main")
	}
	root, err := os.Getwd()
	for ; err == nil; root = filepath.Dir(root) {
		if _, e := os.Stat(filepath.Join(root, "go.work")); e == nil {
			break
		}
		if root == filepath.Dir(root) {
			return "", errors.New("program: want a folder with go.work above the tests, got none")
		}
	}
	if err != nil {
		return "", err
	}
	path := filepath.Join(home, "ds4.exe") // a name that every system starts
	c := exec.Command("go", "build", "-o", path, "./cmd/ds4")
	c.Dir = root
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("program: go build: %w\n%s", err, out)
	}
	return path, nil
})

// command is the program with a home of its own: nothing that the user has set changes what it does.
func command(ctx context.Context, t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(ctx, path, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "DS4_") {
			c.Env = append(c.Env, v)
		}
	}
	c.Env = append(c.Env, "HOME="+home, "USERPROFILE="+home, "LocalAppData="+home, "XDG_CACHE_HOME="+home, "NO_COLOR=1", "DS4_API_KEY="+Key,
		"DS4_LOCK_FILE="+filepath.Join(home, "lock")) // other packages' tests may use a GPU as well
	c.Env = append(c.Env, env...)
	return c
}

// Run runs the program to its end, which must be a good one, and returns what it wrote to its standard output.
func Run(t *testing.T, args ...string) string {
	t.Helper()
	c := command(t.Context(), t, nil, args...)
	var complaint strings.Builder
	c.Stderr = &complaint
	out, err := c.Output()
	if err != nil {
		t.Fatalf("ds4 %s: %v\n%s", strings.Join(args, " "), err, complaint.String())
	}
	return string(out)
}
