package chat

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

// parse feeds the pieces to a parser and checks what must hold of every completion: the events add up to the result,
// and every event is whole UTF-8 where the completion is.
func parse(t testing.TB, o ParserOptions, end End, pieces ...string) ([]Event, Result) {
	t.Helper()
	n := 0
	o.NewID = func() string { n++; return fmt.Sprint("id", n) }
	p := NewParser(o)
	var all []Event
	add := func(events []Event) {
		for _, e := range events {
			all = appendEvent(all, e)
		}
	}
	for _, piece := range pieces {
		add(p.Write(piece))
	}
	events, r := p.Finish(end)
	add(events)
	checkEvents(t, all, r)
	return all, r
}

func checkEvents(t testing.TB, events []Event, r Result) {
	t.Helper()
	var reasoning, content string
	var calls []ToolCall
	open := false
	for i, e := range events {
		switch e.Kind {
		case Reasoning:
			reasoning += e.Text
		case Content:
			content += e.Text
		case ToolStart:
			if open || e.Index != len(calls) {
				t.Errorf("event %d: call %d starts out of turn", i, e.Index)
			}
			open = true
			calls = append(calls, ToolCall{ID: e.ID, Name: e.Name})
		case ToolArgs:
			if !open || e.Index != len(calls)-1 {
				t.Fatalf("event %d: arguments for call %d out of turn", i, e.Index)
			}
			calls[e.Index].Arguments += e.Text
		case ToolEnd:
			open = false
			if e.Incomplete != (r.Incomplete != nil && i == lastEnd(events)) {
				t.Errorf("event %d: want incomplete only for the call that was cut off", i)
			}
		case Done:
			if i != len(events)-1 {
				t.Errorf("event %d of %d is Done: want it last", i, len(events))
			}
		}
	}
	want := slices.Clone(r.Message.ToolCalls)
	if r.Incomplete != nil {
		want = append(want, *r.Incomplete)
	}
	if reasoning != r.Message.Reasoning || content != r.Message.Content || !slices.Equal(calls, want) || open {
		t.Errorf("the events add up to %q, %q, %v: want the result %q, %q, %v",
			reasoning, content, calls, r.Message.Reasoning, r.Message.Content, want)
	}
	for _, c := range calls {
		if !json.Valid([]byte(c.Arguments)) || c.Arguments[0] != '{' {
			t.Errorf("call %s: want a JSON object as arguments, got %q", c.Name, c.Arguments)
		}
	}
}

func lastEnd(events []Event) int {
	for i := len(events) - 1; i >= 0; i-- {
		if events[i].Kind == ToolEnd {
			return i
		}
	}
	return -1
}

// everySplit cuts the text at every place, and into single bytes, and wants the same events as for the whole.
func everySplit(t testing.TB, o ParserOptions, end End, text string) Result {
	t.Helper()
	events, r := parse(t, o, end, text)
	same := func(pieces ...string) {
		t.Helper()
		e, s := parse(t, o, end, pieces...)
		if !reflect.DeepEqual(e, events) || !reflect.DeepEqual(s, r) {
			t.Errorf("cut as %q:\nwant %+v\n     %+v\n got %+v\n     %+v", pieces, events, r, e, s)
		}
	}
	for i := 1; i < len(text); i++ {
		same(text[:i], text[i:])
	}
	var bytes []string
	for i := range len(text) {
		bytes = append(bytes, text[i:i+1])
	}
	same(bytes...)
	return r
}

