package chat

import "strings"

// blockParser reads one call block, from behind its start tag to behind its end tag.
//
// It accepts more than the grammar: white space anywhere between tags; end tags left out; text between tags, calls
// without a name (both skipped); a JSON object in place of parameters. What it cannot know while a value streams, it
// decides when the value is complete: the type of a value without one, and whether a lone parameter "arguments" is
// meant as a wrapper around the arguments.
type blockParser struct {
	*spelling
	o     *ParserOptions
	emit  func(Event)
	state blockState
	buf   string          // not understood yet
	raw   strings.Builder // everything before buf

	doubtful bool // not believed unless a call follows the start tag at once

	calls     []ToolCall // complete ones
	malformed bool       // something was skipped
	closed    bool       // the end tag was seen
	invoked   bool       // a call's tag was seen

	open *openCall
}

type blockState uint8

const (
	inCalls   blockState = iota
	inSkipped            // a call without a name
	inParams
	inValue
	inBody // a JSON object in place of parameters
)

type blockStatus uint8

const (
	blockGoesOn blockStatus = iota
	blockClosed
	blockNone // it was no call block after all
)

// openCall is the call being read.
type openCall struct {
	call  ToolCall
	tool  *Tool // nil if it was not declared
	args  strings.Builder
	begun bool // the object's brace was sent
	ended bool // the whole object was sent

	value   *value // the parameter being read
	wrapper *value // a complete first parameter that may be a wrapper
	params  int
	skipped bool // text that does not belong there, so that a brace in it begins no object, wherever the pieces are cut
}

const whiteSpace = " \t\r\n\v\f"

// longestTag bounds how long an opening tag is waited for, in bytes.
const longestTag = 4096

func newBlockParser(s *spelling, before string, o *ParserOptions) *blockParser {
	b := &blockParser{spelling: s, o: o, doubtful: s.lax}
	b.raw.WriteString(before + s.start)
	return b
}

// read takes more text. When the block is over, what it did not use is in buf.
func (b *blockParser) read(text string) (status blockStatus) {
	b.buf += text
	for more := true; more && status == blockGoesOn; {
		switch b.state {
		case inCalls:
			more, status = b.readCalls()
		case inSkipped:
			more = b.readSkipped()
		case inParams:
			more = b.readParams()
		case inValue:
			more = b.readValue()
		case inBody:
			more = b.readBody()
		}
	}
	return status
}

func (b *blockParser) take(n int) string {
	s := b.buf[:n]
	b.raw.WriteString(s)
	b.buf = b.buf[n:]
	return s
}

func (b *blockParser) skipSpace() {
	b.take(len(b.buf) - len(strings.TrimLeft(b.buf, whiteSpace)))
}

// skipText passes over text that does not belong here, up to the next tag. It takes at least one byte.
func (b *blockParser) skipText() {
	b.malformed = true
	n := strings.IndexByte(b.buf[1:], '<')
	if n < 0 {
		n = len(b.buf) - 1
	}
	b.take(1 + n)
}

// mark is a tag inside a block.
type mark uint8

const (
	markNone mark = iota
	markPartial
	markInvoke
	markInvokeEnd
	markParam
	markParamEnd
	markEnd
)

// markAt tells which tag text begins with, and its length. A tag that may not be complete yet is partial.
func (b *blockParser) markAt(text string) (mark, int) {
	partial := false
	for _, t := range [...]struct {
		text string
		mark mark
	}{{b.end, markEnd}, {b.invokeEnd, markInvokeEnd}, {b.paramEnd, markParamEnd}} {
		if strings.HasPrefix(text, t.text) {
			return t.mark, len(t.text)
		}
		partial = partial || strings.HasPrefix(t.text, text)
	}
	partial = partial || b.state == inCalls && text != b.start && strings.HasPrefix(b.start, text)
	for _, t := range [...]struct {
		text string
		mark mark
	}{{b.invoke, markInvoke}, {b.param, markParam}} {
		switch {
		case strings.HasPrefix(t.text, text):
			partial = true
		case strings.HasPrefix(text, t.text) && strings.IndexByte(whiteSpace+">", text[len(t.text)]) >= 0:
			if n := tagLen(text); n > 0 {
				return t.mark, n
			}
			partial = partial || len(text) < longestTag
		}
	}
	if partial {
		return markPartial, 0
	}
	return markNone, 0
}

// tagLen is the length of the opening tag that text begins with, 0 if it is not complete. A bracket inside quotes does
// not end it.
func tagLen(text string) int {
	quoted := false
	for i := 0; i < len(text) && i < longestTag; i++ {
		switch {
		case text[i] == '"':
			quoted = !quoted
		case text[i] == '>' && !quoted:
			return i + 1
		}
	}
	return 0
}

