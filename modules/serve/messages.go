package serve

import (
	"net/http"
	"strings"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/serve/wire"
)

// messages is POST /v1/messages.
func (s *Server) messages(c *call) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	q := s.readAnthropic(o)
	if err := o.Err(); err != nil {
		return err
	}
	j, err := c.submit(q, "messages")
	if err != nil {
		return err
	}
	if q.stream {
		return c.streamMessage(j)
	}
	if err := c.whole(j); err != nil {
		return err
	}
	return c.json(http.StatusOK, anthropicResponseOf(j))
}

// countTokens is POST /v1/messages/count_tokens: what the prompt would have, without the engine.
func (s *Server) countTokens(c *call) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	q := s.readAnthropic(o)
	if err := o.Err(); err != nil {
		return err
	}
	tools := q.tools
	if q.choice.none {
		tools = nil
	}
	segments, err := chat.Render(chat.WithTools(q.messages, tools), chat.Options{Checkpoint: s.c.Checkpoint, Thinking: q.thinking,
		KeepReasoningWithCalls: s.c.KeepReasoning})
	if err != nil {
		return wire.BadRequest("messages", "%s", err)
	}
	ids, _ := chat.Tokens(s.c.Tokenizer, segments)
	return c.json(http.StatusOK, map[string]int{"input_tokens": len(ids)})
}

func (s *Server) readAnthropic(o wire.Obj) *completion {
	q := s.newCompletion()
	q.readModel(o)
	q.readSampling(o)
	q.readLimit(o, "max_tokens")
	o.Strings("stop_sequences", &q.stops, maxStops)
	path, effort := "reasoning_effort", o.Get("reasoning_effort")
	if out, ok := o.Object("output_config"); ok {
		q.readFormat(out, "format")
		if out.Has("effort") {
			path, effort = "output_config.effort", out.Get("effort")
		}
	}
	q.readThinking(o, s.c.Checkpoint, s.c.Ctx, path, effort, false)
	q.readFormat(o, "output_format")
	o.Refuse(neutral, "mcp_servers", "container")
	q.readTools(o, "custom")
	q.readAnthropicChoice(o)
	if !o.Has("messages") {
		o.Fail("messages", "want an array, got nothing")
	}
	if text := readSystem(o); text != "" {
		q.messages = append(q.messages, chat.Message{Role: chat.RoleSystem, Content: text})
	}
	items, _ := o.Array("messages")
	if len(items) > maxMessages {
		o.Fail("messages", "want at most %d, got %d", maxMessages, len(items))
		return q
	}
	calls := asked{}
	for i := range items {
		m, ok := o.Item("messages", i, &items[i])
		if !ok {
			return q
		}
		q.messages = append(q.messages, calls.readMessage(m)...)
	}
	if n := len(q.messages) - 1; n >= 0 && q.messages[n].Role == chat.RoleAssistant && len(q.messages[n].ToolCalls) == 0 {
		q.messages[n].NoEOS = true // to be continued
	}
	return q
}

func (q *completion) readAnthropicChoice(o wire.Obj) {
	t, ok := o.Object("tool_choice")
	if !ok {
		return
	}
	kind := "auto"
	t.Choice("type", &kind, "auto", "any", "tool", "none")
	q.choice.none, q.choice.required = kind == "none", kind == "any"
	if kind == "tool" {
		if t.String("name", &q.choice.name); q.choice.name == "" {
			t.Fail("name", "want a tool's name")
		}
	}
	t.Bool("disable_parallel_tool_use", &q.oneCall)
}

// readSystem reads the system text. Parts that a client adds for its vendor's billing would differ from call to call.
func readSystem(o wire.Obj) string {
	text, parts := readContent(o, "system", "text")
	var kept []string
	for _, p := range parts {
		if !strings.HasPrefix(p.Text, "x-anthropic-") {
			kept = append(kept, p.Text)
		}
	}
	if parts != nil {
		return strings.Join(kept, "\n")
	}
	return text
}

// readMessage reads one of Anthropic's messages, of which the encoding makes several: results of tools are messages of their
// own.
func (a asked) readMessage(m wire.Obj) []chat.Message {
	role := ""
	if m.Choice("role", &role, "user", "assistant", "system"); role == "" {
		m.Fail("role", "want user or assistant")
		return nil
	}
	n := m.Get("content")
	if n.Kind != wire.Array {
		text := ""
		m.String("content", &text)
		return []chat.Message{{Role: chat.Role(role), Content: text}}
	}
	if role == "assistant" {
		return []chat.Message{a.readTurn(m, n)}
	}
	var out []chat.Message
	for i := range n.Items {
		b, ok := m.Item("content", i, &n.Items[i])
		if !ok {
			return nil
		}
		kind := ""
		b.Choice("type", &kind, "text", "tool_result")
		if kind == "tool_result" {
			t := chat.Message{Role: chat.RoleTool}
			b.String("tool_use_id", &t.ToolCallID)
			a.result(b, "tool_use_id", t.ToolCallID)
			t.Content, t.Parts = readContent(b, "content", "text")
			out = append(out, t)
			continue
		}
		text := ""
		if b.String("text", &text); kind == "" || !b.Has("text") {
			b.Fail("type", "want a text or a tool_result")
			return nil
		}
		part := chat.Part{Type: "text", Text: text}
		if k := len(out) - 1; k >= 0 && out[k].Role == chat.Role(role) {
			out[k].Parts = append(out[k].Parts, part)
		} else {
			out = append(out, chat.Message{Role: chat.Role(role), Parts: []chat.Part{part}})
		}
	}
	if len(out) == 0 {
		out = []chat.Message{{Role: chat.Role(role)}}
	}
	return out
}

func (a asked) readTurn(m wire.Obj, n *wire.Node) chat.Message {
	out := chat.Message{Role: chat.RoleAssistant}
	for i := range n.Items {
		b, ok := m.Item("content", i, &n.Items[i])
		if !ok {
			return out
		}
		kind, text := "", ""
		b.Choice("type", &kind, "text", "thinking", "redacted_thinking", "tool_use")
		switch kind {
		case "text":
			b.String("text", &text)
			out.Content += text
		case "thinking":
			b.String("thinking", &text)
			out.Reasoning += text
		case "tool_use":
			call := chat.ToolCall{Arguments: argumentsOf(b.Get("input"))}
			b.String("id", &call.ID)
			if b.String("name", &call.Name); call.Name == "" {
				b.Fail("name", "want a name, got nothing")
			}
			a[call.ID] = true
			out.ToolCalls = append(out.ToolCalls, call)
		case "":
			b.Fail("type", "want text, thinking or tool_use")
		}
	}
	return out
}
