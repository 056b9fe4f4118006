package serve

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

const placeSchema = `{"type":"object","properties":{
	"city":{"type":"string","minLength":1,"maxLength":6},
	"code":{"type":"string","pattern":"^[A-Z]{2}[0-9]{3}$"},
	"unit":{"enum":["c","f",3]},
	"days":{"type":"integer","minimum":1,"maximum":14},
	"near":{"anyOf":[{"type":"null"},{"$ref":"#/$defs/point"}]},
	"tags":{"type":"array","items":{"type":"string","maxLength":4},"maxItems":2}
},"required":["city","code","unit","days","near"],"additionalProperties":false,
"$defs":{"point":{"type":"object","properties":{"x":{"type":"number","minimum":0,"maximum":9}},"required":["x"]}}}`

var codes = regexp.MustCompile(`^[A-Z]{2}[0-9]{3}$`)

// checkPlace says what is wrong with arguments of placeSchema.
func checkPlace(args string) error {
	var a struct {
		City, Code *string
		Unit       any
		Days       *int
		Near       *struct{ X *float64 }
		Tags       []string
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal([]byte(args), &keys); err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(args))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return err
	}
	for _, k := range []string{"city", "code", "unit", "days", "near"} {
		if keys[k] == nil {
			return fmt.Errorf("%s is missing", k)
		}
	}
	switch {
	case len([]rune(*a.City)) < 1 || len([]rune(*a.City)) > 6, !codes.MatchString(*a.Code), *a.Days < 1 || *a.Days > 14, len(a.Tags) > 2,
		a.Unit != "c" && a.Unit != "f" && a.Unit != 3.0, a.Near != nil && (a.Near.X == nil || *a.Near.X < 0 || *a.Near.X > 9):
		return fmt.Errorf("a value breaks its schema")
	}
	return nil
}

// wrongCall is what the model would like to write.
const wrongCall = "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"no_such\">\n<｜DSML｜parameter name=\"x\" string=\"true\">y</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"

// TestStrictTools: the arguments of a strict tool keep to its schema, though the model would have none of it.
func TestStrictTools(t *testing.T) {
	b := newBench(t, pieces("Hm.", wrongCall), nil)
	const user = `"messages":[{"role":"user","content":"x"}],"thinking":false,"max_tokens":3000`
	const say = `,"temperature":1,"seed":%d`
	for _, c := range []struct{ name, path, body, args, tool string }{
		{"chat", "/v1/chat/completions", `{` + user + say + `,"tools":[{"type":"function","function":{"name":"place","strict":true,"parameters":` + placeSchema + `}}]}`,
			"choices.0.message.tool_calls.0.function.arguments", "choices.0.message.tool_calls.0.function.name"},
		{"chat, named", "/v1/chat/completions", `{` + user + say + `,"tool_choice":{"type":"function","function":{"name":"place"}},"tools":[{"type":"function","function":{"name":"other"}},{"type":"function","function":{"name":"place","strict":true,"parameters":` + placeSchema + `}}]}`,
			"choices.0.message.tool_calls.0.function.arguments", "choices.0.message.tool_calls.0.function.name"},
		{"messages", "/v1/messages", `{` + user + `,"temperature":1,"top_k":%d,"tools":[{"name":"place","strict":true,"input_schema":` + placeSchema + `}]}`, "content.1.input", "content.1.name"},
		{"responses", "/v1/responses", `{"input":"x","reasoning":{"effort":"none"},"max_output_tokens":3000,"temperature":1,"metadata":{"n":"%d"},"tools":[{"type":"function","name":"place","strict":true,"parameters":` + placeSchema + `}]}`,
			"output.1.arguments", "output.1.name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := 1; seed < 12; seed++ {
				v := b.post(c.path, fmt.Sprintf(c.body, seed))
				args, ok := at(v, c.args).(string)
				if !ok {
					raw, err := json.Marshal(at(v, c.args))
					if err != nil {
						t.Fatal(err)
					}
					args = string(raw)
				}
				if at(v, c.tool) == nil && strings.HasPrefix(c.name, "chat") { // named: there is no text before
					t.Fatalf("want a call, got %v", v)
				}
				if err := checkPlace(args); err != nil || at(v, c.tool) != "place" {
					t.Fatalf("want arguments of the schema, got %s in %v: %v", args, v, err)
				}
			}
		})
	}
	for _, c := range []struct{ schema, want string }{
		{`{"type":"object","properties":{"a":{"type":"array","uniqueItems":true}}}`, "tools[0].function.parameters.properties.a.uniqueItems: is not supported"},
		{`{"type":"array"}`, "tools[0].function.parameters: want a schema of an object"},
		{`{"type":"object","properties":{"a":{"$ref":"#/properties/a"}}}`, "leads to itself"},
	} {
		status, text := b.do("POST", "/v1/chat/completions", `{`+user+`,"tools":[{"type":"function","function":{"name":"place","strict":true,"parameters":`+c.schema+`}}]}`)
		if status != 400 || !strings.Contains(text, c.want) {
			t.Errorf("%s: want 400 with %q, got %d %s", c.schema, c.want, status, text)
		}
	}
}

// TestStrictBeside: beside a strict tool, the others are called with what the model likes, but by their names; and a block in a
// spelling that is not held to anything is text.
func TestStrictBeside(t *testing.T) {
	const user = `"messages":[{"role":"user","content":"x%d"}],"thinking":false,"max_tokens":400,"temperature":1`
	const both = `,"tools":[{"type":"function","function":{"name":"a","strict":true,"parameters":{"type":"object","properties":{}}}},{"type":"function","function":{"name":"b"}}]}`
	b := newBench(t, pieces(wrongCall), nil)
	seen := map[any]bool{}
	for talk := range 20 {
		body := fmt.Sprintf(`{`+user, talk)
		if talk%2 == 0 {
			body += `,"tool_choice":{"type":"function","function":{"name":"a"}}`
		}
		v := b.post("/v1/chat/completions", body+both)
		calls, _ := at(v, "choices.0.message.tool_calls").([]any)
		for _, c := range calls {
			name := at(c, "function.name")
			seen[name] = true
			if name != "a" && name != "b" || name == "a" && at(c, "function.arguments") != "{}" {
				t.Errorf("want a without arguments, or b, got %v", c)
			}
		}
	}
	if !seen["a"] || !seen["b"] {
		t.Errorf("want both called, got %v", seen)
	}
	lax := strings.ReplaceAll(wrongCall, "｜DSML｜", "")
	v := newBench(t, pieces(lax), nil).post("/v1/chat/completions", fmt.Sprintf(`{`+user+both, 0))
	if got := at(v, "choices.0.message.content"); got != lax {
		t.Errorf("want the text %q, got %v", lax, v)
	}
}
