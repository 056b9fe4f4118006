package serve

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

// tools is a declaration in OpenAI's shape, two of them.
const tools = `"tools":[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}}}}},` +
	`{"type":"function","function":{"name":"get_time","parameters":{"type":"object","properties":{}}}}]`

const parisCall = "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"get_weather\">\n" +
	"<｜DSML｜parameter name=\"days\" string=\"false\">3</｜DSML｜parameter>\n<｜DSML｜parameter name=\"city\" string=\"true\">Paris</｜DSML｜parameter>\n" +
	"</｜DSML｜invoke>\n</｜DSML｜tool_calls>"

// TestRefused sends what must be refused, and looks for the field in the answer.
func TestRefused(t *testing.T) {
	b := newBench(t, pieces("x"), nil)
	const user = `"messages":[{"role":"user","content":"Hi"}]`
	for _, c := range []struct{ path, body, want string }{
		{"/v1/chat/completions", `{`, "want a key"},
		{"/v1/chat/completions", `[]`, "want an object"},
		{"/v1/chat/completions", `{}`, "messages: want an array"},
		{"/v1/chat/completions", `{` + user + `,"messages":[]}`, `comes twice`},
		{"/v1/chat/completions", `{` + user + `,"model":3}`, "model: want a string"},
		{"/v1/chat/completions", `{` + user + `,"temperature":-1}`, "temperature: want"},
		{"/v1/chat/completions", `{` + user + `,"top_logprobs":3}`, "top_logprobs: want logprobs"},
		{"/v1/chat/completions", `{` + user + `,"logprobs":true,"top_logprobs":21}`, "top_logprobs: want"},
		{"/v1/chat/completions", `{` + user + `,"n":9}`, "n: want"},
		{"/v1/chat/completions", `{` + user + `,"response_format":{"type":"yaml"}}`, "response_format.type"},
		{"/v1/chat/completions", `{` + user + `,"reasoning_effort":"huge"}`, "reasoning_effort: want"},
		{"/v1/chat/completions", `{` + user + `,"logit_bias":{"99999":1}}`, "logit_bias.99999"},
		{"/v1/chat/completions", `{` + user + `,"tool_choice":"required"}`, "tool_choice: want tools"},
		{"/v1/chat/completions", `{` + user + `,` + tools + `,"tool_choice":{"type":"function","function":{"name":"nope"}}}`, "tool_choice"},
		{"/v1/chat/completions", `{` + user + `,"tools":[{"type":"web_search"}]}`, "tools[0].type"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}`, "messages[0].content[0].type"},
		{"/v1/chat/completions", `{"messages":[{"role":"king","content":"x"}]}`, "messages[0].role"},
		{"/v1/chat/completions", `{"messages":[{"role":"user","content":"` + strings.Repeat("x ", 20000) + `"}]}`, "context_length_exceeded"},
		{"/v1/messages", `{"messages":[{"role":"user","content":[{"type":"image","source":{}}]}]}`, "messages[0].content[0].type"},
		{"/v1/messages", `{"messages":[{"role":"user","content":"x"}],"thinking":{"type":"sometimes"}}`, "thinking.type"},
		{"/v1/responses", `{"input":[{"type":"moon"}]}`, "input[0].type"},
		{"/v1/responses", `{"input":"x","previous_response_id":"resp_0"}`, "previous_response_not_found"},
		{"/v1/responses", `{"input":"x","text":{"format":{"type":"json_schema"}}}`, "text.format.schema"},
		{"/v1/completions", `{"prompt":"x","suffix":"y"}`, "suffix"},
		{"/v1/completions", `{"prompt":[1,99999]}`, "prompt[1]"},
		{"/tokenize", `{}`, "content: want"},
		{"/detokenize", `{"tokens":[-1]}`, "tokens[0]"},
	} {
		status, text := b.do(http.MethodPost, c.path, c.body)
		if status != http.StatusBadRequest || !strings.Contains(text, c.want) {
			t.Errorf("%s %s:\nwant 400 with %q, got %d %s", c.path, c.body[:min(len(c.body), 100)], c.want, status, text)
		}
		if anthropic := strings.HasPrefix(text, `{"type":"error"`); anthropic != (c.path == "/v1/messages") {
			t.Errorf("%s: error of the wrong shape: %s", c.path, text)
		}
	}
	if n := b.engine.Steps.Load(); n != 0 {
		t.Errorf("want no step for refused requests, got %d", n)
	}
}

// TestNull checks that null means absent, everywhere.
func TestNull(t *testing.T) {
	b := newBench(t, pieces("x</think>ok"), nil)
	b.post("/v1/chat/completions", `{"messages":[{"role":"user","content":"Hi","name":null,"tool_calls":null}],"model":null,"temperature":null,
		"max_tokens":null,"stream":null,"stop":null,"tools":null,"tool_choice":null,"n":null,"seed":null,"logit_bias":null,"thinking":null,
		"reasoning_effort":null,"response_format":null,"stream_options":null,"top_logprobs":null,"logprobs":null,"unknown_field":{"x":[1]}}`)
}

func TestKeysAndOrigins(t *testing.T) {
	b := newBench(t, pieces("x"), func(c *Config) {
		c.Keys = []Key{{"me", "secret-one"}, {"you", "secret-two"}}
		c.Origins = []string{"https://chat.example"}
	})
	for _, c := range []struct {
		name   string
		header []string
		want   int
	}{
		{"none", nil, 401},
		{"wrong", []string{"Authorization", "Bearer secret-three"}, 401},
		{"empty", []string{"Authorization", "Bearer "}, 401},
		{"bearer", []string{"Authorization", "Bearer secret-one"}, 200},
		{"x-api-key", []string{"X-Api-Key", "secret-two"}, 200},
		{"other origin", []string{"X-Api-Key", "secret-two", "Origin", "https://evil.example"}, 403},
		{"listed origin", []string{"X-Api-Key", "secret-two", "Origin", "https://chat.example"}, 200},
	} {
		if status, text := b.do(http.MethodGet, "/v1/models", "", c.header...); status != c.want {
			t.Errorf("%s: want %d, got %d %s", c.name, c.want, status, text)
		}
	}
	if status, _ := b.do(http.MethodGet, "/health", ""); status != 200 {
		t.Errorf("health without a key: got %d", status)
	}
	if status, _ := b.do(http.MethodOptions, "/v1/chat/completions", "", "Origin", "https://chat.example"); status != 204 {
		t.Errorf("preflight: got %d", status)
	}
	open := newBench(t, pieces("x"), nil)
	if status, _ := open.do(http.MethodGet, "/v1/models", "", "Host", "rebound.example"); status != 403 {
		t.Errorf("a name bound anew: want 403, got %d", status)
	}
}

func TestPaths(t *testing.T) {
	b := newBench(t, pieces("x"), nil)
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/", 404}, {"GET", "/v1/chat/completions", 405}, {"POST", "/v1/chat/completions/", 404}, {"GET", "/v1/models/deepseek-chat", 200},
		{"GET", "/v1/models/gpt", 404}, {"GET", "/props", 200}, {"GET", "/metrics", 200}, {"GET", "/v1/responses/resp_1", 404}, {"DELETE", "/v1/responses/resp_1", 404},
	} {
		if status, text := b.do(c.method, c.path, ""); status != c.want {
			t.Errorf("%s %s: want %d, got %d %s", c.method, c.path, c.want, status, text)
		}
	}
}

// TestDisconnect leaves a stream in its middle, and wants the engine to be idle soon.
func TestDisconnect(t *testing.T) {
	b := newBench(t, func(string) []string { return strings.Split(strings.Repeat("word ", 5000), " ") }, nil)
	b.engine.Pace = time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.http.URL+"/v1/chat/completions",
		strings.NewReader(`{"messages":[{"role":"user","content":"Hi"}],"stream":true,"thinking":false}`))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(resp.Body)
	for range 6 {
		lines.Scan()
	}
	cancel()
	_ = resp.Body.Close()
	for end := time.Now().Add(5 * time.Second); b.engine.Seqs.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the sequence of a client that left is still evaluated")
		}
	}
	if n := b.engine.Decoded.Load(); n > 4000 {
		t.Errorf("want it to stop early, got %d tokens", n)
	}
}
