package serve

import (
	"iter"
	"net/http"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/serve/wire"
)

// chatCompletions is POST /v1/chat/completions.
func (s *Server) chatCompletions(c *call) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	q := s.readChat(o)
	if err := o.Err(); err != nil {
		return err
	}
	j, err := c.submit(q, "messages")
	if err != nil {
		return err
	}
	if q.stream {
		return c.streamChat(j)
	}
	if err := c.whole(j); err != nil {
		return err
	}
	return c.json(http.StatusOK, chatResponseOf(j))
}

// neutral says that a value asks for what is done anyway: false, 0, "", [], {"type":"text"} and the like.
func neutral(n *wire.Node) bool {
	switch n.Kind {
	case wire.Bool:
		return n.Text == "false"
	case wire.Array:
		return len(n.Items) == 0 || len(n.Items) == 1 && n.Items[0].Text == "text"
	case wire.Object:
		return len(n.Keys) == 0 || n.Get("type").Text == "text"
	case wire.String:
		return n.Text == "" || n.Text == "none" || n.Text == "text"
	}
	return n.Text == "0"
}

func (s *Server) readChat(o wire.Obj) *completion {
	q := s.newCompletion()
	q.readModel(o)
	q.readSampling(o)
	q.readLimit(o, "max_completion_tokens", "max_tokens")
	q.readBias(o, s.c.Tokenizer.ID, s.c.Tokenizer.Len())
	o.Strings("stop", &q.stops, maxStops)
	o.Int("n", &q.n, 1, maxChoices)
	q.readLogprobs(o)
	q.readThinking(o, s.c.Checkpoint, s.c.Ctx, "reasoning_effort", o.Get("reasoning_effort"), false)
	q.readFormat(o, "response_format")
	o.Refuse(neutral, "modalities", "audio", "prediction", "functions", "function_call", "web_search_options")
	if !o.Has("messages") {
		o.Fail("messages", "want an array, got nothing")
	}
	q.readTools(o, "function")
	q.readToolChoice(o)
	q.messages = readMessages(o)
	return q
}

func (q *completion) readLogprobs(o wire.Obj) {
	on, top := false, 0
	o.Bool("logprobs", &on)
	if o.Int("top_logprobs", &top, 0, maxTopLogprobs) && !on && top > 0 {
		o.Fail("top_logprobs", "want logprobs to be true as well")
	}
	if on {
		q.logprobs = top
	}
}

// readTools reads the declarations; kind is the only type of tool that is known, "" for Anthropic's, which need none.
func (q *completion) readTools(o wire.Obj, kind string) {
	for item, n := range declarations(o) {
		if t := item.Get("type"); t.Kind == wire.String && t.Text != kind && t.Text != "custom" {
			item.Fail("type", "want %q, got %q", kind, clip(t.Text, 40))
			return
		}
		if !q.declare(item, n.Raw) {
			return
		}
	}
}

// declarations are the tools of a request, up to the first that is no object: that one, and too many, are errors of o.
func declarations(o wire.Obj) iter.Seq2[wire.Obj, *wire.Node] {
	return func(yield func(wire.Obj, *wire.Node) bool) {
		items, _ := o.Array("tools")
		if len(items) > maxTools {
			o.Fail("tools", "want at most %d, got %d", maxTools, len(items))
			return
		}
		for i := range items {
			item, ok := o.Item("tools", i, &items[i])
			if !ok || !yield(item, &items[i]) {
				return
			}
		}
	}
}

func (q *completion) readToolChoice(o wire.Obj) {
	n := o.Get("tool_choice")
	switch n.Kind {
	case wire.Null:
	case wire.String:
		how := ""
		o.Choice("tool_choice", &how, "none", "auto", "required")
		q.choice.none, q.choice.required = how == "none", how == "required"
	default:
		t, ok := o.Object("tool_choice")
		if !ok {
			return
		}
		kind := ""
		t.Choice("type", &kind, "function")
		if f, ok := t.Object("function"); ok {
			f.String("name", &q.choice.name)
		} else {
			t.String("name", &q.choice.name) // as /v1/responses has it
		}
		if q.choice.name == "" {
			t.Fail("function.name", "want a tool's name")
		}
	}
	parallel := true
	o.Bool("parallel_tool_calls", &parallel)
	q.oneCall = !parallel
}

// readMessages reads the conversation in OpenAI's shape.
func readMessages(o wire.Obj) []chat.Message {
	items, _ := o.Array("messages")
	if len(items) > maxMessages {
		o.Fail("messages", "want at most %d, got %d", maxMessages, len(items))
		return nil
	}
	var out []chat.Message
	for i := range items {
		m, ok := o.Item("messages", i, &items[i])
		if !ok {
			return nil
		}
		out = append(out, readMessage(m))
	}
	if n := len(out) - 1; n >= 0 && out[n].Role == chat.RoleAssistant && len(out[n].ToolCalls) == 0 {
		out[n].NoEOS = true // to be continued
	}
	return out
}

func readMessage(m wire.Obj) chat.Message {
	role := "user"
	m.Choice("role", &role, "system", "developer", "user", "assistant", "tool", "function")
	out := chat.Message{Role: chat.Role(role)}
	switch role {
	case "developer":
		out.Role = chat.RoleSystem
	case "function":
		out.Role = chat.RoleTool
		m.String("name", &out.ToolCallID)
	case "tool":
		m.String("tool_call_id", &out.ToolCallID)
	case "assistant":
		m.String("reasoning", &out.Reasoning)
		m.String("reasoning_content", &out.Reasoning)
		m.Objects("tool_calls", func(_ int, c wire.Obj) { out.ToolCalls = append(out.ToolCalls, readCall(c)) })
		m.Refuse(neutral, "audio", "function_call")
	}
	out.Content, out.Parts = readContent(m, "content", "text", "input_text", "output_text", "refusal")
	return out
}

// readContent reads a text, or parts of the given types.
func readContent(m wire.Obj, key string, types ...string) (string, []chat.Part) {
	n := m.Get(key)
	switch n.Kind {
	case wire.Null:
		return "", nil
	case wire.String:
		return n.Text, nil
	}
	parts := []chat.Part{}
	items, ok := m.Array(key)
	for i := range items {
		if items[i].Kind == wire.String {
			parts = append(parts, chat.Part{Type: "text", Text: items[i].Text})
			continue
		}
		p, ok := m.Item(key, i, &items[i])
		if !ok {
			return "", nil
		}
		kind := "text"
		p.Choice("type", &kind, types...)
		field := "text"
		if kind == "refusal" {
			field = "refusal"
		}
		if !p.Has(field) {
			p.Fail(field, "want a string, got nothing")
		}
		part := chat.Part{Type: "text"}
		p.String(field, &part.Text)
		parts = append(parts, part)
	}
	if !ok {
		return "", nil
	}
	return "", parts
}

func readCall(c wire.Obj) chat.ToolCall {
	kind := "function"
	c.Choice("type", &kind, "function")
	call := chat.ToolCall{Arguments: "{}"}
	c.String("id", &call.ID)
	f, ok := c.Object("function")
	if !ok {
		c.Fail("function", "want an object, got nothing")
		return call
	}
	f.String("name", &call.Name)
	if call.Name == "" {
		f.Fail("name", "want a name, got nothing")
	}
	call.Arguments = argumentsOf(f.Get("arguments"))
	return call
}

// argumentsOf are the arguments of a call, sent as JSON or as a text that holds it.
func argumentsOf(n *wire.Node) string {
	switch n.Kind {
	case wire.Null:
		return "{}"
	case wire.String:
		return n.Text
	}
	return string(n.Compact(nil))
}
