package serve

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/serve/wire"
)

// responseRequest is a request for /v1/responses, with what the answer repeats of it.
type responseRequest struct {
	*completion
	echo      responseEcho
	input     []json.RawMessage // items of this request
	store     bool
	summary   bool // reasoning is shown, as a summary
	reasons   bool // reasoning is shown, as it is
	encrypted bool // reasoning is handed out sealed
	custom    map[string]bool
	search    bool              // tools are searched for, by the client
	found     []json.RawMessage // objects with the tools that were found so
	spaces    map[string]string // of the functions that are declared in a namespace, by their name in the prompt
	history   []chat.Message    // without instructions: what the next request goes on from
}

// responseEcho is the settings that typed clients expect back.
type responseEcho struct {
	Instructions    *string         `json:"instructions"`
	MaxOutputTokens *int            `json:"max_output_tokens"`
	Metadata        json.RawMessage `json:"metadata"`
	ParallelCalls   bool            `json:"parallel_tool_calls"`
	Previous        *string         `json:"previous_response_id"`
	Reasoning       json.RawMessage `json:"reasoning"`
	Store           bool            `json:"store"`
	Temperature     float32         `json:"temperature"`
	Text            json.RawMessage `json:"text"`
	ToolChoice      json.RawMessage `json:"tool_choice"`
	Tools           json.RawMessage `json:"tools"`
	TopP            float32         `json:"top_p"`
	Truncation      string          `json:"truncation"`
	User            *string         `json:"user"`
}

// responses is POST /v1/responses.
func (s *Server) responses(c *call) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	q, err := s.readResponse(o)
	if err != nil {
		return err
	}
	j, err := c.submit(q.completion, "input")
	if err != nil {
		return err
	}
	if q.stream {
		return c.streamResponse(j, q)
	}
	if err := c.whole(j); err != nil {
		return err
	}
	r := newResponse(q)
	r.finish(j, q, s)
	s.keep(q, j, r)
	return c.json(http.StatusOK, r)
}

func (s *Server) readResponse(o wire.Obj) (responseRequest, error) {
	q := responseRequest{completion: s.newCompletion(), store: true, custom: map[string]bool{}, spaces: map[string]string{}}
	q.readModel(o)
	q.readSampling(o)
	q.readLimit(o, "max_output_tokens", "max_tokens")
	o.Strings("stop", &q.stops, maxStops)
	effort, path := &wire.Node{}, "reasoning.effort"
	if r, ok := o.Object("reasoning"); ok {
		effort = r.Get("effort")
		how := ""
		r.Choice("summary", &how, "auto", "concise", "detailed", "none")
		q.summary = how != "" && how != "none"
	}
	q.readThinking(o, s.c.Checkpoint, s.c.Ctx, path, effort, true)
	if t, ok := o.Object("text"); ok {
		q.readFormat(t, "format")
	}
	truncation := "disabled"
	o.Choice("truncation", &truncation, "auto", "disabled") // prompts are never cut; one that is too long is an error
	o.Refuse(neutral, "conversation", "background", "prompt", "max_tool_calls")
	o.Bool("store", &q.store)
	var include []string
	o.Strings("include", &include, 32)
	for _, name := range include {
		switch name {
		case "reasoning.encrypted_content":
			q.encrypted = true
		case "reasoning.content": // not one of OpenAI's, which never shows it
			q.reasons = true
		case "message.output_text.logprobs":
			q.logprobs = 0
		}
	}
	top := 0
	if o.Int("top_logprobs", &top, 0, maxTopLogprobs); top > 0 {
		q.logprobs = top
	}
	q.readResponseTools(o)
	q.readToolChoice(o)
	q.readEcho(o, truncation)
	if err := s.readInput(o, &q); err != nil {
		return q, err
	}
	if err := o.Err(); err != nil {
		return q, err
	}
	return q, nil
}

func (q *responseRequest) readEcho(o wire.Obj, truncation string) {
	raw := func(key, absent string) json.RawMessage {
		if n := o.Get(key); n.Kind != wire.Null {
			return n.Compact(nil)
		}
		return json.RawMessage(absent)
	}
	text := func(key string) *string {
		v := ""
		if o.String(key, &v); v == "" {
			return nil
		}
		return &v
	}
	q.echo = responseEcho{Instructions: text("instructions"), Metadata: raw("metadata", "{}"), ParallelCalls: !q.oneCall,
		Previous: text("previous_response_id"), Reasoning: raw("reasoning", `{"effort":null,"summary":null}`), Store: q.store,
		Temperature: q.params.Temperature, Text: raw("text", `{"format":{"type":"text"}}`), ToolChoice: raw("tool_choice", `"auto"`),
		Tools: raw("tools", "[]"), TopP: q.params.TopP, Truncation: truncation, User: text("user")}
	if q.limit >= 0 {
		q.echo.MaxOutputTokens = &q.limit
	}
}

// hosted are tools that run at the provider. There is no such place here: they are left out, so that a client that
// declares them by default can be used.
func hosted(kind string) bool {
	for _, p := range []string{"web_search", "file_search", "code_interpreter", "image_generation", "computer", "mcp"} {
		if strings.HasPrefix(kind, p) {
			return true
		}
	}
	return false
}

