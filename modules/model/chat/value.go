package chat

import (
	"encoding/json"
	"strings"

	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

// value is a parameter.
type value struct {
	name  string
	typed valueType
	text  strings.Builder // collected, unless it streams

	quoted, escaped bool // text ends inside a JSON string, behind a backslash
}

func (v *value) collect(s string) {
	v.text.WriteString(s)
	for i := range len(s) {
		switch {
		case v.escaped:
			v.escaped = false
		case s[i] == '"':
			v.quoted = !v.quoted
		case s[i] == '\\':
			v.escaped = v.quoted
		}
	}
}

type valueType uint8

const (
	streamed valueType = iota // a string, sent as it comes
	stringly                  // a string, sent when complete
	jsonly                    // JSON, or else a string
	untyped                   // no type given: as the schema says, or like jsonly
)

func (b *blockParser) openParam(tag string) {
	c := b.open
	if c.wrapper != nil { // it has company, so it is a parameter like any other
		b.sendValue(c.wrapper)
		c.wrapper = nil
	}
	name, ok := attribute(tag, "name")
	if !ok {
		b.malformed = true
		return // its value will be skipped as text between tags
	}
	c.value = &value{name: name}
	c.params++
	declared, known := b.declared(name)
	marked, _ := attribute(tag, "string")
	switch {
	case marked == "true" && b.o.CoerceStrings && declared != "" && declared != "string":
		c.value.typed = untyped
	case marked == "true":
		c.value.typed = streamed
	case marked == "false":
		c.value.typed = jsonly
	case declared == "string":
		c.value.typed = streamed
	default:
		c.value.typed = untyped
	}
	if b.mayWrap(name, known) && c.value.typed == streamed {
		c.value.typed = stringly
	}
	if c.value.typed == streamed {
		b.sendKey(name)
		b.send(`"`)
	}
	b.state = inValue
}

// declared is the type that the schema gives a parameter.
func (b *blockParser) declared(name string) (typ string, known bool) {
	if b.open.tool != nil {
		typ, known = b.open.tool.types[name]
	}
	return typ, known
}

// mayWrap tells whether a parameter may be a wrapper around the arguments: the first of its call, by one of two names,
// and not a parameter that the tool declares.
func (b *blockParser) mayWrap(name string, known bool) bool {
	return b.open.params == 1 && b.open.tool != nil && !known && (name == "arguments" || name == "input")
}

// readValue passes on a value up to the tag that ends it: its own end tag, or one that shows that it was left out.
func (b *blockParser) readValue() bool {
	for i := 0; ; i++ {
		k := strings.IndexByte(b.buf[i:], '<')
		if k < 0 {
			break
		}
		i += k
		m, n := b.markAt(b.buf[i:])
		if b.bare && (m == markEnd || m == markInvoke || m == markInvokeEnd) {
			m = markNone
		}
		if m == markParam {
			if _, named := attribute(b.buf[i:i+n], "name"); !named {
				m = markNone
			}
		}
		switch m {
		case markNone:
			continue
		case markPartial:
			b.valueText(b.take(i - b.lineBreak(i)))
			return false
		case markParamEnd:
			b.valueText(b.take(i))
			b.take(n)
		default:
			b.malformed = true
			at := i - b.lineBreak(i) // the one that separates parameters
			b.valueText(b.take(at))
			b.take(i - at)
		}
		b.closeValue()
		return true
	}
	n := tokenizer.WholeChars(b.buf)
	b.valueText(b.take(n - b.lineBreak(n)))
	return false
}

// lineBreak is 1 if there is a line break before place i of buf.
func (b *blockParser) lineBreak(i int) int {
	if i > 0 && b.buf[i-1] == '\n' {
		return 1
	}
	return 0
}

func (b *blockParser) valueText(s string) {
	if b.open.value.typed == streamed {
		b.send(string(AppendEscaped(nil, s)))
	} else {
		b.open.value.collect(s)
	}
}

func (b *blockParser) closeValue() {
	c := b.open
	b.state = inParams
	v := c.value
	_, known := b.declared(v.name)
	switch {
	case v.typed == streamed:
		b.send(`"`)
	case b.mayWrap(v.name, known):
		c.wrapper = v
	default:
		b.sendValue(v)
	}
}

// sendValue sends a parameter that was collected.
func (b *blockParser) sendValue(v *value) {
	b.sendKey(v.name)
	text := v.text.String()
	if v.typed != stringly {
		if compact, ok := compactJSON(text); ok && b.fits(v, compact) {
			b.send(compact)
			return
		}
	}
	b.send(`"` + string(AppendEscaped(nil, text)) + `"`)
}

// fits tells whether a JSON value is what the schema declares, where the model left the type open.
func (b *blockParser) fits(v *value, compact string) bool {
	if v.typed != untyped {
		return true
	}
	typ, _ := b.declared(v.name)
	switch typ {
	case "number":
		return isNumber(compact)
	case "integer":
		return isNumber(compact) && !strings.ContainsAny(compact, ".eE")
	case "boolean":
		return compact == "true" || compact == "false"
	case "object":
		return compact[0] == '{'
	case "array":
		return compact[0] == '['
	}
	return true
}

func isNumber(compact string) bool {
	return compact[0] == '-' || compact[0] >= '0' && compact[0] <= '9'
}

// readBody collects the text of a call up to its end, in place of parameters.
func (b *blockParser) readBody() bool {
	for i := 0; ; i++ {
		k := strings.IndexByte(b.buf[i:], '<')
		if k < 0 {
			break
		}
		i += k
		m, n := b.markAt(b.buf[i:])
		switch m {
		case markPartial:
			b.valueText(b.take(i))
			return false
		case markInvokeEnd, markEnd, markInvoke:
			b.valueText(b.take(i))
			if m == markInvokeEnd {
				b.take(n)
			}
			b.sendObject(b.open.value.text.String())
			b.closeCall(true)
			return true
		}
	}
	b.valueText(b.take(len(b.buf)))
	return false
}

// sendObject sends text as the whole arguments, if it is a JSON object.
func (b *blockParser) sendObject(text string) bool {
	compact, ok := compactJSON(text)
	if !ok || compact[0] != '{' {
		b.malformed = true
		return false
	}
	b.send(compact)
	b.open.ended = true
	return true
}

// unwrap sends the object inside a lone wrapper, if its keys are all parameters of the tool.
func (b *blockParser) unwrap(v *value) bool {
	var object map[string]json.RawMessage
	text := v.text.String()
	if json.Unmarshal([]byte(text), &object) != nil || object == nil {
		return false
	}
	for key := range object {
		if _, ok := b.open.tool.types[key]; !ok {
			return false
		}
	}
	return b.sendObject(text)
}

func (b *blockParser) sendKey(name string) {
	before := `,"`
	if !b.open.begun {
		b.open.begun = true
		before = `{"`
	}
	b.send(before + string(AppendEscaped(nil, name)) + `":`)
}

func (b *blockParser) send(fragment string) {
	if fragment != "" {
		b.open.args.WriteString(fragment)
		b.emit(Event{Kind: ToolArgs, Index: len(b.calls), Text: fragment})
	}
}
