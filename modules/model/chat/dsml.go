package chat

import (
	"slices"
	"strings"

	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

// spelling is one way to write the tags of a call block. The model is taught the first; the other two are what it is
// sometimes seen to write instead. One block uses one spelling throughout.
type spelling struct {
	start, end        string
	invoke, invokeEnd string // the opening tags lack their attributes and the bracket
	param, paramEnd   string
	lax               bool // believed only when a call follows at once
	bare              bool // looks like any XML, so inside a value only the parameter's own tags count
}

func spell(marker string, lax bool) *spelling {
	return &spelling{
		start: "<" + marker + "tool_calls>", end: "</" + marker + "tool_calls>",
		invoke: "<" + marker + "invoke", invokeEnd: "</" + marker + "invoke>",
		param: "<" + marker + "parameter", paramEnd: "</" + marker + "parameter>",
		lax: lax, bare: marker == "",
	}
}

var (
	dsml     = spell(tokenizer.DSML, false)
	dialects = [...]*spelling{dsml, spell("DSML｜", true), spell("", true)}
)

// Block is a tool call block exactly as the model wrote it. Clients send calls back as JSON, which loses the order of
// parameters, spacing and spelling; with the block, the next prompt can repeat the model's own bytes and finds them in
// the cache.
type Block struct {
	// Text begins with the line breaks that separate it from the content, so that content and Text together are
	// what was sampled.
	Text string
	// Calls are what was made of it.
	Calls []ToolCall
}

// Says tells whether the block still stands for these calls: the same ids and names in the same order, and arguments
// that are equal as JSON. A client that edited or removed a call is not overruled.
func (b *Block) Says(calls []ToolCall) bool {
	return slices.EqualFunc(b.Calls, calls, func(x, y ToolCall) bool {
		return x.ID == y.ID && x.Name == y.Name && sameArguments(x.Arguments, y.Arguments)
	})
}

func sameArguments(a, b string) bool {
	if a == b {
		return true
	}
	v, err := parseJSON(a)
	if err != nil {
		return false
	}
	w, err := parseJSON(b)
	return err == nil && v.equal(w)
}

// callBlock writes the assistant's calls.
func (r *renderer) callBlock(m *Message) {
	if m.Block != nil && m.Block.Says(m.ToolCalls) {
		r.replay(m.Block.Text)
		return
	}
	r.template("\n\n" + dsml.start + "\n")
	for i, c := range m.ToolCalls {
		if i > 0 {
			r.template("\n")
		}
		r.template(dsml.invoke + ` name="`)
		r.data(c.Name)
		r.template("\">\n")
		r.parameters(c.Arguments)
		r.template("\n" + dsml.invokeEnd)
	}
	r.template("\n" + dsml.end)
}

// parameters writes one parameter for each key of the arguments. Arguments that are no JSON object become one string
// parameter named "arguments".
func (r *renderer) parameters(arguments string) {
	v, err := parseJSON(arguments)
	if err != nil || v.kind != jsonObject {
		v = jsonValue{kind: jsonObject}
		v.set("arguments", jsonValue{kind: jsonString, text: arguments})
	}
	for i, key := range v.keys {
		if i > 0 {
			r.template("\n")
		}
		r.template(dsml.param + ` name="`)
		r.data(key)
		if item := v.items[i]; item.kind == jsonString {
			r.template(`" string="true">`)
			r.data(item.text)
		} else {
			r.template(`" string="false">`)
			r.data(string(item.python(nil)))
		}
		r.template(dsml.paramEnd)
	}
}

// replay writes a sampled block. Only its markers are template text: the values may repeat what a user wrote.
func (r *renderer) replay(text string) {
	for {
		before, after, found := strings.Cut(text, tokenizer.DSML)
		r.data(before)
		if !found {
			return
		}
		r.template(tokenizer.DSML)
		text = after
	}
}
