package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

	"github.com/ds4-go/ds4/modules/model/chat"
)

// conversation is one line of what data.py writes.
type conversation struct {
	Set      string            `json:"set"`
	Thinking bool              `json:"thinking"`
	Tools    []json.RawMessage `json:"tools"`
	Messages []message         `json:"messages"`
	Key      string            `json:"key"`  // what a question about a planted key asks for
	Text     string            `json:"text"` // the whole of it in the bytes of training

	tools []chat.Tool
}

type message struct {
	Role      string `json:"role"`
	Skill     string `json:"skill"` // of an answer
	Content   string `json:"content"`
	Reasoning string `json:"reasoning"`
	Calls     []call `json:"calls"`
}

type call struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

func readConversations(r io.Reader) (list []*conversation, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		c := &conversation{}
		if err := json.Unmarshal(lines.Bytes(), c); err != nil {
			return nil, fmt.Errorf("conversation %d: %w", len(list)+1, err)
		}
		for _, text := range c.Tools {
			t, err := chat.ParseTool(text)
			if err != nil {
				return nil, fmt.Errorf("conversation %d: %w", len(list)+1, err)
			}
			c.tools = append(c.tools, t)
		}
		list = append(list, c)
	}
	return list, lines.Err()
}

// render writes the first n messages as a prompt, with the reasoning of all turns, or as clients' requests are: without
// that of earlier turns, unless tools are declared.
func (c *conversation) render(n int, keep bool) ([]chat.Segment, error) {
	var msgs []chat.Message
	for i, m := range c.Messages[:n] {
		out := chat.Message{Role: chat.Role(m.Role), Content: m.Content, Reasoning: m.Reasoning}
		for k, x := range m.Calls {
			out.ToolCalls = append(out.ToolCalls, chat.ToolCall{ID: id(i, k), Name: x.Name, Arguments: string(x.Arguments)})
		}
		if m.Role == string(chat.RoleTool) {
			out.ToolCallID = id(i-1, 0)
		}
		msgs = append(msgs, out)
	}
	o := chat.Options{KeepReasoning: keep}
	if c.Thinking {
		o.Thinking = chat.On
	}
	return chat.Render(chat.WithTools(msgs, c.tools), o)
}

func id(message, index int) string { return fmt.Sprintf("call_%d_%d", message, index) }
