package serve

import (
	"encoding/json"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/serve/wire"
)

// inputReader makes messages of the items of /v1/responses. Reasoning comes before what it led to, and calls after the
// text of their turn, each as an item of its own.
type inputReader struct {
	s       *Server
	msgs    []chat.Message
	calls   asked
	pending string // reasoning that waits for its turn
	turn    bool   // the last message is an assistant's that this input began: calls may join it
}

func (in *inputReader) item(o wire.Obj) {
	kind := "message"
	o.String("type", &kind)
	status := "completed"
	o.Choice("status", &status, "completed", "incomplete", "in_progress")
	switch kind {
	case "message":
		in.message(o)
	case "reasoning":
		in.reasoning(o)
	case "function_call", "custom_tool_call":
		in.call(o, kind)
	case "function_call_output", "custom_tool_call_output":
		in.flush()
		m := chat.Message{Role: chat.RoleTool}
		o.String("call_id", &m.ToolCallID)
		in.calls.result(o, "call_id", m.ToolCallID)
		m.Content, m.Parts = readContent(o, "output", "text", "input_text", "output_text")
		in.msgs = append(in.msgs, m)
		in.turn = false
	case "compaction", "context_compaction":
	default:
		o.Fail("type", "want message, reasoning, function_call or function_call_output, got %q", clip(kind, 40))
	}
}

func (in *inputReader) message(o wire.Obj) {
	role := "user"
	o.Choice("role", &role, "user", "assistant", "system", "developer")
	m := chat.Message{Role: chat.Role(role)}
	m.Content, m.Parts = readContent(o, "content", "input_text", "output_text", "text", "summary_text", "reasoning_text", "refusal")
	switch role {
	case "assistant":
		m.Reasoning, in.pending = in.pending, ""
	case "developer":
		m.Role = chat.RoleSystem
	}
	if role != "assistant" {
		in.flush()
	}
	in.msgs = append(in.msgs, m)
	in.turn = role == "assistant"
}

// flush gives reasoning that led to nothing an empty turn.
func (in *inputReader) flush() {
	if in.pending != "" {
		in.msgs = append(in.msgs, chat.Message{Role: chat.RoleAssistant, Reasoning: in.pending})
		in.pending = ""
	}
}

func (in *inputReader) reasoning(o wire.Obj) {
	text := ""
	add := func(key string) {
		o.Objects(key, func(_ int, p wire.Obj) {
			t := ""
			if p.String("text", &t); t != "" {
				if text != "" {
					text += "\n"
				}
				text += t
			}
		})
	}
	sealed := ""
	if o.String("encrypted_content", &sealed); sealed != "" {
		text, _ = in.s.stored.unseal(sealed) // another server's, or from before a restart: nothing to go on
	}
	if text == "" {
		add("content")
	}
	if text == "" {
		add("summary")
	}
	if in.pending != "" && text != "" {
		text = in.pending + "\n" + text
	}
	if text != "" {
		in.pending = text
	}
}

func (in *inputReader) call(o wire.Obj, kind string) {
	c := chat.ToolCall{Arguments: "{}"}
	o.String("id", &c.ID)
	o.String("call_id", &c.ID)
	if o.String("name", &c.Name); c.Name == "" {
		o.Fail("name", "want a name, got nothing")
		return
	}
	if kind == "custom_tool_call" {
		text := ""
		o.String("input", &text)
		b, _ := json.Marshal(map[string]string{"input": text}) // cannot fail
		c.Arguments = string(b)
	} else {
		c.Arguments = argumentsOf(o.Get("arguments"))
		space := ""
		o.String("namespace", &space)
		c.Name = space + c.Name
	}
	if !in.turn || in.pending != "" {
		in.msgs = append(in.msgs, chat.Message{Role: chat.RoleAssistant, Reasoning: in.pending})
		in.pending, in.turn = "", true
	}
	in.calls[c.ID] = true
	m := &in.msgs[len(in.msgs)-1]
	m.ToolCalls = append(m.ToolCalls[:len(m.ToolCalls):len(m.ToolCalls)], c)
}
