package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ds4-go/ds4/modules/serve/sched"
	"github.com/ds4-go/ds4/modules/serve/servetest"
)

// bench is a server with a scripted engine.
type bench struct {
	testing.TB
	engine *servetest.Engine
	server *Server
	http   *httptest.Server
}

func newBench(t testing.TB, script func(prompt string) []string, change func(*Config)) *bench {
	t.Helper()
	tok := servetest.Tokenizer()
	e := servetest.NewEngine(tok, servetest.Limits())
	e.Script = script
	m := NewMetrics()
	sc := sched.New(sched.Config{Engine: e, Metrics: m, Log: zerolog.Nop()})
	c := Config{Scheduler: sc, Tokenizer: tok, Ctx: servetest.Limits().CtxTokens, Metrics: m, Model: "test", Log: zerolog.Nop()}
	if change != nil {
		change(&c)
	}
	m.Watch(sc, nil)
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t, e, s, httptest.NewServer(s)}
	t.Cleanup(func() {
		b.http.Close()
		if err := sc.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if n := e.Seqs.Load(); n != 0 {
			t.Errorf("%d sequences were not freed", n)
		}
	})
	return b
}

func pieces(p ...string) func(string) []string { return func(string) []string { return p } }

// do sends a request and returns status and body.
func (b *bench) do(method, path, body string, header ...string) (int, string) {
	b.Helper()
	r, err := http.NewRequest(method, b.http.URL+path, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if h := r.Header.Get("Host"); h != "" {
		r.Host = h
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// post sends a request that must succeed, and parses the answer.
func (b *bench) post(path, body string) map[string]any {
	b.Helper()
	status, text := b.do(http.MethodPost, path, body)
	if status != http.StatusOK {
		b.Fatalf("%s: %d %s", path, status, text)
	}
	return parsed(b.TB, text)
}

func parsed(t testing.TB, text string) map[string]any {
	t.Helper()
	var v map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// at walks into a JSON value: "choices.0.message.content".
func at(v any, path string) any {
	for _, key := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[key]
		case []any:
			i := int(key[0] - '0')
			if i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	if n, ok := v.(json.Number); ok {
		return n.String()
	}
	return v
}

// events parses a stream: names and data.
func (b *bench) events(path, body string) (names []string, data []map[string]any, text string) {
	b.Helper()
	status, text := b.do(http.MethodPost, path, body)
	if status != http.StatusOK {
		b.Fatalf("%s: %d %s", path, status, text)
	}
	for _, frame := range strings.Split(strings.TrimSuffix(text, "\n\n"), "\n\n") {
		name, payload := "", ""
		for _, line := range strings.Split(frame, "\n") {
			if v, ok := strings.CutPrefix(line, "event: "); ok {
				name = v
			} else if v, ok := strings.CutPrefix(line, "data: "); ok {
				payload = v
			} else if !strings.HasPrefix(line, ":") {
				b.Fatalf("stray line %q in the stream", line)
			}
		}
		if payload == "" || payload == "[DONE]" {
			names, data = append(names, payload), append(data, nil)
			continue
		}
		names, data = append(names, name), append(data, parsed(b.TB, payload))
	}
	return names, data, text
}

func TestChat(t *testing.T) {
	b := newBench(t, pieces("I thi", "nk.", "</think>", "Hello ", "there!"), nil)
	v := b.post("/v1/chat/completions", `{"messages":[{"role":"user","content":"Hi"}]}`)
	for path, want := range map[string]any{"choices.0.message.content": "Hello there!", "choices.0.message.reasoning_content": "I think.",
		"choices.0.finish_reason": "stop", "object": "chat.completion", "model": "deepseek-v4-flash"} {
		if got := at(v, path); got != want {
			t.Errorf("%s: want %v, got %v", path, want, got)
		}
	}
	_, data, text := b.events("/v1/chat/completions", `{"messages":[{"role":"user","content":"Hi"}],"stream":true,"stream_options":{"include_usage":true}}`)
	if !strings.HasSuffix(text, "data: [DONE]\n\n") {
		t.Errorf("want [DONE] at the end, got %q", text[max(0, len(text)-40):])
	}
	var content, reasoning bytes.Buffer
	for _, d := range data {
		if s, ok := at(d, "choices.0.delta.content").(string); ok {
			content.WriteString(s)
		}
		if s, ok := at(d, "choices.0.delta.reasoning_content").(string); ok {
			reasoning.WriteString(s)
		}
	}
	if content.String() != "Hello there!" || reasoning.String() != "I think." {
		t.Errorf("stream: got %q and %q", content.String(), reasoning.String())
	}
	if u := at(data[len(data)-2], "usage.completion_tokens_details.reasoning_tokens"); u == nil || u == "0" {
		t.Errorf("reasoning tokens: got %v", u)
	}
}
