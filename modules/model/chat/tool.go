package chat

import (
	"fmt"
	"strings"
)

// Tool is a declared tool: the line that describes it to the model, and the types of its parameters. Make one with
// ParseTool.
type Tool struct {
	name   string
	schema string            // one line of JSON in the prompt
	types  map[string]string // of parameters; "" where the schema does not say or allows several
}

// ParseTool reads a tool declaration of any dialect, so that one tool reads the same to the model whatever endpoint it
// came through:
//
//	OpenAI chat  {"type":"function","function":{"name":…,"description":…,"parameters":…}}   kept as it is, further keys too
//	Responses    {"type":"function","name":…,"description":…,"parameters":…}                these three keys
//	Anthropic    {"name":…,"description":…,"input_schema":…}                                these three, the schema as parameters
//	bare         {"name":…,"description":…,"parameters":…}                                  kept as it is
func ParseTool(text []byte) (Tool, error) {
	v, err := parseJSON(string(text))
	if err != nil {
		return Tool{}, fmt.Errorf("chat: tool: %w", err)
	}
	if v.kind != jsonObject {
		return Tool{}, fmt.Errorf("chat: tool: want an object, got %q", clip(string(text)))
	}
	f := v
	switch {
	case v.get("function").kind == jsonObject:
		f = v.get("function")
	case v.get("input_schema").kind != jsonNull:
		f = functionOf(v, "input_schema")
	case v.get("type").kind != jsonNull:
		f = functionOf(v, "parameters")
	}
	name := f.get("name")
	if name.kind != jsonString || name.text == "" || strings.ContainsAny(name.text, "\"\r\n") {
		return Tool{}, fmt.Errorf("chat: tool: want a name without quotes or line ends, got %q", clip(string(text)))
	}
	t := Tool{name: name.text, schema: string(f.python(nil))}
	parameters := f.get("parameters")
	if props := parameters.get("properties"); props.kind == jsonObject {
		t.types = make(map[string]string, len(props.keys))
		for i, key := range props.keys {
			t.types[key] = typeOf(props.items[i])
		}
	}
	return t, nil
}

// functionOf picks the three keys that matter, with the parameters' schema under the given key.
func functionOf(v jsonValue, parameters string) jsonValue {
	f := jsonValue{kind: jsonObject}
	for _, key := range [...]struct{ from, to string }{
		{"name", "name"}, {"description", "description"}, {parameters, "parameters"},
	} {
		if item := v.get(key.from); item.kind != jsonNull {
			f.set(key.to, item)
		}
	}
	return f
}

// typeOf is the declared type of a parameter. A type that may also be null is that type.
func typeOf(schema jsonValue) string {
	t := schema.get("type")
	if t.kind == jsonString {
		return t.text
	}
	only := ""
	for _, item := range t.items {
		switch {
		case item.kind != jsonString || item.text == "null":
		case only != "":
			return ""
		default:
			only = item.text
		}
	}
	return only
}

// Name is the tool's name.
func (t Tool) Name() string { return t.name }

// Schema is the line of JSON that describes the tool in a prompt.
func (t Tool) Schema() string { return t.schema }
