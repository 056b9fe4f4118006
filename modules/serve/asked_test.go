package serve

import (
	"net/http"
	"strings"
	"testing"
)

// TestResultsOfCalls sends results with and without the calls that asked for them: in the request, in the response that it
// goes on from, in neither.
func TestResultsOfCalls(t *testing.T) {
	b := newBench(t, func(prompt string) []string {
		if strings.Contains(prompt, "<tool_result>") {
			return []string{"x</think>", "Done."}
		}
		return []string{"x</think>", parisCall}
	}, nil)
	const flat = `"tools":[{"type":"function","name":"get_weather","parameters":{}}]`
	first := b.post("/v1/responses", `{"input":"Weather?",`+flat+`}`)
	id, call := quoted(at(first, "id").(string)), quoted(at(first, "output.0.call_id").(string))
	const use, result = `{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"f","input":{}}]}`, `{"type":"tool_result","tool_use_id":"t1","content":"ok"}`
	const called, output = `{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"}`, `{"type":"function_call_output","call_id":"c1","output":"ok"}`
	for _, c := range []struct{ name, path, body, want string }{ // want: in a refusal; "" where it is answered
		{"messages", "/v1/messages", `{"messages":[{"role":"user","content":"x"},` + use + `,{"role":"user","content":[` + result + `]}]}`, ""},
		{"messages, answered later", "/v1/messages", `{"messages":[` + use + `,{"role":"user","content":"wait"},{"role":"user","content":[` + result + `]}]}`, ""},
		{"messages, no call", "/v1/messages", `{"messages":[{"role":"user","content":[{"type":"text","text":"x"},` + result + `]}]}`, `messages[0].content[1].tool_use_id: want the id of a call`},
		{"messages, the call after", "/v1/messages", `{"messages":[{"role":"user","content":[` + result + `]},` + use + `]}`, `messages[0].content[0].tool_use_id`},
		{"messages, no id", "/v1/messages", `{"messages":[{"role":"user","content":[{"type":"tool_result","content":"ok"}]}]}`, ""},
		{"count_tokens", "/v1/messages/count_tokens", `{"messages":[{"role":"user","content":[` + result + `]}]}`, `messages[0].content[0].tool_use_id`},
		{"responses, called", "/v1/responses", `{"input":[{"role":"user","content":"x"},` + called + `,` + output + `]}`, ""},
		{"responses, no call", "/v1/responses", `{"input":[{"role":"user","content":"x"},` + output + `]}`, `input[1].call_id: want the id of a call`},
		{"responses, custom, no call", "/v1/responses", `{"input":[{"type":"custom_tool_call_output","call_id":"c1","output":"ok"}]}`, `input[0].call_id`},
		{"responses, goes on", "/v1/responses", `{"previous_response_id":` + id + `,"input":[{"type":"function_call_output","call_id":` + call + `,"output":"sun"}]}`, ""},
		{"responses, goes on, another call", "/v1/responses", `{"previous_response_id":` + id + `,"input":[` + output + `]}`, `got \"c1\"`},
		{"chat", "/v1/chat/completions", `{"messages":[{"role":"user","content":"x"},{"role":"tool","tool_call_id":"c1","content":"ok"}]}`, ""},
	} {
		status, text := b.do(http.MethodPost, c.path, c.body)
		if refused := status == http.StatusBadRequest; refused != (c.want != "") || !refused && status != http.StatusOK || !strings.Contains(text, c.want) {
			t.Errorf("%s: want %q, got %d %s", c.name, c.want, status, text)
		}
	}
}
