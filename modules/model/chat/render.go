package chat

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

// Options change how a conversation is written. The zero value is the published encoding in chat mode.
type Options struct {
	// Checkpoint says what effort means; nil is Preview.
	Checkpoint *Checkpoint
	Thinking   Thinking

	// KeepReasoning keeps the reasoning of earlier turns. The encoding drops it in front of the last user message,
	// unless tools are declared.
	KeepReasoning bool
	// KeepReasoningWithCalls keeps it also when the history holds calls or results, though no tools are declared now.
	// ds4 does so; it saves an agent's cache when a request leaves the tools out.
	KeepReasoningWithCalls bool
	// ProtectResults writes </tool_result> inside a tool's result as &lt;/tool_result>, as ds4 does. The wrapper is
	// ordinary text to the tokenizer, so the kinds of segments do not protect it.
	ProtectResults bool
}

// Kind says who wrote a segment.
type Kind uint8

const (
	// Template text was written by this package. Special tokens in it count.
	Template Kind = iota
	// Data was written by a user, a tool or the model. Nothing in it is special.
	Data
)

// Segment is a stretch of a rendered prompt.
type Segment struct {
	Kind Kind
	Text string
	// Message is the index, in the list given to Render, of the message this text belongs to: -1 for what precedes
	// all messages. Messages that are joined into one turn all count as the last of them. The header of an assistant
	// turn (<｜Assistant｜> and its think tag) belongs to the message after it, which for the turn to be generated is
	// the length of the list.
	Message int
}

// Text is the whole prompt. It does not tell template from data: two prompts of equal text can have different tokens.
func Text(segments []Segment) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteString(s.Text)
	}
	return b.String()
}

// Texts of the template other than special tokens.
const (
	resultStart = "<tool_result>"
	resultEnd   = "</tool_result>"

	toolsBefore = `## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by writing a "<｜DSML｜tool_calls>" block like the following:

<｜DSML｜tool_calls>
<｜DSML｜invoke name="$TOOL_NAME">
<｜DSML｜parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</｜DSML｜parameter>
...
</｜DSML｜invoke>
<｜DSML｜invoke name="$TOOL_NAME2">
...
</｜DSML｜invoke>
</｜DSML｜tool_calls>

String parameters should be specified as is and set ` + "`string=\"true\"`" + `. For all other types (numbers, booleans, arrays, objects), pass the value in JSON format and set ` + "`string=\"false\"`" + `.

If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning inside <think>...</think> BEFORE any tool calls or final response.

Otherwise, output directly after </think> with tool calls or final response.

### Available Tool Schemas

`
	toolsAfter = `

You MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.
`
	formatBefore = "\n\n## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n"
)

// latestReminder and the tasks have special tokens that only the encoding itself needs.
const latestReminder = "<｜latest_reminder｜>"

var tasks = []string{"action", "query", "authority", "domain", "title", "read_url"}

// Render writes a conversation as a prompt. An error names the message and what is wrong with it.
func Render(msgs []Message, o Options) ([]Segment, error) {
	if err := check(msgs, o); err != nil {
		return nil, err
	}
	r := renderer{o: o, thinking: o.Thinking != Off, at: -1}
	r.turns = join(msgs)
	sortResults(r.turns)
	r.dropping = r.thinking && !o.KeepReasoning && !r.keepsAll(msgs)
	r.drop()

	r.template(tokenizer.BOS)
	if len(r.turns) > 0 {
		checkpoint := o.Checkpoint
		if checkpoint == nil {
			checkpoint = Preview
		}
		r.template(checkpoint.prefix[o.Thinking])
	}
	for i := range r.turns {
		r.at = r.turns[i].last
		r.turn(i)
		r.at = r.turns[i].last + 1
		r.transition(i)
	}
	return r.segments, nil
}

