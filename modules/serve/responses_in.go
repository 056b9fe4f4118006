package serve

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/serve/wire"
)

// inputReader makes messages of the items of /v1/responses. Reasoning comes before what it led to, and calls after the
// text of their turn, each as an item of its own.
type inputReader struct {
	s       *Server
	q       *responseRequest
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
	case "function_call", "custom_tool_call", "local_shell_call", "web_search_call", "tool_search_call", "image_generation_call":
		in.call(o, kind)
	case "function_call_output", "custom_tool_call_output", "local_shell_call_output", "web_search_call_output", "tool_search_output",
		"tool_search_call_output", "image_generation_call_output":
		in.result(o, kind)
	case "compaction", "context_compaction":
	default:
		o.Fail("type", "want message, reasoning, a call or the output of one, got %q", clip(kind, 40))
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

// builtin are the names under which the model sees calls that are items of their own kind: of tools that the client runs, and
// of the provider's in a conversation that was begun there.
var builtin = map[string]string{"local_shell_call": "local_shell", "web_search_call": "web_search_call", "tool_search_call": toolSearch,
	"image_generation_call": "image_generation_call"}

// present is the first of the fields that is there.
func present(o wire.Obj, keys ...string) string {
	for _, key := range keys {
		if o.Has(key) {
			return key
		}
	}
	return keys[0]
}

// result reads what a call brought: a text, parts of one, or any other JSON.
func (in *inputReader) result(o wire.Obj, kind string) {
	in.flush()
	m := chat.Message{Role: chat.RoleTool}
	id, key := "call_id", "output"
	if kind == "local_shell_call_output" {
		id = present(o, id, "id")
	}
	if _, own := builtin[strings.TrimSuffix(kind, "_output")]; own || kind == "tool_search_output" {
		key = present(o, key, "result", "tools")
	}
	o.String(id, &m.ToolCallID)
	in.calls.result(o, id, m.ToolCallID)
	n := o.Get(key)
	if kind == "tool_search_output" && o.Has("tools") {
		in.q.readFound(o)
	}
	if n.Kind == wire.Null || n.Kind == wire.String || key != "tools" && isParts(n) {
		m.Content, m.Parts = readContent(o, key, "text", "input_text", "output_text")
	} else {
		m.Content = string(n.Compact(nil))
	}
	in.msgs = append(in.msgs, m)
	in.turn = false
}

// isParts says whether a value is a list of parts of a content, of whatever kind, and no result that happens to be a list.
func isParts(n *wire.Node) bool {
	return n.Kind == wire.Array && !slices.ContainsFunc(n.Items, func(p wire.Node) bool {
		return p.Kind != wire.String && (p.Kind != wire.Object || p.Get("type").Kind != wire.String)
	})
}

func (in *inputReader) call(o wire.Obj, kind string) {
	c := chat.ToolCall{Arguments: "{}"}
	o.String("id", &c.ID)
	o.String("call_id", &c.ID)
	if c.Name = builtin[kind]; c.Name == "" {
		o.String("name", &c.Name)
	}
	if c.Name == "" {
		o.Fail("name", "want a name, got nothing")
		return
	}
	switch kind {
	case "custom_tool_call":
		text := ""
		o.String("input", &text)
		b, _ := json.Marshal(map[string]string{"input": text}) // cannot fail
		c.Arguments = string(b)
	case "function_call":
		c.Arguments = argumentsOf(o.Get("arguments"))
		space := ""
		o.String("namespace", &space)
		c.Name = space + c.Name
	default:
		c.Arguments = argumentsOf(o.Get(present(o, "action", "arguments", "input")))
	}
	if !in.turn || in.pending != "" {
		in.msgs = append(in.msgs, chat.Message{Role: chat.RoleAssistant, Reasoning: in.pending})
		in.pending, in.turn = "", true
	}
	in.calls[c.ID] = true
	m := &in.msgs[len(in.msgs)-1]
	m.ToolCalls = append(m.ToolCalls[:len(m.ToolCalls):len(m.ToolCalls)], c)
}
