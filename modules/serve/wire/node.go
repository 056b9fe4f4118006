package wire

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/ds4-go/ds4/modules/model/chat"
)

// Kind is the kind of a JSON value.
type Kind uint8

// Kinds.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

func (k Kind) String() string {
	return [...]string{"null", "a boolean", "a number", "a string", "an array", "an object"}[k]
}

// Node is a JSON value as it came: the order of keys and the spelling of numbers are kept.
type Node struct {
	Kind  Kind
	Text  string // a string's characters; a number's spelling; true or false
	Keys  []string
	Items []Node // of an array; of an object, in the order of Keys
	Raw   []byte // the value's own bytes, a view of what was parsed
}

// Get returns the value of a key; a null node where there is none.
func (n *Node) Get(key string) *Node {
	for i, k := range n.Keys {
		if k == key {
			return &n.Items[i]
		}
	}
	return &Node{}
}

// Compact appends the value without white space between its tokens, and with no more escapes than JSON demands.
func (n *Node) Compact(b []byte) []byte {
	switch n.Kind {
	case Null:
		return append(b, "null"...)
	case Bool, Number:
		return append(b, n.Text...)
	case String:
		return AppendString(b, n.Text)
	}
	open, end := byte('['), byte(']')
	if n.Kind == Object {
		open, end = '{', '}'
	}
	b = append(b, open)
	for i := range n.Items {
		if i > 0 {
			b = append(b, ',')
		}
		if n.Kind == Object {
			b = append(AppendString(b, n.Keys[i]), ':')
		}
		b = n.Items[i].Compact(b)
	}
	return append(b, end)
}

// AppendString appends a JSON string, escaped as the chat template's writer does.
func AppendString(b []byte, s string) []byte {
	return append(chat.AppendEscaped(append(b, '"'), s), '"')
}

// MaxDepth bounds how deep values may be nested.
const MaxDepth = 128

// MaxValues bounds the number of values in one body: a node costs more than the two bytes that can make one.
const MaxValues = 4 << 20

// SyntaxError is a body that is not the JSON it should be.
type SyntaxError struct {
	Offset int    // bytes before the place
	Msg    string // what was wanted, what was there
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("invalid JSON at byte %d: %s", e.Offset, e.Msg)
}

// Parse reads one JSON value that is the whole of data. The nodes keep views of data, which must not change.
func Parse(data []byte) (*Node, error) {
	p := parser{data: data}
	var n Node
	p.space()
	p.value(&n, 0)
	p.space()
	if p.err == nil && p.at < len(data) {
		p.fail("want the end of the body, got %s", p.here())
	}
	if p.err != nil {
		return nil, p.err
	}
	return &n, nil
}

type parser struct {
	data   []byte
	at     int
	values int
	err    error
}

func (p *parser) fail(format string, a ...any) {
	if p.err == nil {
		p.err = &SyntaxError{p.at, fmt.Sprintf(format, a...)}
		p.at = len(p.data)
	}
}

// here names what stands at the current place.
func (p *parser) here() string {
	if p.at >= len(p.data) {
		return "the end"
	}
	r, _ := utf8.DecodeRune(p.data[p.at:])
	return strconv.QuoteRune(r)
}

func (p *parser) space() {
	for p.at < len(p.data) && (p.data[p.at] == ' ' || p.data[p.at] == '\t' || p.data[p.at] == '\n' || p.data[p.at] == '\r') {
		p.at++
	}
}

func (p *parser) peek() byte {
	if p.at < len(p.data) {
		return p.data[p.at]
	}
	return 0
}

func (p *parser) value(n *Node, depth int) {
	if p.values++; p.values > MaxValues {
		p.fail("want at most %d values", MaxValues)
		return
	}
	start := p.at
	switch c := p.peek(); {
	case c == '{' || c == '[':
		if depth == MaxDepth {
			p.fail("want at most %d levels of nesting", MaxDepth)
			return
		}
		if c == '{' {
			p.object(n, depth+1)
		} else {
			p.array(n, depth+1)
		}
	case c == '"':
		n.Kind, n.Text = String, p.str()
	case c == '-' || c >= '0' && c <= '9':
		n.Kind, n.Text = Number, p.number()
	default:
		p.word(n)
	}
	if p.err == nil {
		n.Raw = p.data[start:p.at:p.at]
	}
}

func (p *parser) word(n *Node) {
	for _, w := range [...]struct {
		text string
		kind Kind
	}{{"null", Null}, {"true", Bool}, {"false", Bool}} {
		if bytes.HasPrefix(p.data[p.at:], []byte(w.text)) {
			p.at += len(w.text)
			n.Kind, n.Text = w.kind, w.text
			return
		}
	}
	p.fail("want a value, got %s", p.here())
}

func (p *parser) array(n *Node, depth int) {
	n.Kind = Array
	p.at++
	if p.space(); p.peek() == ']' {
		p.at++
		return
	}
	for p.err == nil {
		p.space()
		var item Node
		p.value(&item, depth)
		n.Items = append(n.Items, item)
		if !p.next(']') {
			return
		}
	}
}

// manyKeys is where a map finds repeated keys sooner than looking at all.
const manyKeys = 16