func TestParseOfficial(t *testing.T) {
	cases := golden[struct {
		Name     string
		Text     string
		Mode     string `json:"thinking_mode"`
		Expected goldenMessage
		Error    bool `json:"expected_error"`
	}](t, "official-parse.json")
	if len(cases) != 26 {
		t.Errorf("want 26 cases, got %d", len(cases))
	}
	for _, c := range cases {
		thinking := c.Mode == "thinking"
		strict, err := parseStrict(c.Text, thinking)
		if (err != nil) != c.Error {
			t.Errorf("%s: strict: want error %v, got %v", c.Name, c.Error, err)
		}
		r := everySplit(t, ParserOptions{Thinking: thinking}, EndEOS, strings.TrimSuffix(c.Text, tokenizer.EOS))
		if c.Error {
			continue // what Parser makes of these is in TestParserRecommended
		}
		want := c.Expected.message(t)
		if strict.Content != want.Content || strict.Reasoning != want.Reasoning || len(strict.ToolCalls) != len(want.ToolCalls) {
			t.Errorf("%s: strict: want %+v, got %+v", c.Name, want, strict)
		}
		got := r.Message
		if got.Content != want.Content || got.Reasoning != want.Reasoning || len(got.ToolCalls) != len(want.ToolCalls) {
			t.Errorf("%s: want %+v, got %+v", c.Name, want, got)
			continue
		}
		for i, w := range want.ToolCalls {
			if strict.ToolCalls[i].Arguments != w.Arguments {
				t.Errorf("%s: strict: want arguments %s, got %s", c.Name, w.Arguments, strict.ToolCalls[i].Arguments)
			}
			// Spacing aside, and a value that is no JSON is a string rather than broken JSON.
			args, ok := compactJSON(w.Arguments)
			if !ok && c.Name == "string_false_not_json_kept_raw" {
				args = `{"x":"three"}`
			}
			if got.ToolCalls[i].Name != w.Name || got.ToolCalls[i].Arguments != args {
				t.Errorf("%s: want %s %s, got %+v", c.Name, w.Name, args, got.ToolCalls[i])
			}
		}
	}
}

// tags writes a call block in short: [calls] [invoke f] [p a s] value [/p] [/invoke] [/calls], s and j for the type.
func tags(s string) string {
	return strings.NewReplacer(
		"[calls]", "<｜DSML｜tool_calls>", "[/calls]", "</｜DSML｜tool_calls>",
		"[invoke f]", `<｜DSML｜invoke name="f">`, "[/invoke]", "</｜DSML｜invoke>",
		"[p a]", `<｜DSML｜parameter name="a">`, "[p a s]", `<｜DSML｜parameter name="a" string="true">`,
		"[p a j]", `<｜DSML｜parameter name="a" string="false">`, "[p b s]", `<｜DSML｜parameter name="b" string="true">`,
		"[p b j]", `<｜DSML｜parameter name="b" string="false">`, "[p n]", `<｜DSML｜parameter name="n">`,
		"[p n s]", `<｜DSML｜parameter name="n" string="true">`,
		"[p input j]", `<｜DSML｜parameter name="input" string="false">`,
		"[p arguments s]", `<｜DSML｜parameter name="arguments" string="true">`,
		"[/p]", "</｜DSML｜parameter>",
	).Replace(s)
}