// readResponseTools reads the declarations. A custom tool takes a text: it is a function with one parameter. The functions of
// a namespace are functions whose names begin with it.
func (q *responseRequest) readResponseTools(o wire.Obj) {
	for item, n := range declarations(o) {
		kind := "function"
		var ok bool
		item.String("type", &kind)
		switch {
		case hosted(kind), kind == toolSearch && !byClient(item):
			continue
		case kind == toolSearch:
			q.search = true
			ok = q.declareAs(item, n, toolSearch)
		case kind == "namespace":
			ok = q.readNamespace(item)
		case kind == "custom":
			name, about := "", ""
			item.String("name", &name)
			item.String("description", &about)
			q.custom[name] = true
			raw, _ := json.Marshal(map[string]any{"name": name, "description": about, "parameters": customSchema}) // cannot fail
			ok = q.declare(item, raw)
		case kind == "function":
			ok = q.declare(item, n.Raw)
		default:
			item.Fail("type", "want function, custom, namespace or tool_search, got %q", clip(kind, 40))
			return
		}
		if len(q.tools) > maxTools {
			o.Fail("tools", "want at most %d, got more", maxTools)
			return
		}
		if !ok {
			return
		}
	}
}

// readNamespace declares the functions of a namespace, up to the first that is wrong, and says whether none is.
func (q *responseRequest) readNamespace(o wire.Obj) bool {
	space := ""
	o.String("name", &space)
	for item, n := range declarations(o) {
		kind, name := "function", ""
		item.String("type", &kind)
		item.String("name", &name)
		if kind != "function" {
			item.Fail("type", "want function, got %q", clip(kind, 40))
			return false
		}
		q.spaces[space+name] = space
		if !q.declareAs(item, n, space+name) {
			return false
		}
	}
	return true
}

// declareAs declares a function under another name than its own.
func (q *responseRequest) declareAs(item wire.Obj, n *wire.Node, name string) bool {
	var tool map[string]json.RawMessage
	if err := json.Unmarshal(n.Raw, &tool); err != nil {
		item.Fail("name", "%s", err)
		return false
	}
	tool["name"], _ = json.Marshal(name) // cannot fail
	raw, _ := json.Marshal(tool)         // nor this
	return q.declare(item, raw)
}

// readFound declares tools that a search found, but for those that are declared already.
func (q *responseRequest) readFound(o wire.Obj) {
	q.again = true
	q.readResponseTools(o)
	q.again = false
	raw := append([]byte(`{"tools":`), o.Get("tools").Compact(nil)...)
	q.found = append(q.found, append(raw, '}'))
}

// toolSearch is the type of a tool, and the name of the function that it becomes: the client looks for tools, and the result
// declares them.
const toolSearch = "tool_search"

// byClient says who searches: without a word of it the provider does, unless there are parameters to call the client with. There
// is no provider, and nothing to find: all functions of a request are shown to the model.
func byClient(item wire.Obj) bool {
	by := "server"
	if item.Has("parameters") {
		by = "client"
	}
	item.Choice("execution", &by, "client", "server")
	return by == "client"
}

var customSchema = map[string]any{"type": "object", "required": []string{"input"},
	"properties": map[string]any{"input": map[string]string{"type": "string"}}}

// readInput makes messages of instructions, the response that is continued, and the input.
func (s *Server) readInput(o wire.Obj, q *responseRequest) error {
	if id := q.echo.Previous; id != nil {
		old, ok := s.stored.get(*id)
		if !ok {
			return &wire.Error{Status: http.StatusBadRequest, Param: "previous_response_id", Code: "previous_response_not_found",
				Message: "previous_response_id: this server does not have that response (any more); send the whole input"}
		}
		q.history = append(q.history, old.history...)
		for _, tools := range old.found {
			o, err := wire.Body(tools)
			if err != nil {
				return err
			}
			q.readFound(o)
		}
	}
	n := o.Get("input")
	switch n.Kind {
	case wire.String:
		q.history = append(q.history, chat.Message{Role: chat.RoleUser, Content: n.Text})
		item, _ := json.Marshal(map[string]any{"type": "message", "role": "user", "content": []any{map[string]string{"type": "input_text", "text": n.Text}}})
		q.input = append(q.input, item)
	case wire.Array:
		if len(n.Items) > maxMessages {
			o.Fail("input", "want at most %d items, got %d", maxMessages, len(n.Items))
			return nil
		}
		in := inputReader{s: s, q: q, msgs: q.history, calls: askedIn(q.history)}
		for i := range n.Items {
			item, ok := o.Item("input", i, &n.Items[i])
			if !ok {
				return nil
			}
			in.item(item)
			q.input = append(q.input, n.Items[i].Compact(nil))
		}
		in.flush()
		q.history = in.msgs
	default:
		o.Fail("input", "want a string or an array, got %s", n.Kind)
	}
	q.messages = q.history
	if q.echo.Instructions != nil {
		q.messages = append([]chat.Message{{Role: chat.RoleSystem, Content: *q.echo.Instructions}}, q.history...)
	}
	return nil
}
