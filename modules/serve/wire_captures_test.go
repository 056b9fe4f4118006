package serve

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/serve/servetest"
)

// captures are requests, sampled pieces and answers of the ds4 program.
type capture struct {
	Name     string
	Endpoint string
	Request  json.RawMessage
	Pieces   []string `json:"pieces_hex"`
	Status   int      `json:"non_stream_status"`
	Body     any      `json:"non_stream_body"`
}

// shared finds the folder of golden data beside the repository.
func shared(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("DS4_SHARED")
	if dir == "" {
		at, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for at != filepath.Dir(at) {
			if _, err := os.Stat(filepath.Join(at, "go.work")); err == nil {
				dir = filepath.Join(filepath.Dir(at), "shared")
				break
			}
			at = filepath.Dir(at)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "data", name))
	if err != nil {
		t.Skipf("golden data is not there: %v", err)
	}
	return b
}

// said is what an answer says, whatever its shape.
type said struct{ Content, Reasoning, Calls, Finish string }

func compact(s string) string {
	var v any
	if json.Unmarshal([]byte(s), &v) != nil {
		return s
	}
	b, _ := json.Marshal(v)
	return string(b)
}

// saidBy reads what a body of any endpoint says.
func saidBy(endpoint string, v any) (s said) {
	str := func(path string) string { x, _ := at(v, path).(string); return x }
	switch endpoint {
	case "/v1/chat/completions":
		s = said{str("choices.0.message.content"), str("choices.0.message.reasoning_content"), "", str("choices.0.finish_reason")}
		calls, _ := at(v, "choices.0.message.tool_calls").([]any)
		for _, c := range calls {
			s.Calls += fmt.Sprintf("%v(%s) ", at(c, "function.name"), compact(at(c, "function.arguments").(string)))
		}
	case "/v1/completions":
		s = said{str("choices.0.text"), "", "", str("choices.0.finish_reason")}
	case "/v1/messages":
		s.Finish = str("stop_reason")
		list, _ := at(v, "content").([]any)
		for _, b := range list {
			switch at(b, "type") {
			case "text":
				s.Content += at(b, "text").(string)
			case "thinking":
				s.Reasoning += at(b, "thinking").(string)
			case "tool_use":
				in, _ := json.Marshal(at(b, "input"))
				s.Calls += fmt.Sprintf("%v(%s) ", at(b, "name"), compact(string(in)))
			}
		}
	case "/v1/responses":
		s.Finish = str("status")
		list, _ := at(v, "output").([]any)
		for _, it := range list {
			switch at(it, "type") {
			case "message":
				s.Content += at(it, "content.0.text").(string)
			case "reasoning":
				if text, ok := at(it, "summary.0.text").(string); ok {
					s.Reasoning += text
				}
			case "function_call":
				s.Calls += fmt.Sprintf("%v(%s) ", at(it, "name"), compact(at(it, "arguments").(string)))
			}
		}
	}
	return s
}

// expected is what this server says where ds4 says something else. The differences are those of its section of weak points,
// and no others.
func expected(c *capture, s said) said {
	_, kind, _ := strings.Cut(c.Name, "_")
	hidden := c.Endpoint == "/v1/responses" && !strings.Contains(string(c.Request), "summary")
	ends := map[string]said{"/v1/chat/completions": {Finish: "tool_calls"}, "/v1/messages": {Finish: "tool_use"}, "/v1/responses": {Finish: "completed"}}
	switch kind {
	case "tool_escapes": // values have no entities
		s.Calls = strings.Replace(s.Calls, `Paris \u0026 `, `Paris \u0026amp; `, 1)
	case "tool_truncated": // an open call is dropped, and nothing of it is text; a turn ends as turns do
		s = said{Content: "Let me check.", Reasoning: "Need.", Finish: ends[c.Endpoint].Finish}
		s.Finish = strings.NewReplacer("tool_calls", "stop", "tool_use", "end_turn").Replace(s.Finish)
	case "tool_malformed", "thinking_cut_by_length", "summary_cut_by_length": // reasoning stays reasoning
		thought, text, closed := strings.Cut(s.Content, "</think>")
		if s.Reasoning, s.Content = thought, text; !closed {
			s.Content = ""
		}
	case "tool_inside_thinking": // a whole block ends the reasoning
		s = said{Reasoning: "Need a call.", Calls: `get_weather({"city":"Paris","days":3}) `, Finish: ends[c.Endpoint].Finish}
	case "nonstring_not_json": // what is no JSON is a text
		s.Calls = `get_weather({"days":"three"}) `
	case "stop_inside_thinking": // stop strings are for what is shown
		s = said{Content: "Hello", Reasoning: "I think hard.", Finish: "stop"}
	}
	if hidden {
		s.Reasoning = ""
	}
	return s
}

// limited puts the limit of a request, which counts pieces, into tokens of the small vocabulary.
func limited(c *capture, script []string) string {
	request := string(c.Request)
	if !strings.Contains(c.Name, "cut_by_length") {
		return request
	}
	var n int
	m := limits.FindStringSubmatch(request)
	if _, err := fmt.Sscan(m[1], &n); err != nil {
		return request
	}
	tokens := len(servetest.Pieces(servetest.Tokenizer(), script[:n]))
	return strings.Replace(request, m[0], fmt.Sprintf(`tokens": %d`, tokens), 1)
}

var limits = regexp.MustCompile(`tokens": *(\d+)`)

func TestWireCaptures(t *testing.T) {
	var file struct{ Cases []capture }
	if err := json.Unmarshal(shared(t, "chat-golden/ds4-wire.json"), &file); err != nil {
		t.Fatal(err)
	}
	for _, c := range file.Cases {
		t.Run(c.Name, func(t *testing.T) {
			var script []string
			for _, p := range c.Pieces {
				b, err := hex.DecodeString(p)
				if err != nil {
					t.Fatal(err)
				}
				script = append(script, string(b))
			}
			b := newBench(t, func(string) []string { return script }, nil)
			request := limited(&c, script)
			got := saidBy(c.Endpoint, b.post(c.Endpoint, request))
			want := expected(&c, saidBy(c.Endpoint, c.Body))
			if got != want {
				t.Errorf("\nwant %+v\n got %+v", want, got)
			}
			streamed := b.streamed(c.Endpoint, request)
			if strings.HasSuffix(c.Name, "tool_truncated") {
				streamed.Calls = "" // it was begun before it could be known that it would not end
			}
			if streamed != got {
				t.Errorf("stream:\nwant %+v\n got %+v", got, streamed)
			}
		})
	}
}
