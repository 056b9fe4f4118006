package chat

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

// golden reads the cases of a golden file, or skips the test where the golden data is not there: DS4_SHARED/data, or
// ../shared/data from the folder that holds go.work.
func golden[T any](t testing.TB, name string) []T {
	t.Helper()
	root := os.Getenv("DS4_SHARED")
	if root == "" {
		dir, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
				break
			}
			up := filepath.Dir(dir)
			if up == dir {
				t.Skip("golden data not found: no go.work above this package")
			}
			dir = up
		}
		root = filepath.Join(dir, "..", "shared")
	}
	b, err := os.ReadFile(filepath.Join(root, "data", "chat-golden", name))
	if err != nil {
		t.Skipf("golden data not found: %v", err)
	}
	var file struct{ Cases []T }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	return file.Cases
}

// goldenMessage is a message as the golden files write it: that of the OpenAI chat dialect.
type goldenMessage struct {
	Role      Role
	Content   json.RawMessage
	Reasoning string `json:"reasoning_content"`
	ToolCalls []struct {
		ID       string
		Function struct{ Name, Arguments string }
	} `json:"tool_calls"`
	ToolCallID     string          `json:"tool_call_id"`
	ResponseFormat json.RawMessage `json:"response_format"`
	Task           string
	NoEOS          bool `json:"wo_eos"`
}

func (g goldenMessage) message(t testing.TB) Message {
	t.Helper()
	m := Message{
		Role: g.Role, Reasoning: g.Reasoning, ToolCallID: g.ToolCallID, ResponseFormat: g.ResponseFormat,
		Task: g.Task, NoEOS: g.NoEOS,
	}
	if len(g.Content) > 0 && json.Unmarshal(g.Content, &m.Content) != nil {
		if err := json.Unmarshal(g.Content, &m.Parts); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range g.ToolCalls {
		m.ToolCalls = append(m.ToolCalls, ToolCall{c.ID, c.Function.Name, c.Function.Arguments})
	}
	return m
}

func messages(t testing.TB, gs []goldenMessage) []Message {
	t.Helper()
	var msgs []Message
	for _, g := range gs {
		msgs = append(msgs, g.message(t))
	}
	return msgs
}

func tools(t testing.TB, raw []json.RawMessage) []Tool {
	t.Helper()
	var tools []Tool
	for _, r := range raw {
		tool, err := ParseTool(r)
		if err != nil {
			t.Fatal(err)
		}
		tools = append(tools, tool)
	}
	return tools
}

// byteTokenizer has a token for every byte and the special tokens that prompts can hold, so that what is special and
// what is not shows in the ids.
func byteTokenizer(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	tokens := []string{
		tokenizer.BOS, tokenizer.EOS, tokenizer.User, tokenizer.Assistant, tokenizer.Think, tokenizer.EndThink,
		tokenizer.DSML, latestReminder,
	}
	for _, task := range tasks {
		tokens = append(tokens, "<｜"+task+"｜>")
	}
	types := slices.Repeat([]int32{3}, len(tokens))
	for b, next := 0, rune(0x100); b < 256; b++ {
		r := rune(b)
		if b < 33 || b > 126 && b < 161 || b == 173 {
			r = next
			next++
		}
		tokens = append(tokens, string(r))
		types = append(types, 1)
	}
	tok, err := tokenizer.New(tokenizer.Vocab{Tokens: tokens, Types: types}, tokenizer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return tok
}
