package serve

import (
	"encoding/json"
	"strings"
	"testing"
)

const answerSchema = `{"type":"object","properties":{"name":{"type":"string","maxLength":5},"n":{"type":"integer"}},"required":["name","n"],"additionalProperties":false}`

// TestFormat has a model that writes noise answer in JSON, by each API's way to ask for it.
func TestFormat(t *testing.T) {
	b := newBench(t, nil, nil)
	const user = `"messages":[{"role":"user","content":"x"}],"thinking":false,"max_tokens":3000`
	for _, c := range []struct{ path, body, text string }{
		{"/v1/chat/completions", `{` + user + `,"response_format":{"type":"json_schema","json_schema":{"name":"a","strict":true,"schema":` + answerSchema + `}}}`, "choices.0.message.content"},
		{"/v1/messages", `{` + user + `,"output_format":{"type":"json_schema","schema":` + answerSchema + `}}`, "content.0.text"},
		{"/v1/responses", `{"input":"x","reasoning":{"effort":"none"},"max_output_tokens":3000,"text":{"format":{"type":"json_schema","name":"a","schema":` + answerSchema + `}}}`, "output.0.content.0.text"},
	} {
		text, _ := at(b.post(c.path, c.body), c.text).(string)
		var got struct {
			Name *string
			N    *json.Number
		}
		d := json.NewDecoder(strings.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&got); err != nil || got.Name == nil || got.N == nil {
			t.Errorf("%s: want a name and a number, got %q: %v", c.path, text, err)
		}
	}
	status, text := b.do("POST", "/v1/chat/completions", `{`+user+`,"response_format":{"type":"json_schema","json_schema":{"schema":{"type":"array","uniqueItems":true}}}}`)
	if status != 400 || !strings.Contains(text, "response_format.json_schema.schema: schema.uniqueItems: is not supported") {
		t.Errorf("unsupported: got %d %s", status, text)
	}
}

// TestFormatOrCall: where there are tools, the model may call one in place of the text; whatever else it would like to
// write, it is held to the format.
func TestFormatOrCall(t *testing.T) {
	say := "call"
	b := newBench(t, func(prompt string) []string {
		if !strings.Contains(prompt, "## Response Format:") {
			t.Errorf("want the schema in the prompt, got %q", prompt)
		}
		if say == "call" {
			return []string{"Hm.", "</think>", parisCall}
		}
		return []string{"Hm.", "</think>", "{", `"name"`, ":", `"Al"`, ",", `"n"`, ":", "3", "}", "and more"}
	}, nil)
	body := `{"messages":[{"role":"user","content":"x"}],` + tools + `,"max_tokens":3000,"response_format":{"type":"json_schema","json_schema":{"schema":` + answerSchema + `}}}`
	if f := at(b.post("/v1/chat/completions", body), "choices.0.finish_reason"); f != "tool_calls" {
		t.Errorf("call: got %v", f)
	}
	say = "text"
	v := b.post("/v1/chat/completions", body)
	if got := at(v, "choices.0.message.content"); got != `{"name":"Al","n":3}` || at(v, "choices.0.finish_reason") != "stop" {
		t.Errorf("text: got %v", v)
	}
}
