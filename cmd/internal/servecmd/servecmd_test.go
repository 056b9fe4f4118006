package servecmd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// start runs the command, and returns its address, and a function that stops it and returns its code and what it logged.
func start(t *testing.T, args ...string) (url string, stop func() (int, string)) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	code := make(chan int, 1)
	go func() { code <- Main(ctx, args, log, log) }()
	read := func() string {
		b, err := os.ReadFile(log.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	stop = func() (int, string) {
		cancel()
		defer func() { _ = log.Close() }()
		return <-code, read()
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if m := regexp.MustCompile(`address\s+(\S+)\n`).FindStringSubmatch(read()); m != nil {
			return m[1], stop
		}
		if len(code) > 0 {
			break
		}
	}
	return "", stop
}

// TestServe serves the demo model, stops in the middle of a stream, and wants the stream to end as it should.
func TestServe(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	url, stop := start(t, "--demo", "--port", "0", "--grace", "600", "--ctx", "4096", "--kv-disk-dir", dir, "--kv-cache-min-tokens", "8", "--trace", filepath.Join(dir, "..", "trace"))
	if url == "" {
		code, log := stop()
		t.Fatalf("did not start: %d %s", code, log)
	}
	r, err := http.Post(url+"/v1/chat/completions", "application/json",
		strings.NewReader(`{"messages":[{"role":"user","content":"Tell me of the sea and the sky"}],"stream":true,"max_tokens":16,"seed":3}`))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	// The head and the role come at once, while the request may still wait, and what waits is turned away when the server
	// stops. What runs has said something.
	body := bufio.NewReader(r.Body)
	for said := false; !said; {
		line, err := body.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		said = strings.Contains(line, `content":"`)
	}
	done := make(chan string, 1)
	go func() {
		rest, err := io.ReadAll(body)
		done <- fmt.Sprint(string(rest), err)
	}()
	code, log := stop()
	if rest := <-done; !strings.HasSuffix(rest, "data: [DONE]\n\n<nil>") || !strings.Contains(rest, `"finish_reason":"`) {
		t.Errorf("the stream did not end as it should: %q", rest[max(0, len(rest)-300):])
	}
	if code != 0 || !strings.Contains(log, "stopped") {
		t.Errorf("want code 0, got %d: %s", code, log)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.end"))
	if err != nil || len(files) == 0 {
		t.Errorf("want a checkpoint stored at the end, got %v %v; %s", files, err, log)
	}
}

func TestRefusedFlags(t *testing.T) {
	t.Setenv("DS4_API_KEY", "")
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"--port 99999", 2, "--port: want"},
		{"--host 0.0.0.0 --demo", 1, "want --api-key"},
		{"--tls-cert x", 2, "want both or none"},
		{"--kv-format v9", 2, "want blocks or v1"},
		{"--kv-cache-cold-max-tokens 5", 2, "--kv-cache-cold-max-tokens: want"},
		{"--api-key short --demo", 1, "at least 8"},
		{"more", 2, "want flags only"},
	} {
		_, stop := start(t, strings.Fields(c.args)...)
		if code, log := stop(); code != c.code || !strings.Contains(log, c.want) {
			t.Errorf("%s: want %d with %q, got %d %s", c.args, c.code, c.want, code, log)
		}
	}
}
