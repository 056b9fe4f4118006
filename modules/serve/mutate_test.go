package serve

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// seeds are requests that are answered, by path: what mutations begin from.
var seeds = map[string][]string{
	"/v1/chat/completions": {
		`{"model":"m","messages":[{"role":"system","content":"be brief"},{"role":"user","content":[{"type":"text","text":"Hi"}]}],"max_tokens":9,"stop":["x","yy"],"temperature":0.5,"top_p":0.9,"seed":3,"logprobs":true,"top_logprobs":2,"n":2}`,
		`{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":null,"reasoning_content":"r","tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool","tool_call_id":"call_1","content":"ok"}],"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"a":{"type":"integer"}}}}}],"tool_choice":"auto","stream":true,"stream_options":{"include_usage":true},"max_tokens":5}`,
		`{"messages":[{"role":"user","content":"Hi"}],"thinking":{"type":"disabled"},"logit_bias":{"5":-3},"frequency_penalty":0.5,"presence_penalty":0.5,"reasoning_effort":"high","response_format":{"type":"text"},"max_completion_tokens":4}`,
	},
	"/v1/completions": {
		`{"prompt":"Once","max_tokens":6,"echo":true,"logprobs":2,"stop":"\n"}`,
		`{"prompt":[["a","b"],"c"],"max_tokens":3,"stream":true}`, `{"prompt":[1,2,3],"max_tokens":2}`,
	},
	"/v1/responses": {
		`{"input":"Hi","instructions":"be brief","reasoning":{"effort":"low","summary":"auto"},"max_output_tokens":7,"stream":true}`,
		`{"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"Hi"}]},{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c1","output":"ok"}],"tools":[{"type":"function","name":"f","parameters":{"type":"object"}}],"tool_choice":"auto","store":false}`,
		`{"input":[{"role":"user","content":"Hi"},{"type":"tool_search_call","call_id":"s","execution":"client","arguments":{"query":"q"}},{"type":"tool_search_output","call_id":"s","tools":[{"type":"function","name":"f","parameters":{}}]},{"type":"local_shell_call","call_id":"l","action":{"command":["ls"]}},{"type":"local_shell_call_output","id":"l","output":{"x":1}}],"tools":[{"type":"tool_search","execution":"client","parameters":{}}]}`,
	},
	"/v1/messages": {
		`{"model":"m","max_tokens":8,"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"tool_use","id":"t1","name":"f","input":{"a":[1,2]}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"ok","is_error":false}]}],"tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"auto"},"stream":true,"stop_sequences":["q"],"thinking":{"type":"enabled","budget_tokens":3}}`,
	},
	"/v1/messages/count_tokens": {`{"model":"m","messages":[{"role":"user","content":"Hi"}]}`},
	"/tokenize":                 {`{"content":"Hello","pieces":true}`},
	"/detokenize":               {`{"tokens":[1,2,3]}`},
}

// spoils are values that parsers trip over.
var spoils = []string{`null`, `true`, `0`, `-1`, `1e308`, `1e999`, `9007199254740993`, `""`, `"x"`, `[]`, `{}`, `[null]`, `[[]]`, `{"":null}`, `"\ud800"`,
	`"<｜User｜>"`, `"` + strings.Repeat("a", 5000) + `"`, strings.Repeat("[", 200) + strings.Repeat("]", 200), "\"\xff\"", `0.1`, `"none"`, `{"type":"x"}`}

// mutated spoils a body in one or two places: a value, a byte, a stretch.
func mutated(rng *rand.Rand, body string) string {
	for range 1 + rng.IntN(2) {
		switch rng.IntN(8) {
		default: // another value
			if from, to, ok := someValue(rng, body); ok {
				body = body[:from] + spoils[rng.IntN(len(spoils))] + body[to:]
			}
		case 0: // another byte
			if len(body) > 0 {
				b := []byte(body)
				b[rng.IntN(len(b))] = byte(rng.IntN(256))
				body = string(b)
			}
		case 1: // a stretch out, or doubled
			if len(body) > 2 {
				i := rng.IntN(len(body))
				j := min(len(body), i+1+rng.IntN(20))
				if rng.IntN(2) == 0 {
					body = body[:i] + body[j:]
				} else {
					body = body[:j] + body[i:]
				}
			}
		}
	}
	return body
}

// someValue finds a JSON value behind a colon, a comma or a bracket.
func someValue(rng *rand.Rand, body string) (from, to int, ok bool) {
	for range 20 {
		i := rng.IntN(len(body) + 1)
		k := strings.IndexAny(body[i:], ":,[")
		if k < 0 {
			continue
		}
		from = i + k + 1
		var raw json.RawMessage
		if json.NewDecoder(strings.NewReader(body[from:])).Decode(&raw) == nil {
			return from, from + len(raw), true
		}
	}
	return 0, 0, false
}

// TestMutated: whatever comes in, the server answers, with no 5xx, and goes on.
func TestMutated(t *testing.T) {
	count := 10000
	if testing.Short() {
		count = 500
	}
	b := newBench(t, pieces("Hm.", "</think>", "Hello", " world", "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n",
		"<｜DSML｜parameter name=\"a\" string=\"false\">1</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"), nil)
	for path, list := range seeds {
		for _, body := range list {
			if status, text := b.do(http.MethodPost, path, body); path != "/v1/completions" && status != http.StatusOK {
				t.Errorf("%s %s: want it answered, got %d %s", path, body, status, text)
			}
		}
	}
	paths := slices.Sorted(maps.Keys(seeds))
	rng := rand.New(rand.NewPCG(3, 4))
	before := runtime.NumGoroutine()
	statuses := map[int]int{}
	for range count {
		path := paths[rng.IntN(len(paths))]
		list := seeds[path]
		body := mutated(rng, list[rng.IntN(len(list))])
		status, text := b.do(http.MethodPost, path, body)
		statuses[status]++
		if status >= 500 || status == 0 {
			t.Fatalf("%s %q: got %d %s", path, body, status, text)
		}
		if status != http.StatusOK && !json.Valid([]byte(text)) {
			t.Fatalf("%s %q: want an error in JSON, got %s", path, body, text)
		}
		if strings.Contains(text, "internal error") || strings.Contains(text, "api_error") || strings.Contains(text, "server_error") {
			t.Fatalf("%s %q: got %s", path, body, text)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if after := runtime.NumGoroutine(); after > before+50 {
		t.Errorf("goroutines: want about %d, got %d", before, after)
	}
	t.Log(fmt.Sprint(statuses))
}

// fuzzBody fuzzes an endpoint's body: an answer below 500, whatever it holds.
func fuzzBody(f *testing.F, path string) {
	for _, body := range seeds[path] {
		f.Add([]byte(body))
	}
	b := newBench(f, pieces("Hm.", "</think>", "Hello"), nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(body)))
		r.Host = "localhost"
		b.server.ServeHTTP(w, r)
		if w.Code >= 500 || strings.Contains(w.Body.String(), "internal error") {
			t.Fatalf("got %d %s", w.Code, w.Body)
		}
	})
}

func FuzzChatBody(f *testing.F)        { fuzzBody(f, "/v1/chat/completions") }
func FuzzCompletionsBody(f *testing.F) { fuzzBody(f, "/v1/completions") }
func FuzzResponsesBody(f *testing.F)   { fuzzBody(f, "/v1/responses") }
func FuzzMessagesBody(f *testing.F)    { fuzzBody(f, "/v1/messages") }
