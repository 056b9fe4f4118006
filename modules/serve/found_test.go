package serve

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestBuiltinCalls sends calls that are items of their own kind, with what they brought, as a client's history has them.
func TestBuiltinCalls(t *testing.T) {
	var prompt string
	b := newBench(t, func(p string) []string { prompt = p; return []string{"x</think>", "ok"} }, nil)
	for _, c := range []struct{ items, call, result string }{
		{`{"type":"local_shell_call","id":"i","call_id":"c","status":"completed","action":{"type":"exec","command":["ls"]}},{"type":"local_shell_call_output","id":"c","output":"a.txt"}`,
			`invoke name="local_shell">`, "<tool_result>a.txt</tool_result>"},
		{`{"type":"web_search_call","id":"w","status":"completed","action":{"type":"search","query":"news of today"}}`, "news of today", ""},
		{`{"type":"image_generation_call","id":"g","status":"completed","result":"aGVsbG8="},{"type":"image_generation_call_output","call_id":"g","result":{"seen":true}}`,
			`invoke name="image_generation_call">`, `<tool_result>{"seen":true}</tool_result>`},
		{`{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":[{"a":1},2]}`,
			`invoke name="f">`, `<tool_result>[{"a":1},2]</tool_result>`},
		{`{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"one"},"two"]}`,
			`invoke name="f">`, "<tool_result>one\n\ntwo</tool_result>"},
	} {
		b.post("/v1/responses", `{"input":[{"role":"user","content":"x"},`+c.items+`,{"role":"user","content":"go on"}]}`)
		if !strings.Contains(prompt, c.call) || !strings.Contains(prompt, c.result) {
			t.Errorf("%s: want %q and %q in\n%s", c.items, c.call, c.result, prompt)
		}
	}
	for items, field := range map[string]string{
		`{"type":"local_shell_call_output","id":"c","output":"a.txt"}`:                                                                                      "input[0].id",
		`{"type":"function_call","call_id":"c","name":"f"},{"type":"function_call_output","call_id":"c","output":[{"type":"input_image","image_url":"x"}]}`: "input[1].output[0].type",
		`{"type":"tool_search_call","call_id":"c"},{"type":"tool_search_output","call_id":"c","tools":[{"type":"function"}]}`:                               "input[1].tools[0].name",
	} {
		if code, text := b.do("POST", "/v1/responses", `{"input":[`+items+`]}`); code != 400 || !strings.Contains(text, field) {
			t.Errorf("%s: want 400 for %s, got %d %s", items, field, code, text)
		}
	}
}

// TestToolSearch has the model look for tools: the call is an item that the client runs, what it finds is declared from then
// on, in the requests that go on from there too.
func TestToolSearch(t *testing.T) {
	var prompt string
	call := "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"tool_search\">\n<｜DSML｜parameter name=\"query\" string=\"true\">weather</｜DSML｜parameter>\n" +
		"</｜DSML｜invoke>\n</｜DSML｜tool_calls>"
	b := newBench(t, func(p string) []string {
		if prompt = p; strings.Contains(p, "<tool_result>") {
			return []string{"x</think>", "Done."}
		}
		return []string{"x</think>", call}
	}, nil)
	const search = `{"type":"tool_search","execution":"client","description":"Looks for tools.","parameters":{"type":"object","properties":{"query":{"type":"string"}}}}`
	check := func(it any) {
		t.Helper()
		if a, _ := json.Marshal(at(it, "arguments")); at(it, "type") != "tool_search_call" || at(it, "execution") != "client" || string(a) != `{"query":"weather"}` {
			t.Errorf("want a search for weather, got %v", it)
		}
	}
	v := b.post("/v1/responses", `{"input":"x","tools":[`+search+`]}`)
	check(at(v, "output.0"))
	if !strings.Contains(prompt, `{"name": "tool_search", "description": "Looks for tools."`) {
		t.Errorf("want the search declared, got\n%s", prompt)
	}
	names, events, _ := b.events("/v1/responses", `{"stream":true,"input":"x","tools":[`+search+`]}`)
	check(at(events[len(events)-1], "response.output.0"))
	if s := fmt.Sprint(names); strings.Contains(s, "arguments") {
		t.Errorf("want no events of arguments, got %s", s)
	}
	found := `{"type":"tool_search_output","call_id":` + quoted(at(v, "output.0.call_id").(string)) + `,"status":"completed","execution":"client","tools":[` +
		`{"type":"function","name":"get_weather","parameters":{}},{"type":"namespace","name":"n_","tools":[{"type":"function","name":"get","parameters":{}}]}]}`
	v = b.post("/v1/responses", `{"previous_response_id":`+quoted(at(v, "id").(string))+`,"input":[`+found+`],"tools":[`+search+`,{"type":"function","name":"get_weather","parameters":{}}]}`)
	last := b.post("/v1/responses", `{"previous_response_id":`+quoted(at(v, "id").(string))+`,"input":"and?","tools":[`+search+`]}`)
	for _, name := range []string{"get_weather", "n_get"} {
		if n := strings.Count(prompt, `{"name": "`+name+`"`); n != 1 {
			t.Errorf("want %s declared once, got %d times in\n%s", name, n, prompt)
		}
	}
	if at(last, "status") != "completed" {
		t.Errorf("got %v", last)
	}
	b.post("/v1/responses", `{"input":"x","tools":[{"type":"tool_search"}]}`)
	if strings.Contains(prompt, "tool_search") {
		t.Errorf("want a search by the provider left out, got\n%s", prompt)
	}
}