func check(msgs []Message, o Options) error {
	if o.Thinking > Max {
		return fmt.Errorf("chat: want a thinking mode from Off to Max, got %d", o.Thinking)
	}
	for i := range msgs {
		m := &msgs[i]
		switch m.Role {
		case RoleSystem, RoleDeveloper, RoleUser, RoleAssistant, RoleTool, RoleLatestReminder:
		default:
			return fmt.Errorf("chat: message %d: want a known role, got %q", i, m.Role)
		}
		if m.Task != "" && !slices.Contains(tasks, m.Task) {
			return fmt.Errorf("chat: message %d: want a task of %s, got %q", i, strings.Join(tasks, ", "), m.Task)
		}
		if m.ResponseFormat != nil {
			if _, err := parseJSON(string(m.ResponseFormat)); err != nil {
				return fmt.Errorf("chat: message %d: response format: %w", i, err)
			}
		}
		for k, t := range m.Tools {
			if t.name == "" {
				return fmt.Errorf("chat: message %d: tool %d: want one made by ParseTool, got an empty one", i, k)
			}
		}
	}
	return nil
}

// turn is a message as the encoding sees it: user and tool messages in a row are one.
type turn struct {
	Message
	blocks []block // of a user turn
	last   int     // index of its last message
}

// block is one text or one tool result of a user turn.
type block struct {
	result bool
	callID string
	parts  []Part
}

// join merges user and tool messages that follow each other. A user message never joins one that has a task.
func join(msgs []Message) []turn {
	var turns []turn
	for i, m := range msgs {
		if m.Role != RoleUser && m.Role != RoleTool {
			turns = append(turns, turn{Message: m, last: i})
			continue
		}
		var blocks []block
		if m.Role == RoleTool {
			blocks = []block{{result: true, callID: m.ToolCallID, parts: m.parts()}}
		} else {
			for _, p := range m.parts() {
				blocks = append(blocks, block{parts: []Part{p}})
			}
		}
		if n := len(turns) - 1; n >= 0 && turns[n].Role == RoleUser && (m.Role == RoleTool || turns[n].Task == "") {
			turns[n].blocks = append(turns[n].blocks, blocks...)
			turns[n].last = i
			continue
		}
		m.Role = RoleUser
		turns = append(turns, turn{Message: m, blocks: blocks, last: i})
	}
	return turns
}

func (m *Message) parts() []Part {
	if m.Parts != nil {
		return m.Parts
	}
	return []Part{{Type: "text", Text: m.Content}}
}

// sortResults puts the results of a turn in the order of the calls they answer. Texts stay where they are; results of
// unknown calls go with the first.
func sortResults(turns []turn) {
	var order map[string]int
	for i := range turns {
		t := &turns[i]
		if t.Role == RoleAssistant && len(t.ToolCalls) > 0 {
			order = make(map[string]int, len(t.ToolCalls))
			for k, c := range t.ToolCalls {
				order[c.ID] = k
			}
		}
		var places []int
		var results []block
		for k, b := range t.blocks {
			if b.result {
				places = append(places, k)
				results = append(results, b)
			}
		}
		slices.SortStableFunc(results, func(a, b block) int { return order[a.callID] - order[b.callID] })
		for k, place := range places {
			t.blocks[place] = results[k]
		}
	}
}

type renderer struct {
	o        Options
	thinking bool
	dropping bool
	turns    []turn
	lastUser int // index of the last user or developer turn, -1 if there is none

	at       int // message index of what is being written
	segments []Segment
}

// keepsAll tells whether the history forbids dropping reasoning.
func (r *renderer) keepsAll(msgs []Message) bool {
	for i := range msgs {
		m := &msgs[i]
		if len(m.Tools) > 0 || r.o.KeepReasoningWithCalls && (m.Role == RoleTool || len(m.ToolCalls) > 0) {
			return true
		}
	}
	return false
}

