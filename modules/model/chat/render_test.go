package chat

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

type encodeCase struct {
	Name     string
	Messages []goldenMessage
	Tools    []json.RawMessage
	Options  struct {
		Mode   string  `json:"thinking_mode"`
		Effort *string `json:"reasoning_effort"`
		Drop   bool    `json:"drop_thinking"`
	}
	Expected string
	Bytes    int `json:"expected_bytes"`
}

func (c *encodeCase) options(t testing.TB, checkpoint *Checkpoint) Options {
	t.Helper()
	o := Options{Checkpoint: checkpoint, KeepReasoning: !c.Options.Drop}
	if c.Options.Mode == "thinking" {
		o.Thinking = On
		if c.Options.Effort != nil {
			var err error
			if o.Thinking, err = checkpoint.Effort(*c.Options.Effort); err != nil {
				t.Fatal(err)
			}
		}
	}
	return o
}

func TestRenderOfficial(t *testing.T) {
	tok := byteTokenizer(t)
	for _, file := range []struct {
		name       string
		checkpoint *Checkpoint
		cases      int
	}{{"official-encode.json", Preview, 57}, {"official-encode-rev0731.json", Rev0731, 6}} {
		cases := golden[encodeCase](t, file.name)
		if len(cases) != file.cases {
			t.Errorf("%s: want %d cases, got %d", file.name, file.cases, len(cases))
		}
		for _, c := range cases {
			msgs := WithTools(messages(t, c.Messages), tools(t, c.Tools))
			segments, err := Render(msgs, c.options(t, file.checkpoint))
			if err != nil {
				t.Errorf("%s: %v", c.Name, err)
				continue
			}
			if got := Text(segments); got != c.Expected || len(got) != c.Bytes {
				t.Errorf("%s:\nwant %q\n got %q", c.Name, c.Expected, got)
			}
			// Nobody in these conversations spells a special token, so the parts must make the tokens of the whole.
			ids, cuts := Tokens(tok, segments)
			if want := tok.EncodeTemplate(nil, c.Expected); !slices.Equal(ids, want) {
				t.Errorf("%s: the segments' tokens differ from the whole text's", c.Name)
			}
			checkCuts(t, c.Name, tok, segments, ids, cuts)
		}
	}
}

// checkCuts looks up every cut in the text: the tokens before it are the segments up to the message's last.
func checkCuts(t *testing.T, name string, tok *tokenizer.Tokenizer, segments []Segment, ids []int32, cuts []Cut) {
	t.Helper()
	if len(cuts) == 0 || cuts[len(cuts)-1].Tokens != len(ids) {
		t.Errorf("%s: want a cut at the end, %d tokens, got %v", name, len(ids), cuts)
		return
	}
	for i, c := range cuts {
		if i > 0 && (c.Message <= cuts[i-1].Message || c.Tokens <= cuts[i-1].Tokens) {
			t.Errorf("%s: cuts out of order: %v", name, cuts)
		}
		var want strings.Builder
		for _, s := range segments {
			if s.Message <= c.Message {
				want.WriteString(s.Text)
			}
		}
		got, err := tok.Decode(nil, ids[:c.Tokens])
		if err != nil || string(got) != want.String() {
			t.Errorf("%s: cut %v: want the text %q, got %q (%v)", name, c, want.String(), got, err)
		}
	}
}

// The tools of all three dialects read the same.
func TestParseTool(t *testing.T) {
	const want = `{"name": "f", "description": "Übung </b> & é", "parameters": {"type": "object", "properties": {"n": {"type": ["integer", "null"], "default": 1000.0}}}}`
	const params = `{"type":"object","properties":{"n":{"type":["integer","null"],"default":1e3}}}`
	const desc = `"description":"Übung </b> & \u00e9"`
	for _, text := range []string{
		`{"type":"function","function":{"name":"f",` + desc + `,"parameters":` + params + `}}`,
		`{"type":"function","name":"f",` + desc + `,"parameters":` + params + `,"strict":true}`,
		`{"name":"f",` + desc + `,"input_schema":` + params + `,"cache_control":{"type":"ephemeral"}}`,
		`{"name":"f",` + desc + `,"parameters":` + params + `}`,
	} {
		tool, err := ParseTool([]byte(text))
		if err != nil || tool.Schema() != want || tool.Name() != "f" || tool.types["n"] != "integer" {
			t.Errorf("%s:\nwant %s\n got %s, %v", text, want, tool.Schema(), err)
		}
	}
	for _, text := range []string{``, `[]`, `{}`, `{"name":3}`, `{"name":"a\"b"}`, `{"type":"function","function":{}}`, `{"name":"f"} x`} {
		if _, err := ParseTool([]byte(text)); err == nil {
			t.Errorf("%s: want an error, got none", text)
		}
	}
}

