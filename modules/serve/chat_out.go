package serve

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/serve/sched"
	"github.com/ds4-go/ds4/modules/serve/wire"
)

type chatResponse struct {
	ID          string       `json:"id"`
	Object      string       `json:"object"`
	Created     int64        `json:"created"`
	Model       string       `json:"model"`
	Fingerprint string       `json:"system_fingerprint"`
	Choices     []chatChoice `json:"choices"`
	Usage       *usage       `json:"usage"`
}

type chatChoice struct {
	Index    int           `json:"index"`
	Message  chatMessage   `json:"message"`
	Logprobs *chatLogprobs `json:"logprobs"`
	Finish   string        `json:"finish_reason"`
}

type chatMessage struct {
	Role      string     `json:"role"`
	Content   *string    `json:"content"`
	Reasoning string     `json:"reasoning_content,omitempty"`
	Refusal   *string    `json:"refusal"`
	ToolCalls []chatCall `json:"tool_calls,omitempty"`
}

type chatCall struct {
	Index    *int         `json:"index,omitempty"` // in streams
	ID       string       `json:"id,omitempty"`
	Type     string       `json:"type,omitempty"`
	Function chatFunction `json:"function"`
}

type chatFunction struct {
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments"`
}

// usage counts tokens, with DeepSeek's names for what was cached beside OpenAI's. Those of calls are ours.
type usage struct {
	Prompt     int            `json:"prompt_tokens"`
	Completion int            `json:"completion_tokens"`
	Total      int            `json:"total_tokens"`
	PromptOf   map[string]int `json:"prompt_tokens_details"`
	Of         map[string]int `json:"completion_tokens_details"`
	Hit        int            `json:"prompt_cache_hit_tokens"`
	Miss       int            `json:"prompt_cache_miss_tokens"`
	First      *int64         `json:"first_token_ms,omitempty"` // in streams
}

func usageOf(j *job) *usage {
	n, reasoning, calls := j.generated()
	p, cached := j.promptTokens(), j.cached()
	return &usage{p, n, p + n, map[string]int{"cached_tokens": cached, "cache_write_tokens": p - cached},
		map[string]int{"reasoning_tokens": reasoning, "tool_tokens": calls}, cached, p - cached, j.firstToken()}
}

func (s *Server) fingerprint() string { return "ds4-" + s.c.Checkpoint.Name }

func chatResponseOf(j *job) chatResponse {
	s := j.c.s
	r := chatResponse{ID: wire.ID("chatcmpl-", 28), Object: "chat.completion", Created: time.Now().Unix(), Model: j.q.model,
		Fingerprint: s.fingerprint(), Usage: usageOf(j)}
	for i, e := range j.ends {
		m := &e.Outcome.Message
		c := chatChoice{Index: i, Finish: e.Outcome.Finish, Message: chatMessage{Role: "assistant", Reasoning: m.Reasoning}}
		if m.Content != "" || len(m.ToolCalls) == 0 {
			text := whole(m.Content)
			c.Message.Content = &text
		}
		for _, t := range m.ToolCalls {
			c.Message.ToolCalls = append(c.Message.ToolCalls, chatCall{ID: t.ID, Type: "function", Function: chatFunction{t.Name, t.Arguments}})
		}
		if j.q.logprobs >= 0 {
			c.Logprobs = s.chatLogprobs(j.tokens[i])
		}
		r.Choices = append(r.Choices, c)
	}
	return r
}

type chatChunk struct {
	ID          string        `json:"id"`
	Object      string        `json:"object"`
	Created     int64         `json:"created"`
	Model       string        `json:"model"`
	Fingerprint string        `json:"system_fingerprint"`
	Choices     []chunkChoice `json:"choices"`
	Usage       *usage        `json:"usage,omitempty"`
}

type chunkChoice struct {
	Index    int           `json:"index"`
	Delta    chatDelta     `json:"delta"`
	Logprobs *chatLogprobs `json:"logprobs,omitempty"`
	Finish   *string       `json:"finish_reason"`
}

type chatDelta struct {
	Role      string     `json:"role,omitempty"`
	Content   *string    `json:"content,omitempty"`
	Reasoning string     `json:"reasoning_content,omitempty"`
	ToolCalls []chatCall `json:"tool_calls,omitempty"`
}

// nullUsage is a chunk where usage will come at the end, as clients expect it.
type nullUsage struct {
	chatChunk
	Usage *usage `json:"usage"`
}

