package serve

import (
	"encoding/json"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/serve/sched"
	"github.com/ds4-go/ds4/modules/serve/wire"
)

type anthropicResponse struct {
	ID           string           `json:"id"`
	Type         string           `json:"type"`
	Role         string           `json:"role"`
	Model        string           `json:"model"`
	Content      []map[string]any `json:"content"`
	StopReason   *string          `json:"stop_reason"`
	StopSequence *string          `json:"stop_sequence"`
	Usage        anthropicUsage   `json:"usage"`
}

// anthropicUsage counts tokens. Nothing is billed for what is stored, so creation is 0 and input is what was evaluated.
type anthropicUsage struct {
	Input    int `json:"input_tokens"`
	Creation int `json:"cache_creation_input_tokens"`
	Read     int `json:"cache_read_input_tokens"`
	Output   int `json:"output_tokens"`
	Tools    int `json:"tool_tokens,omitempty"` // of output: calls

	First *int64 `json:"first_token_ms,omitempty"` // in streams, at the end
}

func anthropicUsageOf(j *job) anthropicUsage {
	n, _, calls := j.generated()
	return anthropicUsage{Input: j.promptTokens() - j.cached(), Read: j.cached(), Output: n, Tools: calls, First: j.firstToken()}
}

func stopReasonOf(e *sched.End) (reason string, sequence *string) {
	switch {
	case e.Outcome.Stop != "":
		return "stop_sequence", &e.Outcome.Stop
	case e.Outcome.Finish == chat.FinishToolCalls:
		return "tool_use", nil
	case e.Outcome.Finish == chat.FinishLength:
		return "max_tokens", nil
	}
	return "end_turn", nil
}

func anthropicResponseOf(j *job) anthropicResponse {
	e := j.ends[0]
	m := &e.Outcome.Message
	r := anthropicResponse{ID: wire.ID("msg_", 24), Type: "message", Role: "assistant", Model: j.q.model, Usage: anthropicUsageOf(j)}
	if m.Reasoning != "" {
		r.Content = append(r.Content, map[string]any{"type": "thinking", "thinking": whole(m.Reasoning), "signature": signature})
	}
	if m.Content != "" || len(m.ToolCalls) == 0 {
		r.Content = append(r.Content, map[string]any{"type": "text", "text": whole(m.Content)})
	}
	for _, t := range m.ToolCalls {
		r.Content = append(r.Content, map[string]any{"type": "tool_use", "id": t.ID, "name": t.Name, "input": json.RawMessage(t.Arguments)})
	}
	reason, sequence := stopReasonOf(e)
	r.StopReason, r.StopSequence = &reason, sequence
	return r
}

// signature stands where Anthropic signs its thinking. Nothing is checked when it comes back.
const signature = "ds4"

// messageStream writes the events of a message: a block at a time, each opened and closed.
type messageStream struct {
	j     *job
	out   *wire.Stream
	begun bool
	open  string // type of the open block
	index int    // of the open block, or of the next
	text  bool   // there was a block that clients can show
}

func (c *call) streamMessage(j *job) error {
	st := &messageStream{j: j, out: c.start()}
	ping := func() error {
		st.out.Event("ping", map[string]string{"type": "ping"})
		return gone(st.out.Flush())
	}
	if err := j.wait(st.take, ping); err != nil {
		return err
	}
	st.begin()
	e := j.ends[0]
	if st.close(); !st.text {
		st.start("text", map[string]any{"type": "text", "text": ""})
		st.close()
	}
	reason, sequence := stopReasonOf(e)
	st.out.Event("message_delta", map[string]any{"type": "message_delta", "usage": anthropicUsageOf(j),
		"delta": map[string]any{"stop_reason": reason, "stop_sequence": sequence}})
	st.out.Event("message_stop", map[string]string{"type": "message_stop"})
	return gone(st.out.Flush())
}

func (st *messageStream) begin() {
	if st.begun {
		return
	}
	st.begun = true
	st.out.Event("message_start", map[string]any{"type": "message_start", "message": anthropicResponse{ID: wire.ID("msg_", 24), Type: "message",
		Role: "assistant", Model: st.j.q.model, Content: []map[string]any{}, Usage: anthropicUsage{Input: st.j.promptTokens() - st.j.cached(), Read: st.j.cached()}}})
}

func (st *messageStream) start(kind string, block map[string]any) {
	st.close()
	st.open, st.text = kind, st.text || kind != "thinking"
	st.out.Event("content_block_start", map[string]any{"type": "content_block_start", "index": st.index, "content_block": block})
}

func (st *messageStream) close() {
	switch st.open {
	case "":
		return
	case "thinking":
		st.delta("signature_delta", "signature", signature)
	}
	st.out.Event("content_block_stop", map[string]any{"type": "content_block_stop", "index": st.index})
	st.open = ""
	st.index++
}

func (st *messageStream) delta(kind, key, text string) {
	st.out.Event("content_block_delta", map[string]any{"type": "content_block_delta", "index": st.index, "delta": map[string]string{"type": kind, key: text}})
}

func (st *messageStream) take(b sched.Batch) error {
	if b.Start != nil {
		st.begin()
	}
	for _, d := range b.Deltas {
		for _, e := range d.Events {
			st.event(e)
		}
	}
	return gone(st.out.Flush())
}

func (st *messageStream) event(e chat.Event) {
	st.begin()
	switch e.Kind {
	case chat.Reasoning:
		if st.open != "thinking" {
			st.start("thinking", map[string]any{"type": "thinking", "thinking": "", "signature": ""})
		}
		st.delta("thinking_delta", "thinking", whole(e.Text))
	case chat.Content:
		if st.open != "text" {
			st.start("text", map[string]any{"type": "text", "text": ""})
		}
		st.delta("text_delta", "text", whole(e.Text))
	case chat.ToolStart:
		st.start("tool_use", map[string]any{"type": "tool_use", "id": e.ID, "name": e.Name, "input": map[string]any{}})
	case chat.ToolArgs:
		st.delta("input_json_delta", "partial_json", e.Text)
	case chat.ToolEnd:
		st.close()
	}
}