// What to make of blocks that are malformed, cut short or in the wrong place. {} stands for the arguments of a call,
// one after the other; a cut-off call is in braces of its own.
func TestParserRecommended(t *testing.T) {
	declared := tools(t, []json.RawMessage{json.RawMessage(`{"name":"f","parameters":{"properties":{
		"a":{"type":"string"},"b":{},"n":{"type":"integer"}}}}`)})
	const whole = "\n\n[calls]\n[invoke f]\n[p a s]v[/p]\n[/invoke]\n[/calls]"
	for _, c := range []struct {
		name                       string
		o                          ParserOptions
		end                        End
		text                       string
		reasoning, content, finish string
		calls                      []string // arguments
		incomplete                 string
	}{
		{name: "plain", text: "t" + whole, content: "t", finish: FinishToolCalls, calls: []string{`{"a":"v"}`}},
		{name: "block in unclosed reasoning", o: ParserOptions{Thinking: true}, text: "r" + whole,
			reasoning: "r", finish: FinishToolCalls, calls: []string{`{"a":"v"}`}},
		{name: "the same and white space", o: ParserOptions{Thinking: true}, text: "r" + whole + "\n ",
			reasoning: "r", finish: FinishToolCalls, calls: []string{`{"a":"v"}`}},
		{name: "block in unclosed reasoning, strict", o: ParserOptions{Thinking: true, Strict: true}, text: "r" + whole,
			reasoning: "r" + whole, finish: FinishStop},
		{name: "block in unclosed reasoning, not at the end", o: ParserOptions{Thinking: true}, text: "r" + whole + "\nx",
			reasoning: "r" + whole + "\nx", finish: FinishStop},
		{name: "block in unclosed reasoning, incomplete", o: ParserOptions{Thinking: true}, text: "r[calls]\n[invoke f]",
			reasoning: "r[calls]\n[invoke f]", finish: FinishStop},
		{name: "block quoted in reasoning", o: ParserOptions{Thinking: true}, text: "r" + whole + "</think>t" + whole,
			reasoning: "r" + whole, content: "t", finish: FinishToolCalls, calls: []string{`{"a":"v"}`}},
		{name: "start tag quoted in reasoning", o: ParserOptions{Thinking: true}, text: "use [calls].</think>t" + whole,
			reasoning: "use [calls].", content: "t", finish: FinishToolCalls, calls: []string{`{"a":"v"}`}},
		{name: "two quoted blocks in reasoning", o: ParserOptions{Thinking: true}, text: "r" + whole + whole,
			reasoning: "r" + whole, finish: FinishToolCalls, calls: []string{`{"a":"v"}`}},
		{name: "text between tags in reasoning", o: ParserOptions{Thinking: true}, text: "r[calls]so: [invoke f][/invoke][/calls]",
			reasoning: "r[calls]so: [invoke f][/invoke][/calls]", finish: FinishStop},
		{name: "EOS in a value", text: "t\n\n[calls]\n[invoke f]\n[p a s]v", content: "t", finish: FinishStop, incomplete: `{"a":"v"}`},
		{name: "length in a value", end: EndLength, text: "t\n\n[calls]\n[invoke f]\n[p a s]v", content: "t", finish: FinishLength, incomplete: `{"a":"v"}`},
		{name: "length in a JSON value", end: EndLength, text: "[calls][invoke f][p a s]v[/p][p b j]{\"x\":", finish: FinishLength, incomplete: `{"a":"v"}`},
		{name: "length in the second call", end: EndLength, text: "[calls][invoke f][p a s]v[/p][/invoke][invoke f][p a s]w",
			finish: FinishLength, calls: []string{`{"a":"v"}`}, incomplete: `{"a":"w"}`},
		{name: "length in a tag", end: EndLength, text: "t[calls]\n<｜DSML｜inv", content: "t", finish: FinishLength},
		{name: "block not closed", text: "t\n\n[calls]\n[invoke f]\n[p a s]v[/p]\n[/invoke]\n", content: "t", finish: FinishToolCalls, calls: []string{`{"a":"v"}`}},
		{name: "block not closed, length", end: EndLength, text: "t\n\n[calls]\n[invoke f]\n[p a s]v[/p]\n[/invoke]\n", content: "t", finish: FinishLength, calls: []string{`{"a":"v"}`}},
		{name: "call not closed", text: "[calls]\n[invoke f]\n[p a s]v[/p]\n[/calls]", finish: FinishToolCalls, calls: []string{`{"a":"v"}`}},
		{name: "call not closed before the next", text: "[calls][invoke f][p a s]v[/p][invoke f][p a s]w[/p][/invoke][/calls]",
			finish: FinishToolCalls, calls: []string{`{"a":"v"}`, `{"a":"w"}`}},
		{name: "parameter not closed", text: "[calls]\n[invoke f]\n[p a s]v\n[p b s]w[/p]\n[/invoke]\n[/calls]",
			finish: FinishToolCalls, calls: []string{`{"a":"v","b":"w"}`}},
		{name: "last parameter not closed", text: "[calls]\n[invoke f]\n[p a s]v\n[/invoke]\n[/calls]", finish: FinishToolCalls, calls: []string{`{"a":"v"}`}},
		{name: "JSON parameter not closed", text: "[calls]\n[invoke f]\n[p b j]7\n[p a s]w[/p]\n[/invoke]\n[/calls]",
			finish: FinishToolCalls, calls: []string{`{"b":7,"a":"w"}`}},
		{name: "call without a name", text: "t\n\n[calls]\n<｜DSML｜invoke nam=\"f\">\n[/invoke]\n[/calls]",
			content: "t\n\n[calls]\n<｜DSML｜invoke nam=\"f\">\n[/invoke]\n[/calls]", finish: FinishStop},
		{name: "call without a name beside another", text: "t[calls]<｜DSML｜invoke>[p a s]x[/p][/invoke][invoke f][/invoke][/calls]",
			content: "t", finish: FinishToolCalls, calls: []string{`{}`}},
		{name: "text between tags", text: "t[calls]so: [invoke f]and[p a s]v[/p]then[/invoke]done[/calls]",
			content: "t", finish: FinishToolCalls, calls: []string{`{"a":"v"}`}},
		{name: "a mention of the tag", text: "t [calls] begins it", content: "t [calls] begins it", finish: FinishStop},
		{name: "a mention of the tag, then a block", text: "t [calls] begins it" + whole, content: "t [calls] begins it\n\n",
			finish: FinishToolCalls, calls: []string{`{"a":"v"}`}},
		{name: "no type, declared a string", o: ParserOptions{Tools: declared}, text: "[calls][invoke f][p a]7[/p][/invoke][/calls]",
			finish: FinishToolCalls, calls: []string{`{"a":"7"}`}},
		{name: "no type, declared an integer", o: ParserOptions{Tools: declared}, text: "[calls][invoke f][p n]7[/p][/invoke][/calls]",
			finish: FinishToolCalls, calls: []string{`{"n":7}`}},
		{name: "no type, declared an integer, is none", o: ParserOptions{Tools: declared}, text: "[calls][invoke f][p n][7][/p][/invoke][/calls]",
			finish: FinishToolCalls, calls: []string{`{"n":"[7]"}`}},
		{name: "no type, not declared", text: "[calls][invoke f][p a]7[/p][p n]seven[/p][/invoke][/calls]", finish: FinishToolCalls, calls: []string{`{"a":7,"n":"seven"}`}},
		{name: "JSON that is none", text: "[calls][invoke f][p a j]three[/p][p b j][/p][/invoke][/calls]", finish: FinishToolCalls, calls: []string{`{"a":"three","b":""}`}},
		{name: "JSON is made compact, not respelled", text: "[calls][invoke f][p a j] {\"x\" : [1e3, -0,\n\"a \\u00e9\"]}\n[/p][/invoke][/calls]",
			finish: FinishToolCalls, calls: []string{`{"a":{"x":[1e3,-0,"a \u00e9"]}}`}},
		{name: "a string declared a number", o: ParserOptions{Tools: declared}, text: "[calls][invoke f][p n s]7[/p][/invoke][/calls]",
			finish: FinishToolCalls, calls: []string{`{"n":"7"}`}},
		{name: "a string declared a number, coerced", o: ParserOptions{Tools: declared, CoerceStrings: true}, text: "[calls][invoke f][p n s]7[/p][p a s]7[/p][/invoke][/calls]",
			finish: FinishToolCalls, calls: []string{`{"n":7,"a":"7"}`}},
		{name: "twice the same parameter", text: "[calls][invoke f][p a s]v[/p][p a s]w[/p][/invoke][/calls]", finish: FinishToolCalls, calls: []string{`{"a":"v","a":"w"}`}},
		{name: "wrapper", o: ParserOptions{Tools: declared}, text: "[calls][invoke f][p input j]{\"a\": \"v\", \"n\": 1}[/p][/invoke][/calls]",
			finish: FinishToolCalls, calls: []string{`{"a":"v","n":1}`}},
		{name: "wrapper as a string", o: ParserOptions{Tools: declared}, text: "[calls][invoke f][p arguments s]{\"a\": \"v\"}[/p][/invoke][/calls]",
			finish: FinishToolCalls, calls: []string{`{"a":"v"}`}},
		{name: "wrapper with other keys", o: ParserOptions{Tools: declared}, text: "[calls][invoke f][p input j]{\"z\": 1}[/p][/invoke][/calls]",
			finish: FinishToolCalls, calls: []string{`{"input":{"z":1}}`}},
		{name: "wrapper not alone", o: ParserOptions{Tools: declared}, text: "[calls][invoke f][p input j]{\"a\": 1}[/p][p a s]v[/p][/invoke][/calls]",
			finish: FinishToolCalls, calls: []string{`{"input":{"a":1},"a":"v"}`}},
		{name: "wrapper of an unknown tool", text: "[calls][invoke f][p input j]{\"a\": 1}[/p][/invoke][/calls]", finish: FinishToolCalls, calls: []string{`{"input":{"a":1}}`}},
		{name: "wrapper cut off", o: ParserOptions{Tools: declared}, text: "[calls][invoke f][p input j]{\"a\": 1}[/p]", finish: FinishStop, incomplete: `{"input":{"a":1}}`},
		{name: "object for a body", text: "[calls][invoke f]\n{\"a\": \"<b>\", \"n\": [1]}\n[/invoke][/calls]", finish: FinishToolCalls, calls: []string{`{"a":"<b>","n":[1]}`}},
		{name: "body that is none", text: "[calls][invoke f]{a[/invoke][/calls]", finish: FinishToolCalls, calls: []string{`{}`}},
		{name: "text before a brace", text: "[calls][invoke f]so {\"b\": 1}[p a s]v[/p][/invoke][/calls]", finish: FinishToolCalls, calls: []string{`{"a":"v"}`}},
		{name: "body cut off", text: "[calls][invoke f]{\"a\":", finish: FinishStop, incomplete: `{}`},
		{name: "end tag alone", text: "t[/calls]\n[/invoke]u", content: "t[/calls]\n[/invoke]u", finish: FinishStop},
		{name: "second end of reasoning", o: ParserOptions{Thinking: true}, text: "a</think>b</think>c", reasoning: "a", content: "bc", finish: FinishStop},
		{name: "beginning of reasoning again", o: ParserOptions{Thinking: true}, text: "<think>a<think>b</think>c<think>d", reasoning: "ab", content: "c<think>d", finish: FinishStop},
		{name: "reasoning in chat mode", text: "<think>a</think>b", reasoning: "a", content: "b", finish: FinishStop},
		{name: "unfinished reasoning", o: ParserOptions{Thinking: true}, end: EndLength, text: "hm</thi", reasoning: "hm</thi", finish: FinishLength},
		{name: "text after the block", text: "t" + whole + "bye", content: "t", finish: FinishToolCalls, calls: []string{`{"a":"v"}`}},
		{name: "one line break before the block", text: "t\n[calls][invoke f][/invoke][/calls]", content: "t", finish: FinishToolCalls, calls: []string{`{}`}},
		{name: "three line breaks before the block", text: "t\n\n\n[calls][invoke f][/invoke][/calls]", content: "t\n", finish: FinishToolCalls, calls: []string{`{}`}},
		{name: "empty block", text: "t[calls]\n[/calls]", content: "t[calls]\n[/calls]", finish: FinishStop},
		{name: "no calls wanted", o: ParserOptions{NoCalls: true}, text: "t" + whole, content: "t" + whole, finish: FinishStop},
		{name: "short spelling", text: "t\n\n<DSML｜tool_calls>\n<DSML｜invoke name=\"f\">\n<DSML｜parameter name=\"a\" string=\"true\">v</DSML｜parameter>\n</DSML｜invoke>\n</DSML｜tool_calls>",
			content: "t", finish: FinishToolCalls, calls: []string{`{"a":"v"}`}},
		{name: "bare spelling, tags in a value", text: "<tool_calls><invoke name=\"f\"><parameter name=\"a\" string=\"true\"><b></invoke></parameter></invoke></tool_calls>",
			finish: FinishToolCalls, calls: []string{`{"a":"<b></invoke>"}`}},
		{name: "bare tag in text", text: "an <tool_calls> element", content: "an <tool_calls> element", finish: FinishStop},
		{name: "bare tag at the end", text: "an <tool_calls>\n", content: "an <tool_calls>\n", finish: FinishStop},
		{name: "entities stay", text: "[calls][invoke f][p a s]&lt;\"\\\t\x01é🚩[/p][/invoke][/calls]", finish: FinishToolCalls, calls: []string{`{"a":"&lt;\"\\\t\u0001é🚩"}`}},
		{name: "line breaks in a value", text: "[calls][invoke f][p a s]\nx\n\n[/p][/invoke][/calls]", finish: FinishToolCalls, calls: []string{`{"a":"\nx\n\n"}`}},
		{name: "half a character at the end", text: "日\xe6\x9c", content: "日\xe6\x9c", finish: FinishStop},
		{name: "bytes that are no text in a value", text: "[calls][invoke f][p a s]x\xffy[/p][/invoke][/calls]", finish: FinishToolCalls, calls: []string{"{\"a\":\"x\uFFFDy\"}"}},
		{name: "stop", o: ParserOptions{Stops: []string{"STOP", "é世"}}, text: "a STO é STOP b", content: "a STO é ", finish: FinishStop},
		{name: "stop not in reasoning", o: ParserOptions{Thinking: true, Stops: []string{"x"}}, text: "x</think>yx", reasoning: "x", content: "y", finish: FinishStop},
		{name: "stop not in a call", o: ParserOptions{Stops: []string{"v", "\n\n"}}, text: "t" + whole, content: "t", finish: FinishToolCalls, calls: []string{`{"a":"v"}`}},
		{name: "stop not completed", o: ParserOptions{Stops: []string{"t\n"}}, text: "at" + whole, content: "at", finish: FinishToolCalls, calls: []string{`{"a":"v"}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := everySplit(t, c.o, c.end, tags(c.text))
			var calls []string
			for _, call := range r.Message.ToolCalls {
				calls = append(calls, call.Arguments)
			}
			incomplete := ""
			if r.Incomplete != nil {
				incomplete = r.Incomplete.Arguments
			}
			if r.Message.Reasoning != tags(c.reasoning) || r.Message.Content != tags(c.content) || r.Finish != c.finish ||
				!slices.Equal(calls, c.calls) || incomplete != c.incomplete {
				t.Errorf("%s:\nwant %q, %q, %s, %q, %q\n got %q, %q, %s, %q, %q", tags(c.text), tags(c.reasoning), tags(c.content), c.finish,
					c.calls, c.incomplete, r.Message.Reasoning, r.Message.Content, r.Finish, calls, incomplete)
			}
			if b := r.Message.Block; b != nil && !strings.Contains(tags(c.text), b.Text) {
				t.Errorf("want a block that was sampled, got %q", b.Text)
			}
			if (r.Message.Block != nil) != (len(c.calls) > 0 && strings.Contains(c.text, "/calls]")) && !strings.Contains(c.name, "spelling") {
				t.Errorf("want a block when it was closed, got %+v", r.Message.Block)
			}
		})
	}
}

// The captured token pieces of another server's runs: cut as they were and as a whole, they say the same.
func TestParserWirePieces(t *testing.T) {
	cases := golden[struct {
		Name    string
		Text    string   `json:"generated_text"`
		Pieces  []string `json:"pieces_hex"`
		Request struct{ Tools []json.RawMessage }
	}](t, "ds4-wire.json")
	for _, c := range cases {
		var pieces []string
		for _, p := range c.Pieces {
			b, err := hex.DecodeString(p)
			if err != nil {
				t.Fatal(err)
			}
			pieces = append(pieces, string(b))
		}
		o := ParserOptions{Thinking: strings.Contains(c.Text, tokenizer.EndThink)}
		events, r := parse(t, o, EndEOS, pieces...)
		wholeEvents, whole := parse(t, o, EndEOS, strings.Join(pieces, ""))
		if !reflect.DeepEqual(events, wholeEvents) || !reflect.DeepEqual(r, whole) {
			t.Errorf("%s: want %+v, got %+v", c.Name, whole, r)
		}
	}
}

// Text is passed on as soon as it cannot be part of a tag, and calls as they form.
func TestParserIsPrompt(t *testing.T) {
	p := NewParser(ParserOptions{Thinking: true, NewID: func() string { return "1" }})
	for i, step := range []struct {
		in         string
		want       []Event
		structural bool
	}{
		{"I", []Event{{Kind: Reasoning, Text: "I"}}, false},
		{" a < b <", []Event{{Kind: Reasoning, Text: " a < b "}}, false},
		{"/th", nil, false},
		{" use <｜DSML｜tool_calls>", []Event{{Kind: Reasoning, Text: "</th use "}}, false},
		{" so", []Event{{Kind: Reasoning, Text: "<｜DSML｜tool_calls> so"}}, false},
		{"</th", nil, false},
		{"ink>Hi \xe6", []Event{{Kind: Content, Text: "Hi "}}, false},
		{"\x97\xa5\n", []Event{{Kind: Content, Text: "日"}}, false},
		{"\n<", nil, false},
		{"｜DSML｜", nil, false},
		{"tool_calls", nil, false},
		{">\n<", nil, true},
		{"｜DSML｜", nil, true},
		{`invoke name="f">`, []Event{{Kind: ToolStart, ID: "1", Name: "f"}}, true},
		{"\n<｜DSML｜parameter name=\"a\" string=\"true\">", []Event{{Kind: ToolArgs, Text: `{"a":"`}}, false},
		{"x\"y", []Event{{Kind: ToolArgs, Text: `x\"y`}}, false},
		{"\n", nil, false},
		{"z<", []Event{{Kind: ToolArgs, Text: `\nz`}}, false},
		{"/", nil, true},
		{"｜DSML｜parameter>", []Event{{Kind: ToolArgs, Text: `"`}}, true},
		{"<｜DSML｜parameter name=\"b\" string=\"false\">", nil, true},
		{"{\"k", nil, false},
		{"\": ", nil, true},
		{"1}</｜DSML｜parameter>", []Event{{Kind: ToolArgs, Text: `,"b":{"k":1}`}}, true},
		{"\n</｜DSML｜invoke>", []Event{{Kind: ToolArgs, Text: `}`}, {Kind: ToolEnd}}, true},
		{"\n</｜DSML｜tool_calls>", []Event{{Kind: Done}}, false},
		{"more", nil, false},
	} {
		got := p.Write(step.in)
		if len(got)+len(step.want) > 0 && !reflect.DeepEqual(got, step.want) {
			t.Errorf("%q: want %+v, got %+v", step.in, step.want, got)
		}
		if want := i < 6; p.InReasoning() != want {
			t.Errorf("%q: want in reasoning %v, got %v", step.in, want, p.InReasoning())
		}
		if p.Structural() != step.structural {
			t.Errorf("%q: want structural %v, got %v", step.in, step.structural, p.Structural())
		}
	}
}

func TestStopOffset(t *testing.T) {
	const text = "r</think>one two three"
	for i := range text {
		_, r := parse(t, ParserOptions{Thinking: true, Stops: []string{"two", "three"}}, EndEOS, text[:i], text[i:])
		if r.Stop != "two" || text[:r.StopOffset] != "r</think>one " {
			t.Errorf("cut at %d: want two at %d, got %q at %d", i, len("r</think>one "), r.Stop, r.StopOffset)
		}
	}
}

func TestNewID(t *testing.T) {
	a, b := newID(), newID()
	if a == b || len(a) != len("call_")+32 || !strings.HasPrefix(a, "call_") {
		t.Errorf("want two random ids, got %s, %s", a, b)
	}
}

// FuzzParser cuts a completion in three and wants the same events as for the whole; and the same answer as the
// published parser's wherever that has one.
func FuzzParser(f *testing.F) {
	for _, s := range []string{
		"r</think>t\n\n[calls]\n[invoke f]\n[p a s]v[/p]\n[p b j]{\"x\": 1}[/p]\n[/invoke]\n[/calls]",
		"r\n\n[calls]\n[invoke f]\n\n[/invoke]\n[/calls]", "a < b <tool_calls> </thi", "[calls][calls][invoke f]{}[/calls]x",
		"r[calls]</think>[calls][invoke f][p input j]{\"a\":1}\n[p n]\xe6[/p]", "<think>x\n\n[calls]x[invoke f][p a s]<b>\n[/invoke]",
		"r</think>\n\n[calls]\n[invoke f]\n[p a s]é\u2028\x7f[/p]\n[/invoke]\n[invoke f]\n[/invoke]\n[/calls]",
		"r</think>\n\n[calls]\n[invoke f]\n[p a s]\xc3x\xa9\\ufffd\\u2028\\[/p]\n[/invoke]\n[/calls]",
	} {
		f.Add(tags(s), uint16(7), uint16(20), uint8(3))
	}
	declared := tools(f, []json.RawMessage{json.RawMessage(`{"name":"f","parameters":{"properties":{"a":{"type":"string"},"n":{"type":"integer"}}}}`)})
	f.Fuzz(func(t *testing.T, text string, i, j uint16, flags uint8) {
		o := ParserOptions{Thinking: flags&1 != 0, Strict: flags&4 != 0, CoerceStrings: flags&8 != 0, NoCalls: flags&64 != 0}
		if flags&2 != 0 {
			o.Tools = declared
		}
		if flags&16 != 0 {
			o.Stops = []string{"ab", "b\n", "<"}
		}
		end := End(flags >> 5 & 1)
		events, r := parse(t, o, end, text)
		a := int(i) % (len(text) + 1)
		b := a + int(j)%(len(text)-a+1)
		cutEvents, cut := parse(t, o, end, text[:a], text[a:b], text[b:])
		if !reflect.DeepEqual(events, cutEvents) || !reflect.DeepEqual(r, cut) {
			t.Errorf("cut at %d and %d:\nwant %+v\n     %+v\n got %+v\n     %+v", a, b, events, r, cutEvents, cut)
		}
		if strict, err := parseStrict(text+tokenizer.EOS, o.Thinking); err == nil && !o.NoCalls && o.Stops == nil && !o.CoerceStrings {
			sameAsStrict(t, strict, r, text, o.Thinking)
		}
	})
}

func sameAsStrict(t *testing.T, want Message, r Result, text string, thinking bool) {
	t.Helper()
	got := r.Message
	if strings.HasPrefix(text, tokenizer.Think) || strings.Contains(text, "tool_calls>") && !strings.Contains(text, dsml.start) {
		return // what the published parser takes for text
	}
	for _, d := range dialects[1:] {
		if strings.Contains(text, d.start) {
			return
		}
	}
	if got.Reasoning != want.Reasoning || got.Content != want.Content || len(got.ToolCalls) != len(want.ToolCalls) {
		t.Fatalf("want %+v, got %+v", want, got)
	}
	for i, c := range want.ToolCalls {
		args, ok := compactJSON(c.Arguments)
		if ok && r.Message.ToolCalls[i].Arguments != args && !strings.Contains(args, `"arguments"`) && !strings.Contains(args, `"input"`) {
			t.Errorf("want arguments %s, got %s", args, got.ToolCalls[i].Arguments)
		}
	}
	if got.Block != nil && thinking && got.Reasoning+tokenizer.EndThink+got.Content+got.Block.Text != text {
		t.Errorf("want the parts to make the whole %q, got %+v", text, got)
	}
}

// BenchmarkParser reads an answer in pieces of a token's size, the way a server does.
func BenchmarkParser(b *testing.B) {
	text := strings.Repeat("a < b, and so on.\n", 200) + "</think>" + strings.Repeat("Some text\n\nmore. ", 200) +
		tags("\n\n[calls]\n[invoke f]\n[p a s]"+strings.Repeat("line <x>\n", 400)+"[/p]\n[p b j]["+strings.Repeat(`"x", `, 800)+"1][/p]\n[/invoke]\n[/calls]")
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		p := NewParser(ParserOptions{Thinking: true})
		for i := 0; i < len(text); i += 4 {
			p.Write(text[i:min(i+4, len(text))])
			p.Structural()
		}
		if _, r := p.Finish(EndEOS); len(r.Message.ToolCalls) != 1 {
			b.Fatal("want a call")
		}
	}
}
