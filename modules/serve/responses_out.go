package serve

import (
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/serve/sched"
	"github.com/ds4-go/ds4/modules/serve/wire"
)

// response is the object of /v1/responses.
type response struct {
	ID         string             `json:"id"`
	Object     string             `json:"object"`
	CreatedAt  int64              `json:"created_at"`
	Status     string             `json:"status"`
	Error      *struct{}          `json:"error"`
	Incomplete *map[string]string `json:"incomplete_details"`
	Model      string             `json:"model"`
	Output     []*outputItem      `json:"output"`
	responseEcho
	Usage *responseUsage `json:"usage"`
}

type responseUsage struct {
	Input    int            `json:"input_tokens"`
	InputOf  map[string]int `json:"input_tokens_details"`
	Output   int            `json:"output_tokens"`
	OutputOf map[string]int `json:"output_tokens_details"`
	Total    int            `json:"total_tokens"`
	First    *int64         `json:"first_token_ms,omitempty"` // in streams
}

// outputItem is an item of output: reasoning, a message or a call.
type outputItem struct {
	ID        string         `json:"id"`
	Type      string         `json:"type"`
	Status    string         `json:"status"`
	Role      string         `json:"role,omitempty"`
	Content   *[]contentPart `json:"content,omitempty"`
	Summary   *[]contentPart `json:"summary,omitempty"`
	Encrypted *string        `json:"encrypted_content,omitempty"`
	CallID    string         `json:"call_id,omitempty"`
	Namespace string         `json:"namespace,omitempty"`
	Name      string         `json:"name,omitempty"`
	Execution string         `json:"execution,omitempty"`
	Arguments any            `json:"arguments,omitempty"` // a text with the object in it, or the object
	Input     *string        `json:"input,omitempty"`
}

type contentPart struct {
	Type        string    `json:"type"`
	Text        string    `json:"text"`
	Annotations *[]string `json:"annotations,omitempty"`
	Logprobs    any       `json:"logprobs,omitempty"` // []tokenLogprob, where the request wants them
}

func outputText(text string, logprobs any) contentPart {
	return contentPart{"output_text", text, &[]string{}, logprobs}
}

func reasoningText(text string) contentPart { return contentPart{Type: "reasoning_text", Text: text} }

// logprobsOf are the entries for a text's tokens, or nil where the request wants none.
func (q *responseRequest) logprobsOf(s *Server, tokens []sched.Token) any {
	if q.logprobs < 0 {
		return nil
	}
	return s.chatLogprobs(tokens).Content
}

func newResponse(q responseRequest) *response {
	return &response{ID: wire.ID("resp_", 48), Object: "response", CreatedAt: time.Now().Unix(), Status: "in_progress",
		Model: q.model, Output: []*outputItem{}, responseEcho: q.echo}
}

func reasoningItem(status string) *outputItem {
	return &outputItem{ID: wire.ID("rs_", 48), Type: "reasoning", Status: status, Summary: &[]contentPart{}}
}

func messageItem(status string) *outputItem {
	return &outputItem{ID: wire.ID("msg_", 48), Type: "message", Status: status, Role: "assistant", Content: &[]contentPart{}}
}

// callItem is a call of a tool, under the name that it was declared with.
func (q *responseRequest) callItem(status, id, name, arguments string) *outputItem {
	if q.custom[name] {
		input := customInput(arguments)
		return &outputItem{ID: wire.ID("ctc_", 48), Type: "custom_tool_call", Status: status, CallID: id, Name: name, Input: &input}
	}
	if q.search && name == toolSearch {
		return &outputItem{ID: wire.ID("tsc_", 48), Type: "tool_search_call", Status: status, CallID: id, Execution: "client", Arguments: object(arguments)}
	}
	space := q.spaces[name]
	return &outputItem{ID: wire.ID("fc_", 48), Type: "function_call", Status: status, CallID: id, Namespace: space,
		Name: strings.TrimPrefix(name, space), Arguments: arguments}
}

// object is the object of a call's arguments.
func object(arguments string) json.RawMessage {
	if !json.Valid([]byte(arguments)) {
		return json.RawMessage("{}") // it has only begun
	}
	return json.RawMessage(arguments)
}

// customInput is the text that a custom tool's one parameter holds.
func customInput(arguments string) string {
	var v struct{ Input string }
	if json.Unmarshal([]byte(arguments), &v) != nil {
		return arguments
	}
	return v.Input
}

