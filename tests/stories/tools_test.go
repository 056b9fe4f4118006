package stories

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"

	"github.com/ds4-go/ds4/tests/internal/program"
)

// function is a tool of the loop: what the model is told of it, and what it says when it is called.
type function struct {
	name, about string
	parameters  map[string]any
	result      string
}

var functions = []function{
	{"read_file", "Read the file", map[string]any{"path": map[string]string{"type": "string"}}, "grey window 41"},
	{"get_weather", "Get the weather", map[string]any{"city": map[string]string{"type": "string"}, "days": map[string]string{"type": "integer"}}, `{"temperature": 21}`},
}

func (f *function) required() (names []string) {
	for name := range f.parameters {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (f *function) schema() map[string]any {
	return map[string]any{"type": "object", "properties": f.parameters, "required": f.required()}
}

// What the user says, what is then called, and what the model makes of the last result.
var errands = []struct {
	says   string
	calls  []string
	answer string
}{
	{"Read the file with path docs/notes.md, then get the weather with city Oslo and days 3",
		[]string{`read_file {"path":"docs/notes.md"}`, `get_weather {"city":"Oslo","days":3}`}, "The temperature is 21."},
	{"Read the file with path src/main.go", []string{`read_file {"path":"src/main.go"}`}, "The result is: grey window 41"},
}

// loop is one API's side of the errands: say and give add to the conversation, and return what the model does: its calls,
// each as a name and a JSON object, or its answer.
type loop interface {
	say(text string) (calls []call, answer string, err error)
	give(c call, result string) (calls []call, answer string, err error)
}

type call struct {
	id, name string
	args     string // JSON
}

// TestToolLoop runs errands of three calls in all with their results in three APIs, with thinking and without.
func TestToolLoop(t *testing.T) {
	s := serve(t)
	for _, model := range []string{plain, thinks} {
		t.Run("chat/"+model, func(t *testing.T) { runErrands(t, newChatLoop(t, s, model)) })
		t.Run("responses/"+model, func(t *testing.T) { runErrands(t, newResponsesLoop(t, s, model)) })
		t.Run("messages/"+model, func(t *testing.T) { runErrands(t, newMessagesLoop(t, s, model)) })
	}
}

func runErrands(t *testing.T, l loop) {
	for _, e := range errands {
		calls, answer, err := l.say(e.says)
		var made []string
		for err == nil && len(calls) == 1 && len(made) < len(e.calls) {
			c := calls[0]
			i := slices.IndexFunc(functions, func(f function) bool { return f.name == c.name })
			if i < 0 {
				t.Fatalf("%q: calls %s, which is not declared", e.says, c.name)
			}
			made = append(made, c.name+" "+compact(t, c.args))
			calls, answer, err = l.give(c, functions[i].result)
		}
		if err != nil {
			t.Fatalf("%q: after %q: %v", e.says, made, err)
		}
		if !slices.Equal(made, e.calls) || len(calls) > 0 || answer != e.answer {
			t.Fatalf("%q: want %q, then %q, got %q, then %q and %v", e.says, e.calls, e.answer, made, answer, calls)
		}
	}
}

// compact is a JSON object without white space, its keys in order.
func compact(t *testing.T, text string) string {
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("arguments %q: %v", text, err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

type chatLoop struct {
	t *testing.T
	c openai.Client
	p openai.ChatCompletionNewParams
}

func newChatLoop(t *testing.T, s *program.Server, model string) *chatLoop {
	l := &chatLoop{t: t, c: openAI(s), p: question(model, "")}
	l.p.Messages = nil
	for _, f := range functions {
		l.p.Tools = append(l.p.Tools, openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: f.name,
			Description: openai.String(f.about), Parameters: shared.FunctionParameters(f.schema())}))
	}
	return l
}

func (l *chatLoop) say(text string) ([]call, string, error) { return l.ask(openai.UserMessage(text)) }

func (l *chatLoop) give(c call, result string) ([]call, string, error) {
	return l.ask(openai.ToolMessage(result, c.id))
}

func (l *chatLoop) ask(m openai.ChatCompletionMessageParamUnion) (calls []call, answer string, err error) {
	l.p.Messages = append(l.p.Messages, m)
	a, err := l.c.Chat.Completions.New(l.t.Context(), l.p)
	if err != nil {
		return nil, "", err
	}
	got := a.Choices[0]
	for _, c := range got.Message.ToolCalls {
		calls = append(calls, call{c.ID, c.Function.Name, c.Function.Arguments})
	}
	if (got.FinishReason == "tool_calls") != (len(calls) > 0) {
		return nil, "", fmt.Errorf("%d calls, finish reason %s", len(calls), got.FinishReason)
	}
	l.p.Messages = append(l.p.Messages, got.Message.ToParam())
	return calls, got.Message.Content, nil
}

type responsesLoop struct {
	t *testing.T
	c openai.Client
	p responses.ResponseNewParams
}

func newResponsesLoop(t *testing.T, s *program.Server, model string) *responsesLoop {
	l := &responsesLoop{t: t, c: openAI(s), p: responses.ResponseNewParams{Model: model, Temperature: openai.Float(0)}}
	for _, f := range functions {
		l.p.Tools = append(l.p.Tools, responses.ToolUnionParam{OfFunction: &responses.FunctionToolParam{Name: f.name,
			Description: openai.String(f.about), Parameters: f.schema()}})
	}
	return l
}

func (l *responsesLoop) say(text string) ([]call, string, error) {
	l.p.Input = responses.ResponseNewParamsInputUnion{OfString: openai.String(text)}
	return l.ask()
}

func (l *responsesLoop) give(c call, result string) ([]call, string, error) {
	out := responses.ResponseInputItemParamOfFunctionCallOutput(result)
	out.OfFunctionCallOutput.CallID = openai.String(c.id)
	l.p.Input = responses.ResponseNewParamsInputUnion{OfInputItemList: responses.ResponseInputParam{out}}
	return l.ask()
}

func (l *responsesLoop) ask() (calls []call, answer string, err error) {
	a, err := l.c.Responses.New(l.t.Context(), l.p)
	if err != nil {
		return nil, "", err
	}
	for _, o := range a.Output {
		if o.Type == "function_call" {
			c := o.AsFunctionCall()
			calls = append(calls, call{c.CallID, c.Name, c.Arguments})
		}
	}
	l.p.PreviousResponseID = openai.String(a.ID)
	return calls, a.OutputText(), nil
}

type messagesLoop struct {
	t *testing.T
	c anthropic.Client
	p anthropic.MessageNewParams
}

func newMessagesLoop(t *testing.T, s *program.Server, model string) *messagesLoop {
	l := &messagesLoop{t: t, c: anthropicClient(s), p: anthropic.MessageNewParams{Model: model, MaxTokens: 1500, Temperature: anthropic.Float(0)}}
	if model == thinks {
		l.p.Thinking = anthropic.ThinkingConfigParamOfEnabled(1024)
	}
	for _, f := range functions {
		l.p.Tools = append(l.p.Tools, anthropic.ToolUnionParam{OfTool: &anthropic.ToolParam{Name: f.name, Description: anthropic.String(f.about),
			InputSchema: anthropic.ToolInputSchemaParam{Properties: f.parameters, Required: f.required()}}})
	}
	return l
}

func (l *messagesLoop) say(text string) ([]call, string, error) {
	return l.ask(anthropic.NewTextBlock(text))
}

func (l *messagesLoop) give(c call, result string) ([]call, string, error) {
	return l.ask(anthropic.NewToolResultBlock(c.id, result, false))
}

func (l *messagesLoop) ask(block anthropic.ContentBlockParamUnion) (calls []call, answer string, err error) {
	l.p.Messages = append(l.p.Messages, anthropic.NewUserMessage(block))
	m, err := l.c.Messages.New(l.t.Context(), l.p)
	if err != nil {
		return nil, "", err
	}
	for _, b := range m.Content {
		switch b.Type {
		case "tool_use":
			use := b.AsToolUse()
			calls = append(calls, call{use.ID, use.Name, string(use.Input)})
		case "text":
			answer += b.AsText().Text
		}
	}
	if (m.StopReason == anthropic.StopReasonToolUse) != (len(calls) > 0) {
		return nil, "", fmt.Errorf("%d calls, stop reason %s", len(calls), m.StopReason)
	}
	l.p.Messages = append(l.p.Messages, m.ToParam())
	return calls, answer, nil
}