func (p *parser) object(n *Node, depth int) {
	n.Kind = Object
	p.at++
	if p.space(); p.peek() == '}' {
		p.at++
		return
	}
	var seen map[string]bool
	for p.err == nil {
		p.space()
		if p.peek() != '"' {
			p.fail("want a key, got %s", p.here())
			return
		}
		key := p.str()
		if repeated(n.Keys, &seen, key) {
			p.fail("key %q comes twice", clip(key))
			return
		}
		if p.space(); p.peek() != ':' {
			p.fail("want ':', got %s", p.here())
			return
		}
		p.at++
		p.space()
		var item Node
		p.value(&item, depth)
		n.Keys, n.Items = append(n.Keys, key), append(n.Items, item)
		if !p.next('}') {
			return
		}
	}
}

func repeated(keys []string, seen *map[string]bool, key string) bool {
	if len(keys) < manyKeys {
		for _, k := range keys {
			if k == key {
				return true
			}
		}
		return false
	}
	if *seen == nil {
		*seen = make(map[string]bool, 2*manyKeys)
		for _, k := range keys {
			(*seen)[k] = true
		}
	}
	if (*seen)[key] {
		return true
	}
	(*seen)[key] = true
	return false
}

// next takes a comma, or the closing bracket, after which it reports false.
func (p *parser) next(end byte) bool {
	p.space()
	switch {
	case p.err != nil:
	case p.peek() == ',':
		p.at++
		return true
	case p.peek() == end:
		p.at++
	default:
		p.fail("want ',' or '%c', got %s", end, p.here())
	}
	return false
}

func (p *parser) digits() int {
	n := 0
	for p.at < len(p.data) && p.data[p.at] >= '0' && p.data[p.at] <= '9' {
		p.at++
		n++
	}
	return n
}

func (p *parser) number() string {
	start := p.at
	if p.peek() == '-' {
		p.at++
	}
	zero := p.peek() == '0'
	if n := p.digits(); n == 0 || zero && n > 1 {
		p.fail("want a number")
		return ""
	}
	if p.peek() == '.' {
		p.at++
		if p.digits() == 0 {
			p.fail("want a digit, got %s", p.here())
			return ""
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.at++
		if c := p.peek(); c == '+' || c == '-' {
			p.at++
		}
		if p.digits() == 0 {
			p.fail("want a digit, got %s", p.here())
			return ""
		}
	}
	text := string(p.data[start:p.at])
	if f, err := strconv.ParseFloat(text, 64); err != nil || math.IsInf(f, 0) {
		p.at = start
		p.fail("number %s is out of range", clip(text))
	}
	return text
}

// str reads a string. Halves of surrogate pairs without their other half become U+FFFD, as JavaScript clients send them
// when they cut a text.
func (p *parser) str() string {
	p.at++
	start := p.at
	for ; p.at < len(p.data); p.at++ {
		switch c := p.data[p.at]; {
		case c == '"':
			s := p.data[start:p.at]
			if !utf8.Valid(s) {
				p.fail("string is not UTF-8")
				return ""
			}
			p.at++
			return string(s)
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			p.fail("want no control character in a string, got %q", c)
			return ""
		}
	}
	p.fail("want '\"', got the end")
	return ""
}

// escaped reads the rest of a string from its first escape on.
func (p *parser) escaped(start int) string {
	var b strings.Builder
	b.Write(p.data[start:p.at])
	for p.at < len(p.data) {
		switch c := p.data[p.at]; {
		case c == '"':
			p.at++
			if s := b.String(); utf8.ValidString(s) {
				return s
			}
			p.fail("string is not UTF-8")
			return ""
		case c == '\\':
			if !p.escape(&b) {
				return ""
			}
		case c < ' ':
			p.fail("want no control character in a string, got %q", c)
			return ""
		default:
			b.WriteByte(c)
			p.at++
		}
	}
	p.fail("want '\"', got the end")
	return ""
}

func (p *parser) escape(b *strings.Builder) bool {
	p.at++
	c := p.peek()
	if c == 'u' {
		r, ok := p.unit()
		if !ok {
			p.fail("want four hexadecimal digits")
			return false
		}
		if utf16.IsSurrogate(r) {
			at := p.at
			if low, ok := p.secondUnit(); ok {
				if full := utf16.DecodeRune(r, low); full != utf8.RuneError {
					b.WriteRune(full)
					return true
				}
			}
			p.at, r = at, utf8.RuneError
		}
		b.WriteRune(r)
		return true
	}
	const from, to = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	i := strings.IndexByte(from, c)
	if c == 0 || i < 0 {
		p.fail("want an escape, got %s", p.here())
		return false
	}
	b.WriteByte(to[i])
	p.at++
	return true
}

// unit reads u and four digits.
func (p *parser) unit() (rune, bool) {
	if len(p.data)-p.at < 5 {
		return 0, false
	}
	v, err := strconv.ParseUint(string(p.data[p.at+1:p.at+5]), 16, 16)
	p.at += 5
	return rune(v), err == nil
}

func (p *parser) secondUnit() (rune, bool) {
	if len(p.data)-p.at < 6 || p.data[p.at] != '\\' || p.data[p.at+1] != 'u' {
		return 0, false
	}
	p.at++
	return p.unit()
}

// clip shortens a text for a message.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