// drop removes what the encoding leaves out of history, and finds the last user turn in what remains.
func (r *renderer) drop() {
	isLast := func(t turn) bool { return t.Role == RoleUser || t.Role == RoleDeveloper }
	last := len(r.turns) - 1
	for last >= 0 && !isLast(r.turns[last]) {
		last--
	}
	if r.dropping {
		kept := r.turns[:0]
		for i, t := range r.turns {
			if i < last && t.Role == RoleDeveloper {
				continue
			}
			kept = append(kept, t)
		}
		last -= len(r.turns) - len(kept)
		r.turns = kept
	}
	r.lastUser = last
}

func (r *renderer) add(kind Kind, text string) {
	if text == "" {
		return
	}
	if n := len(r.segments) - 1; n >= 0 && r.segments[n].Kind == kind && r.segments[n].Message == r.at {
		r.segments[n].Text += text
		return
	}
	r.segments = append(r.segments, Segment{kind, text, r.at})
}

func (r *renderer) template(text string) { r.add(Template, text) }
func (r *renderer) data(text string)     { r.add(Data, text) }

func (r *renderer) turn(i int) {
	t := &r.turns[i]
	switch t.Role {
	case RoleSystem:
		r.system(t)
	case RoleDeveloper:
		r.template(tokenizer.User)
		r.system(t)
	case RoleUser:
		r.template(tokenizer.User)
		for k, b := range t.blocks {
			if k > 0 {
				r.template("\n\n")
			}
			r.block(b)
		}
	case RoleLatestReminder:
		r.template(latestReminder)
		r.text(t.parts())
	case RoleAssistant:
		r.assistant(i)
	}
}

func (r *renderer) system(t *turn) {
	r.text(t.parts())
	if len(t.Tools) > 0 {
		r.template("\n\n" + toolsBefore)
		for k, tool := range t.Tools {
			if k > 0 {
				r.template("\n")
			}
			r.data(tool.schema)
		}
		r.template(toolsAfter)
	}
	if t.ResponseFormat != nil {
		r.template(formatBefore)
		v, _ := parseJSON(string(t.ResponseFormat)) // checked
		r.data(string(v.python(nil)))
	}
}

func (r *renderer) block(b block) {
	if !b.result {
		r.text(b.parts)
		return
	}
	r.template(resultStart)
	if r.o.ProtectResults {
		protected := make([]Part, len(b.parts))
		for i, p := range b.parts {
			p.Text = strings.ReplaceAll(p.Text, resultEnd, "&lt;"+resultEnd[1:])
			protected[i] = p
		}
		b.parts = protected
	}
	r.text(b.parts)
	r.template(resultEnd)
}

func (r *renderer) text(parts []Part) {
	for i, p := range parts {
		if i > 0 {
			r.template("\n\n")
		}
		if p.Type == "text" {
			r.data(p.Text)
		} else {
			r.data("[Unsupported " + p.Type + "]")
		}
	}
}

func (r *renderer) assistant(i int) {
	t := &r.turns[i]
	if r.thinking && (!r.dropping || i > r.lastUser) && (i == 0 || r.turns[i-1].Task == "") {
		r.data(t.Reasoning)
		r.template(tokenizer.EndThink)
	}
	r.text(t.parts())
	if len(t.ToolCalls) > 0 {
		r.callBlock(&t.Message)
	}
	if !t.NoEOS {
		r.template(tokenizer.EOS)
	}
}

// transition writes what stands between a turn and the assistant's next one.
func (r *renderer) transition(i int) {
	if i+1 < len(r.turns) {
		if next := r.turns[i+1].Role; next != RoleAssistant && next != RoleLatestReminder {
			return
		}
	}
	t := &r.turns[i]
	think := tokenizer.EndThink
	switch {
	case t.Task == "action":
		if r.thinking {
			think = tokenizer.Think
		}
		r.template(tokenizer.Assistant + think + "<｜action｜>")
	case t.Task != "":
		r.template("<｜" + t.Task + "｜>")
	case t.Role == RoleUser || t.Role == RoleDeveloper:
		if r.thinking && (!r.dropping || i >= r.lastUser) {
			think = tokenizer.Think
		}
		r.template(tokenizer.Assistant + think)
	}
}