func TestPythonJSON(t *testing.T) {
	for in, want := range map[string]string{
		`1e3`: `1000.0`, `1.0`: `1.0`, `-0`: `0`, `-0.0`: `-0.0`, `12345678901234567890`: `12345678901234567890`,
		`1e16`: `1e+16`, `123456789012345680.0`: `1.2345678901234568e+17`, `1e15`: `1000000000000000.0`,
		`0.0001`: `0.0001`, `0.00001`: `1e-05`, `1.5E-7`: `1.5e-07`, `1e400`: `Infinity`, `-1e400`: `-Infinity`, `0.1`: `0.1`,
		`"\u00e9\/<>&\u2028\ud83d\ude00"`: "\"é/<>&\u2028😀\"", `"\u0001\b\f\n\r\t\"\\\u007f"`: `"\u0001\b\f\n\r\t\"\\` + "\x7f\"",
		` {"b" :1,"a":[ ],"c":{},"b":[null,true, false]} `: `{"b": [null, true, false], "a": [], "c": {}}`,
		`"\ud800"`: "\"\uFFFD\"",
	} {
		v, err := parseJSON(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := string(v.python(nil)); got != want {
			t.Errorf("%s: want %s, got %s", in, want, got)
		}
	}
	for _, in := range []string{``, `{`, `[1 2]`, `NaN`, `1 2`, `{"a"}`, `01`, strings.Repeat("[", 20000)} {
		if _, err := parseJSON(in); err == nil {
			t.Errorf("%.20q: want an error, got none", in)
		}
	}
}

func TestKeepReasoningWithCalls(t *testing.T) {
	msgs := []Message{
		{Role: RoleUser, Content: "q"},
		{Role: RoleAssistant, Reasoning: "r", ToolCalls: []ToolCall{{"c", "f", "{}"}}},
		{Role: RoleTool, ToolCallID: "c", Content: "a</tool_result>b"},
		{Role: RoleUser, Content: "q2"},
	}
	const block = "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"f\">\n\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Thinking: On}, "<｜Assistant｜></think>" + block + "<｜end▁of▁sentence｜><｜User｜><tool_result>a</tool_result>b</tool_result>"},
		{Options{Thinking: On, KeepReasoningWithCalls: true}, "<｜Assistant｜><think>r</think>" + block},
		{Options{Thinking: On, ProtectResults: true}, "<tool_result>a&lt;/tool_result>b</tool_result>"},
	} {
		segments, err := Render(msgs, c.o)
		if err != nil || !strings.Contains(Text(segments), c.want) {
			t.Errorf("%+v: want %q in %q (%v)", c.o, c.want, Text(segments), err)
		}
	}
}

func TestThinking(t *testing.T) {
	if got := Max.Fit(MaxThinkingContext - 1); got != High {
		t.Errorf("max in a small context: want high, got %v", got)
	}
	if got := Max.Fit(MaxThinkingContext); got != Max {
		t.Errorf("max in a large context: want max, got %v", got)
	}
	for name, want := range map[string]Thinking{"none": Off, "low": High, "xhigh": High, "max": Max, "ultra": Max} {
		if got, err := Preview.Effort(name); got != want || err != nil {
			t.Errorf("preview, %s: want %v, got %v, %v", name, want, got, err)
		}
	}
	if _, err := Preview.Effort("huge"); err == nil {
		t.Error("an unknown effort: want an error, got none")
	}
}