// showsReasoning says whether there are reasoning items at all.
func (q *responseRequest) showsReasoning() bool { return q.summary || q.reasons || q.encrypted }

// showReasoning completes a reasoning item as the request wants it.
func (q *responseRequest) showReasoning(it *outputItem, text string, s *Server) {
	if q.summary {
		it.Summary = &[]contentPart{{Type: "summary_text", Text: whole(text)}}
	}
	if q.reasons {
		it.Content = &[]contentPart{reasoningText(whole(text))}
	}
	if q.encrypted {
		sealed := s.stored.seal(text)
		it.Encrypted = &sealed
	}
}

// finish makes the final object of a completion that was not streamed.
func (r *response) finish(j *job, q responseRequest, s *Server) {
	e := j.ends[0]
	r.close(j)
	m := &e.Outcome.Message
	if m.Reasoning != "" && q.showsReasoning() {
		it := reasoningItem(r.itemStatus(m.Content == "" && len(m.ToolCalls) == 0))
		q.showReasoning(it, m.Reasoning, s)
		r.Output = append(r.Output, it)
	}
	if m.Content != "" {
		it := messageItem(r.itemStatus(len(m.ToolCalls) == 0))
		*it.Content = append(*it.Content, outputText(whole(m.Content), q.logprobsOf(s, j.tokens[0])))
		r.Output = append(r.Output, it)
	}
	for _, t := range m.ToolCalls {
		r.Output = append(r.Output, q.callItem("completed", t.ID, t.Name, t.Arguments))
	}
}

// close sets what is known only at the end, but for the items.
func (r *response) close(j *job) {
	e := j.ends[0]
	r.Status = "completed"
	if e.Outcome.Finish == chat.FinishLength {
		r.Status, r.Incomplete = "incomplete", &map[string]string{"reason": "max_output_tokens"}
	}
	n, reasoning, calls := j.generated()
	p := j.promptTokens()
	r.Usage = &responseUsage{p, map[string]int{"cached_tokens": j.cached()}, n, map[string]int{"reasoning_tokens": reasoning, "tool_tokens": calls}, p + n, j.firstToken()}
}

// itemStatus is the status of an item, the last one or not.
func (r *response) itemStatus(last bool) string {
	if last {
		return r.Status
	}
	return "completed"
}

// responseStream writes the events of a response.
type responseStream struct {
	j    *job
	q    responseRequest
	out  *wire.Stream
	r    *response
	seq  int
	item *outputItem // the open one; it is in r.Output already
	text []byte      // of it

	tokens []sched.Token // of the open message, where log-probabilities are wanted
	told   int           // of them, those that a delta has had
}

func (c *call) streamResponse(j *job, q responseRequest) error {
	st := &responseStream{j: j, q: q, out: c.start(), r: newResponse(q)}
	st.event("response.created", map[string]any{"response": st.r})
	st.event("response.in_progress", map[string]any{"response": st.r})
	if err := st.out.Flush(); err != nil {
		j.run.Cancel()
		return errGone
	}
	if err := j.wait(st.take, comment(st.out)); err != nil {
		if !errors.Is(err, errGone) {
			e := explain(err)
			st.event("error", map[string]any{"code": e.Code, "message": e.Message, "param": nil})
			_ = st.out.Flush() // it failed already
			return errGone     // told
		}
		return err
	}
	st.r.close(j)
	st.closeItem(st.r.Status)
	c.s.keep(q, j, st.r)
	st.event("response."+st.r.Status, map[string]any{"response": st.r})
	return gone(st.out.Flush())
}

func (st *responseStream) event(kind string, fields map[string]any) {
	fields["type"], fields["sequence_number"] = kind, st.seq
	st.seq++
	st.out.Event(kind, fields)
}

// on is the place of the open item, in an event about it.
func (st *responseStream) on(fields map[string]any) map[string]any {
	fields["item_id"], fields["output_index"] = st.item.ID, len(st.r.Output)-1
	return fields
}

func (st *responseStream) take(b sched.Batch) error {
	for _, d := range b.Deltas {
		if st.q.logprobs >= 0 {
			st.tokens = append(st.tokens, d.Tokens...)
		}
		for _, e := range d.Events {
			st.chat(e)
		}
	}
	return gone(st.out.Flush())
}