// chatStream writes the chunks of a chat completion.
type chatStream struct {
	j     *job
	out   *wire.Stream
	chunk chatChunk

	// What stands before and after the choices of every chunk: most chunks are a few letters between the same words.
	before, after string
}

func (c *call) streamChat(j *job) error {
	st := &chatStream{j: j, out: c.start(), chunk: chatChunk{ID: wire.ID("chatcmpl-", 28), Object: "chat.completion.chunk",
		Created: time.Now().Unix(), Model: j.q.model, Fingerprint: c.s.fingerprint()}}
	if err := st.frame(); err != nil {
		return err
	}
	for i := range j.q.n {
		st.send(chunkChoice{Index: i, Delta: chatDelta{Role: "assistant"}})
	}
	if err := st.out.Flush(); err != nil {
		j.run.Cancel()
		return errGone
	}
	if err := j.wait(st.take, comment(st.out)); err != nil {
		return err
	}
	if j.q.usage {
		st.chunk.Choices, st.chunk.Usage = []chunkChoice{}, usageOf(j)
		st.out.Event("", st.chunk)
	}
	st.out.Data("[DONE]")
	return gone(st.out.Flush())
}

// comment is what keeps a silent stream alive.
func comment(out *wire.Stream) func() error {
	return func() error {
		out.Comment("keep-alive")
		return gone(out.Flush())
	}
}

func gone(err error) error {
	if err != nil {
		return errGone
	}
	return nil
}

// value is the chunk as it is sent.
func (st *chatStream) value() any {
	if st.j.q.usage {
		return nullUsage{chatChunk: st.chunk}
	}
	return st.chunk
}

// frame writes what all chunks share.
func (st *chatStream) frame() error {
	st.chunk.Choices = []chunkChoice{}
	var b bytes.Buffer
	if err := wire.Encode(&b, st.value()); err != nil {
		return err
	}
	before, after, _ := strings.Cut(strings.TrimSuffix(b.String(), "\n"), `"choices":[]`) // in no string: quotes are escaped there
	st.before = before + `"choices":[{"index":`
	st.after = `},"finish_reason":null}]` + after
	return nil
}

func (st *chatStream) send(c chunkChoice) {
	st.chunk.Choices = []chunkChoice{c}
	st.out.Event("", st.value())
}

// text sends a piece of content or reasoning: what send would, several times as fast.
func (st *chatStream) text(choice int, field, text string) {
	st.out.Text(st.before+strconv.Itoa(choice)+`,"delta":{"`+field+`":`, whole(text), st.after)
}

func (st *chatStream) take(b sched.Batch) error {
	for _, d := range b.Deltas {
		var lp *chatLogprobs
		if st.j.q.logprobs >= 0 && len(d.Tokens) > 0 {
			lp = st.j.c.s.chatLogprobs(d.Tokens)
		}
		for _, e := range d.Events {
			if lp == nil && e.Kind == chat.Content {
				st.text(d.Choice, "content", e.Text)
				continue
			}
			if lp == nil && e.Kind == chat.Reasoning {
				st.text(d.Choice, "reasoning_content", e.Text)
				continue
			}
			if delta, ok := chatDeltaOf(e); ok {
				c := chunkChoice{Index: d.Choice, Delta: delta}
				if e.Kind == chat.Content || e.Kind == chat.Reasoning {
					c.Logprobs, lp = lp, nil
				}
				st.send(c)
			}
		}
		if lp != nil && !lp.empty() {
			st.send(chunkChoice{Index: d.Choice, Logprobs: lp})
		}
		if d.End != nil {
			st.send(chunkChoice{Index: d.Choice, Finish: &d.End.Outcome.Finish})
		}
	}
	return gone(st.out.Flush())
}

func chatDeltaOf(e chat.Event) (chatDelta, bool) {
	switch e.Kind {
	case chat.Reasoning:
		return chatDelta{Reasoning: whole(e.Text)}, true
	case chat.Content:
		text := whole(e.Text)
		return chatDelta{Content: &text}, true
	case chat.ToolStart:
		return chatDelta{ToolCalls: []chatCall{{&e.Index, e.ID, "function", chatFunction{Name: e.Name}}}}, true
	case chat.ToolArgs:
		return chatDelta{ToolCalls: []chatCall{{Index: &e.Index, Function: chatFunction{Arguments: e.Text}}}}, true
	}
	return chatDelta{}, false
}
