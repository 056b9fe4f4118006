package chat

import "encoding/json"

// Role says whose words a message holds.
type Role string

// The roles of the encoding. Clients' "developer" messages are better sent as RoleSystem: the encoding's own developer
// role is a user-tagged turn that is dropped from history.
const (
	RoleSystem         Role = "system"
	RoleDeveloper      Role = "developer"
	RoleUser           Role = "user"
	RoleAssistant      Role = "assistant"
	RoleTool           Role = "tool"
	RoleLatestReminder Role = "latest_reminder"
)

// Message is one message of a conversation.
type Message struct {
	Role Role

	// Content is the text. Where Parts is not nil, it is used instead.
	Content string
	Parts   []Part

	// Reasoning, ToolCalls and Block are the assistant's. Block is the call block as the model wrote it; it is used
	// as long as it still says the same as ToolCalls.
	Reasoning string
	ToolCalls []ToolCall
	Block     *Block
	// NoEOS leaves an assistant message open, to be continued by the model.
	NoEOS bool

	// ToolCallID names the call that a tool message answers.
	ToolCallID string

	// Tools and ResponseFormat (a JSON schema) belong to system and developer messages. See WithTools.
	Tools          []Tool
	ResponseFormat json.RawMessage

	// Task asks for one of the model's internal classification tasks instead of an answer: action, query, authority,
	// domain, title, read_url.
	Task string
}

// Part is one piece of a message's content. A part whose Type is not "text" is written as "[Unsupported TYPE]", which
// is what the published encoding does; a server will rather refuse it.
type Part struct {
	Type string
	Text string
}

// ToolCall is one call of a tool by the assistant.
type ToolCall struct {
	ID        string
	Name      string
	Arguments string // a JSON object
}

// WithTools returns the conversation with tools declared, on the leading system or developer message; where there is
// none, an empty system message is put in front. msgs is not changed.
func WithTools(msgs []Message, tools []Tool) []Message {
	if len(tools) == 0 {
		return msgs
	}
	out := make([]Message, 0, len(msgs)+1)
	if len(msgs) == 0 || msgs[0].Role != RoleSystem && msgs[0].Role != RoleDeveloper {
		out = append(out, Message{Role: RoleSystem})
	}
	out = append(out, msgs...)
	out[0].Tools = tools
	return out
}