func (st *responseStream) chat(e chat.Event) {
	switch e.Kind {
	case chat.Reasoning:
		st.reasoning(e.Text)
	case chat.Content:
		st.content(whole(e.Text))
	case chat.ToolStart:
		st.closeItem("completed")
		st.openItem(st.q.callItem("in_progress", e.ID, e.Name, ""))
	case chat.ToolArgs:
		st.text = append(st.text, e.Text...)
		if st.item.Type == "function_call" {
			st.event("response.function_call_arguments.delta", st.on(map[string]any{"delta": e.Text}))
		}
	case chat.ToolEnd:
		status := "completed"
		if e.Incomplete {
			status = "incomplete"
		}
		st.closeItem(status)
	}
}

func (st *responseStream) openItem(it *outputItem) {
	st.item, st.text = it, st.text[:0]
	st.r.Output = append(st.r.Output, it)
	st.event("response.output_item.added", map[string]any{"output_index": len(st.r.Output) - 1, "item": it})
}

func (st *responseStream) reasoning(text string) {
	if !st.q.showsReasoning() {
		return
	}
	if st.item == nil || st.item.Type != "reasoning" {
		st.closeItem("completed")
		st.openItem(reasoningItem("in_progress"))
		if st.q.summary {
			st.event("response.reasoning_summary_part.added", st.on(map[string]any{"summary_index": 0, "part": contentPart{Type: "summary_text"}}))
		}
		if st.q.reasons {
			st.event("response.content_part.added", st.on(map[string]any{"content_index": 0, "part": reasoningText("")}))
		}
	}
	st.text = append(st.text, text...)
	if st.q.summary {
		st.event("response.reasoning_summary_text.delta", st.on(map[string]any{"summary_index": 0, "delta": whole(text)}))
	}
	if st.q.reasons {
		st.event("response.reasoning_text.delta", st.on(map[string]any{"content_index": 0, "delta": whole(text)}))
	}
}

func (st *responseStream) content(text string) {
	if st.item == nil || st.item.Type != "message" {
		st.closeItem("completed")
		st.openItem(messageItem("in_progress"))
		st.event("response.content_part.added", st.on(map[string]any{"content_index": 0, "part": outputText("", nil)}))
	}
	st.text = append(st.text, text...)
	st.event("response.output_text.delta", st.on(map[string]any{"content_index": 0, "delta": text, "logprobs": st.logprobs(st.tokens[st.told:])}))
	st.told = len(st.tokens)
}

// logprobs are the entries in events, which have a list there in any case.
func (st *responseStream) logprobs(tokens []sched.Token) any {
	if l := st.q.logprobsOf(st.j.c.s, tokens); l != nil {
		return l
	}
	return []any{}
}

// closeItem ends the open item, if there is one.
func (st *responseStream) closeItem(status string) {
	it := st.item
	if it == nil {
		return
	}
	it.Status = status
	text := string(st.text)
	switch it.Type {
	case "reasoning":
		st.q.showReasoning(it, text, st.j.c.s)
		if st.q.summary {
			part := (*it.Summary)[0]
			st.event("response.reasoning_summary_text.done", st.on(map[string]any{"summary_index": 0, "text": part.Text}))
			st.event("response.reasoning_summary_part.done", st.on(map[string]any{"summary_index": 0, "part": part}))
		}
		if st.q.reasons {
			part := (*it.Content)[0]
			st.event("response.reasoning_text.done", st.on(map[string]any{"content_index": 0, "text": part.Text}))
			st.event("response.content_part.done", st.on(map[string]any{"content_index": 0, "part": part}))
		}
	case "message":
		part := outputText(text, st.q.logprobsOf(st.j.c.s, st.tokens))
		*it.Content = append(*it.Content, part)
		st.event("response.output_text.done", st.on(map[string]any{"content_index": 0, "text": text, "logprobs": st.logprobs(st.tokens)}))
		st.event("response.content_part.done", st.on(map[string]any{"content_index": 0, "part": part}))
		st.tokens, st.told = nil, 0
	case "function_call":
		it.Arguments = text
		st.event("response.function_call_arguments.done", st.on(map[string]any{"name": it.Name, "arguments": text}))
	case "tool_search_call":
		it.Arguments = object(text)
	case "custom_tool_call":
		input := customInput(text)
		it.Input = &input
		st.event("response.custom_tool_call_input.delta", st.on(map[string]any{"delta": input}))
		st.event("response.custom_tool_call_input.done", st.on(map[string]any{"input": input}))
	}
	st.event("response.output_item.done", map[string]any{"output_index": len(st.r.Output) - 1, "item": it})
	st.item = nil
}
