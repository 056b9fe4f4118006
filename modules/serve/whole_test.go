package serve

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ds4-go/ds4/modules/serve/sched"
)

// TestBlankLines: a client that waits for a whole answer hears of it when it runs, and what comes is JSON all the same. While
// the request waits for its turn nothing is sent: it may still be refused.
func TestBlankLines(t *testing.T) {
	for _, path := range []string{"/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/completions"} {
		t.Run(path, func(t *testing.T) {
			b := newBench(t, pieces("Hello ", "there."), func(c *Config) { c.BlankLines, c.KeepAlive = true, time.Millisecond })
			b.engine.Fail = func([]sched.Job) error { time.Sleep(10 * time.Millisecond); return nil }
			body := `{"messages":[{"role":"user","content":"x"}],"thinking":false,"max_tokens":20}`
			switch path {
			case "/v1/responses":
				body = `{"input":"x","reasoning":{"effort":"none"}}`
			case "/v1/completions":
				body = `{"prompt":"x","max_tokens":20}`
			}
			status, text := b.do(http.MethodPost, path, body)
			if status != 200 || !strings.HasPrefix(text, "\n{") && !strings.HasPrefix(text, "\n\n") || !strings.Contains(text, "Hello there.") {
				t.Errorf("want blank lines and an answer, got %d %q", status, text)
			}
			parsed(t, text)
		})
	}
}

// TestBlankLinesStatus: the status stands when the first line is sent: before, a request may fail with its own, and after,
// the error is the body.
func TestBlankLinesStatus(t *testing.T) {
	b := newBench(t, pieces("Hello"), func(c *Config) { c.BlankLines, c.KeepAlive = true, time.Millisecond })
	hold, fail := make(chan struct{}), errors.New("planted")
	steps := 0
	b.engine.Fail = func([]sched.Job) error {
		if steps++; steps > 1 {
			return fail
		}
		<-hold
		return nil
	}
	ask := `{"messages":[{"role":"user","content":"x"}],"thinking":false,"max_tokens":20}`
	resp, err := http.Post(b.http.URL+"/v1/chat/completions", "application/json", strings.NewReader(ask))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	r := bufio.NewReader(resp.Body) // the head came while the prompt is evaluated
	if line, err := r.ReadString('\n'); line != "\n" || err != nil || resp.StatusCode != 200 {
		t.Fatalf("want a blank line and status 200, got %q and %d: %v", line, resp.StatusCode, err)
	}
	close(hold)
	rest, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := at(parsed(t, string(rest)), "error.type"); got != "server_error" {
		t.Errorf("want a server error in the body, got %s", rest)
	}
}
