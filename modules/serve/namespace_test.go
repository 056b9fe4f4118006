package serve

import (
	"strings"
	"testing"
)

// TestNamespace has a function of a namespace declared, called and remembered.
func TestNamespace(t *testing.T) {
	var prompt string
	call := "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"agents_close\">\n<｜DSML｜parameter name=\"id\" string=\"true\">a1</｜DSML｜parameter>\n" +
		"</｜DSML｜invoke>\n</｜DSML｜tool_calls>"
	b := newBench(t, func(p string) []string {
		prompt = p
		return []string{"x</think>", call}
	}, nil)
	const tools = `"tools":[{"type":"namespace","name":"agents_","description":"Agents.","tools":[
		{"type":"function","name":"close","description":"Close one.","parameters":{"type":"object","properties":{"id":{"type":"string"}}}}]}]`
	v := b.post("/v1/responses", `{"input":"x",`+tools+`}`)
	if at(v, "output.0.namespace") != "agents_" || at(v, "output.0.name") != "close" || at(v, "output.0.arguments") != `{"id":"a1"}` {
		t.Errorf("got %v", v)
	}
	if want := `{"name": "agents_close", "description": "Close one.", "parameters": {"type": "object", "properties": {"id": {"type": "string"}}}}`; !strings.Contains(prompt, want) {
		t.Errorf("want %s in the prompt, got\n%s", want, prompt)
	}
	_, events, _ := b.events("/v1/responses", `{"stream":true,"input":"x",`+tools+`}`)
	if last := events[len(events)-1]; at(last, "response.output.0.namespace") != "agents_" || at(last, "response.output.0.name") != "close" {
		t.Errorf("stream: got %v", last)
	}
	b.post("/v1/responses", `{"input":[{"role":"user","content":"x"},
		{"type":"function_call","call_id":"c","namespace":"agents_","name":"close","arguments":"{\"id\":\"b2\"}"},
		{"type":"function_call_output","call_id":"c","output":"closed"}],`+tools+`}`)
	if !strings.Contains(prompt, `invoke name="agents_close"`) || !strings.Contains(prompt, "b2") {
		t.Errorf("want the call in the prompt, got\n%s", prompt)
	}
	for body, field := range map[string]string{
		`{"type":"namespace","name":"n","tools":[{"type":"custom","name":"c"}]}`:     "tools[0].tools[0].type",
		`{"type":"namespace","name":"n","tools":[{"name":1}]}`:                       "tools[0].tools[0].name",
		`{"type":"namespace","name":"n","tools":{}}`:                                 "tools[0].tools",
		`{"name":"get"},{"name":"get"}`:                                              "tools[1].name",
		`{"name":"n_get"},{"type":"namespace","name":"n_","tools":[{"name":"get"}]}`: "tools[1].tools[0].name",
	} {
		if code, text := b.do("POST", "/v1/responses", `{"input":"x","tools":[`+body+`]}`); code != 400 || !strings.Contains(text, field) {
			t.Errorf("%s: want 400 for %s, got %d %s", body, field, code, text)
		}
	}
}