// attribute finds name="…" in an opening tag. Nothing in it is escaped.
func attribute(tag, name string) (value string, ok bool) {
	for i := 0; ; {
		k := strings.IndexAny(tag[i:], whiteSpace)
		if k < 0 {
			return "", false
		}
		i += k + 1
		rest, found := strings.CutPrefix(tag[i:], name+`="`)
		if found {
			if end := strings.IndexByte(rest, '"'); end >= 0 {
				return rest[:end], true
			}
			return "", false
		}
		// Past this attribute, whose value may hold anything.
		if eq := strings.Index(tag[i:], `="`); eq >= 0 && !strings.ContainsAny(tag[i:i+eq], whiteSpace) {
			end := strings.IndexByte(tag[i+eq+2:], '"')
			if end < 0 {
				return "", false
			}
			i += eq + 2 + end + 1
		}
	}
}

func (b *blockParser) readCalls() (more bool, status blockStatus) {
	b.skipSpace()
	if b.buf == "" {
		return false, blockGoesOn
	}
	m, n := b.markAt(b.buf)
	switch {
	case m == markPartial:
		return false, blockGoesOn
	case m == markInvoke:
		b.openCall(b.take(n))
	case !b.invoked && (b.doubtful || strings.HasPrefix(b.buf, b.start)):
		return false, blockNone // the tag was only mentioned, or the block begins here
	case m == markEnd:
		b.take(n)
		b.closed = true
		return false, blockClosed
	default:
		b.skipText()
	}
	return true, blockGoesOn
}

func (b *blockParser) openCall(tag string) {
	b.invoked = true
	name, ok := attribute(tag, "name")
	if !ok || name == "" {
		b.malformed = true
		b.state = inSkipped
		return
	}
	c := &openCall{call: ToolCall{ID: b.o.NewID(), Name: name}}
	for i := range b.o.Tools {
		if b.o.Tools[i].name == name {
			c.tool = &b.o.Tools[i]
		}
	}
	b.open = c
	b.state = inParams
	b.emit(Event{Kind: ToolStart, Index: len(b.calls), ID: c.call.ID, Name: name})
}

func (b *blockParser) readSkipped() bool {
	if b.buf == "" {
		return false
	}
	switch m, n := b.markAt(b.buf); m {
	case markPartial:
		return false
	case markInvokeEnd:
		b.take(n)
		b.state = inCalls
	case markEnd, markInvoke:
		b.state = inCalls
	default:
		b.skipText()
	}
	return true
}

func (b *blockParser) readParams() bool {
	b.skipSpace()
	if b.buf == "" {
		return false
	}
	m, n := b.markAt(b.buf)
	switch {
	case m == markPartial:
		return false
	case m == markInvokeEnd:
		b.take(n)
		b.closeCall(true)
	case m == markEnd, m == markInvoke: // the call's end tag was left out
		b.closeCall(true)
	case m == markParam:
		b.openParam(b.take(n))
	case b.buf[0] == '{' && b.open.params == 0 && !b.open.skipped: // not yet taken: it is part of the object
		b.open.value = &value{typed: jsonly}
		b.state = inBody
	default:
		b.open.skipped = true
		b.skipText()
	}
	return true
}

// closeCall ends the open call; complete tells whether the model did.
func (b *blockParser) closeCall(complete bool) *ToolCall {
	c := b.open
	if c.wrapper != nil && !(complete && b.unwrap(c.wrapper)) {
		b.sendValue(c.wrapper)
	}
	switch {
	case c.ended:
	case c.begun:
		b.send("}")
	default:
		b.send("{}")
	}
	c.call.Arguments = c.args.String()
	b.emit(Event{Kind: ToolEnd, Index: len(b.calls), Incomplete: !complete})
	if complete {
		b.calls = append(b.calls, c.call)
	}
	b.open = nil
	b.state = inCalls
	return &c.call
}

// finish is the end of generation. It returns the call that was open, closed; nil if none was. What is held back then
// is the beginning of a tag, a line break or part of a character, and is dropped.
func (b *blockParser) finish() *ToolCall {
	if b.open == nil {
		return nil
	}
	if b.state == inValue && b.open.value.typed == streamed {
		b.send(`"`)
	}
	return b.closeCall(false)
}

// structural tells that the next token is markup: anything but the text of a value, or the inside of a tag in it.
func (b *blockParser) structural() bool {
	if b.state == inValue {
		if lt := strings.IndexByte(b.buf, '<'); lt >= 0 && len(b.buf)-lt >= 2 {
			return true
		}
		v := b.open.value
		return v.typed == jsonly && !v.quoted
	}
	return b.state != inBody
}