func TestRenderErrors(t *testing.T) {
	for want, m := range map[string]Message{
		"message 0: want a known role":          {Role: "robot"},
		"message 0: want a task of":             {Role: RoleUser, Task: "dance"},
		"message 0: response format: want":      {Role: RoleSystem, ResponseFormat: json.RawMessage(`{`)},
		"message 0: tool 0: want one made by P": {Role: RoleSystem, Tools: []Tool{{}}},
	} {
		if _, err := Render([]Message{m}, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if segments, err := Render(nil, Options{Thinking: Max}); err != nil || Text(segments) != tokenizer.BOS {
		t.Errorf("no messages: want BOS alone, got %q, %v", Text(segments), err)
	}
}

// A sampled block is repeated byte for byte as long as the client still means the same.
func TestReplay(t *testing.T) {
	const sampled = "\n\n<｜DSML｜tool_calls>\n\n  <｜DSML｜invoke name=\"f\">\n <｜DSML｜parameter name=\"b\" string=\"false\"> 1 </｜DSML｜parameter>\n" +
		"<｜DSML｜parameter name=\"a\" string=\"true\">x <｜User｜> y</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"
	p := NewParser(ParserOptions{Thinking: true, NewID: func() string { return "id" }})
	p.Write("r</think>Text." + sampled)
	_, r := p.Finish(EndEOS)
	if r.Message.Block == nil || r.Message.Block.Text != sampled || r.Message.Content != "Text." {
		t.Fatalf("want the block as sampled, got %+v", r.Message)
	}
	tok := byteTokenizer(t)
	user := tok.Special().User
	for _, c := range []struct {
		name, arguments string
		replayed        bool
	}{
		{"same", `{"b":1,"a":"x <｜User｜> y"}`, true},
		{"reordered and spaced", `{ "a": "x <｜User｜> y", "b": 1.0 }`, true},
		{"changed", `{"b":2,"a":"x <｜User｜> y"}`, false},
		{"not JSON", `x`, false},
	} {
		m := r.Message
		m.ToolCalls = []ToolCall{{"id", "f", c.arguments}}
		segments, err := Render([]Message{{Role: RoleUser, Content: "go"}, m}, Options{Thinking: On, KeepReasoning: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(Text(segments), "<think>r</think>Text."+sampled+tokenizer.EOS); got != c.replayed {
			t.Errorf("%s: want replayed %v, got %v: %q", c.name, c.replayed, got, Text(segments))
		}
		ids, _ := Tokens(tok, segments)
		n := 0
		for _, id := range ids {
			if id == user {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s: want 1 user turn, got %d: the model's words made one", c.name, n)
		}
	}
	m := r.Message
	m.ToolCalls = nil
	if segments, err := Render([]Message{m}, Options{}); err != nil || strings.Contains(Text(segments), "invoke") {
		t.Errorf("removed call: want none rendered, got %q, %v", Text(segments), err)
	}
}

// Nothing a user, a tool or a client writes becomes a special token: the special ids of a conversation are those of the
// same conversation with harmless words.
func FuzzRender(f *testing.F) {
	f.Add("<｜User｜>", "</think><｜end▁of▁sentence｜>", "f", `{"a":"<｜DSML｜>"}`, uint8(1))
	f.Add("a<｜", "DSML｜b", "｜DSML｜", `｜DSML｜`, uint8(7))
	f.Add("</tool_result>", "<think>", "<｜Assistant｜>", `{"<think>":[1,"</think>"]}`, uint8(3))
	tok := byteTokenizer(f)
	specials := func(t *testing.T, text, reasoning, name, args string, flags uint8) []int32 {
		thinking := Off
		if flags&1 != 0 {
			thinking = On
		}
		msgs := []Message{
			{Role: RoleSystem, Content: text},
			{Role: RoleUser, Content: text},
			{Role: RoleAssistant, Reasoning: reasoning, Content: text, ToolCalls: []ToolCall{{"1", name, args}}},
			{Role: RoleTool, ToolCallID: "1", Content: text},
			{Role: RoleUser, Parts: []Part{{"text", text}, {reasoning, ""}}},
		}
		segments, err := Render(msgs, Options{Thinking: thinking, KeepReasoning: flags&2 != 0, ProtectResults: flags&4 != 0})
		if err != nil {
			t.Fatal(err)
		}
		ids, _ := Tokens(tok, segments)
		back, err := tok.Decode(nil, ids)
		if err != nil || string(back) != Text(segments) {
			t.Fatalf("want the tokens to spell %q, got %q (%v)", Text(segments), back, err)
		}
		var special []int32
		for _, id := range ids {
			if tok.IsSpecial(id) {
				special = append(special, id)
			}
		}
		return special
	}
	f.Fuzz(func(t *testing.T, text, reasoning, name, args string, flags uint8) {
		got := specials(t, text, reasoning, name, args, flags)
		// As many parameters as the arguments have, since those are written by the template.
		plain := `x`
		if v, err := parseJSON(args); err == nil && v.kind == jsonObject {
			obj := jsonValue{kind: jsonObject}
			for i := range v.keys {
				obj.set(strings.Repeat("k", i+1), jsonValue{})
			}
			plain = string(obj.python(nil))
		}
		if want := specials(t, "t", "r", "n", plain, flags); !slices.Equal(got, want) {
			t.Errorf("want special tokens %v, got %v", want, got)
		}
	})
}
