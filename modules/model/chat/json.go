package chat

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonValue is a JSON value that remembers what Go's own decoding forgets: the order of keys and the spelling of
// numbers. Both reach the model's eyes.
type jsonValue struct {
	kind  jsonKind
	text  string // a number's spelling; a string's characters; true or false
	keys  []string
	items []jsonValue    // of an array; of an object, in the order of keys
	index map[string]int // places of keys, once there are many
}

type jsonKind uint8

const (
	jsonNull jsonKind = iota
	jsonBool
	jsonNumber
	jsonString
	jsonArray
	jsonObject
)

func parseJSON(text string) (jsonValue, error) {
	// The token reader alone would accept more than JSON; Valid also bounds the nesting.
	if !json.Valid([]byte(text)) {
		return jsonValue{}, fmt.Errorf("want one JSON value, got %q", clip(text))
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	return readJSON(d)
}

func readJSON(d *json.Decoder) (jsonValue, error) {
	tok, err := d.Token()
	if err != nil {
		return jsonValue{}, err
	}
	switch tok := tok.(type) {
	case bool:
		return jsonValue{kind: jsonBool, text: strconv.FormatBool(tok)}, nil
	case json.Number:
		return jsonValue{kind: jsonNumber, text: tok.String()}, nil
	case string:
		return jsonValue{kind: jsonString, text: tok}, nil
	case json.Delim:
		v := jsonValue{kind: jsonArray}
		if tok == '{' {
			v.kind = jsonObject
		}
		for d.More() {
			if err := v.readItem(d); err != nil {
				return v, err
			}
		}
		_, err := d.Token() // the closing bracket
		return v, err
	}
	return jsonValue{}, nil
}

// readItem reads one element, or one key and its value. As in Python's dict, a repeated key keeps its first place and
// takes the last value.
func (v *jsonValue) readItem(d *json.Decoder) error {
	key := ""
	if v.kind == jsonObject {
		tok, err := d.Token()
		if err != nil {
			return err
		}
		key, _ = tok.(string)
	}
	item, err := readJSON(d)
	if err != nil {
		return err
	}
	if v.kind == jsonObject {
		v.set(key, item)
		return nil
	}
	v.items = append(v.items, item)
	return nil
}

// manyKeys is where looking through the keys becomes slower than a map. Requests may come with any number of them.
const manyKeys = 16

// find returns the place of a key, or -1.
func (v *jsonValue) find(key string) int {
	if v.index == nil {
		return slices.Index(v.keys, key)
	}
	if i, ok := v.index[key]; ok {
		return i
	}
	return -1
}

// get returns the value of a key, or null.
func (v *jsonValue) get(key string) jsonValue {
	if i := v.find(key); i >= 0 {
		return v.items[i]
	}
	return jsonValue{}
}

func (v *jsonValue) set(key string, item jsonValue) {
	if i := v.find(key); i >= 0 {
		v.items[i] = item
		return
	}
	v.keys = append(v.keys, key)
	v.items = append(v.items, item)
	switch {
	case v.index != nil:
		v.index[key] = len(v.keys) - 1
	case len(v.keys) > manyKeys:
		v.index = make(map[string]int, 2*manyKeys)
		for i, k := range v.keys {
			v.index[k] = i
		}
	}
}

// python appends the value as Python's json.dumps(v, ensure_ascii=False) writes it, which is how the training data was
// made: one line, ", " and ": ", floats as Python prints them.
func (v jsonValue) python(b []byte) []byte {
	switch v.kind {
	case jsonNull:
		return append(b, "null"...)
	case jsonBool:
		return append(b, v.text...)
	case jsonNumber:
		return append(b, pythonNumber(v.text)...)
	case jsonString:
		return append(AppendEscaped(append(b, '"'), v.text), '"')
	}
	open, end := byte('['), byte(']')
	if v.kind == jsonObject {
		open, end = '{', '}'
	}
	b = append(b, open)
	for i, item := range v.items {
		if i > 0 {
			b = append(b, ", "...)
		}
		if v.kind == jsonObject {
			b = append(AppendEscaped(append(b, '"'), v.keys[i]), `": `...)
		}
		b = item.python(b)
	}
	return append(b, end)
}

// pythonNumber spells a JSON number as Python prints what it reads: integers keep all their digits, everything else is
// a float in its shortest form, with an exponent below 1e-4 and from 1e16 on.
func pythonNumber(s string) string {
	if !strings.ContainsAny(s, ".eE") {
		if s == "-0" {
			return "0"
		}
		return s
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil { // out of range; Python reads and writes infinity
		if f < 0 {
			return "-Infinity"
		}
		return "Infinity"
	}
	e := strconv.FormatFloat(f, 'e', -1, 64)
	exp, _ := strconv.Atoi(e[strings.IndexByte(e, 'e')+1:])
	if exp < -4 || exp >= 16 {
		return e
	}
	d := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(d, ".") {
		d += ".0"
	}
	return d
}

// AppendEscaped appends the inside of a JSON string with no more escapes than JSON demands. Bytes that are not UTF-8
// become U+FFFD, one each.
func AppendEscaped(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= ' ':
			b = append(b, c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\b':
			b = append(b, `\b`...)
		case c == '\f':
			b = append(b, `\f`...)
		default:
			b = append(b, `\u00`...)
			b = append(b, hex[c>>4], hex[c&15])
		}
	}
	return b
}

// compactJSON removes the white space between tokens and changes nothing else, bytes that are not UTF-8 aside: they
// become U+FFFD, one each.
func compactJSON(text string) (string, bool) {
	if !json.Valid([]byte(text)) {
		return "", false
	}
	b := make([]byte, 0, len(text))
	quoted, escaped := false, false
	for _, r := range text {
		switch {
		case escaped:
			escaped = false
		case r == '\\':
			escaped = true
		case r == '"':
			quoted = !quoted
		case !quoted && (r == ' ' || r == '\t' || r == '\r' || r == '\n'):
			continue
		}
		b = utf8.AppendRune(b, r)
	}
	return string(b), true
}

// equal compares as JSON does: the order of keys and the spelling of numbers do not count.
func (v jsonValue) equal(w jsonValue) bool {
	if v.kind != w.kind || len(v.items) != len(w.items) {
		return false
	}
	switch v.kind {
	case jsonNumber:
		return sameNumber(v.text, w.text)
	case jsonArray:
		for i := range v.items {
			if !v.items[i].equal(w.items[i]) {
				return false
			}
		}
		return true
	case jsonObject:
		for i, key := range v.keys {
			j := w.find(key)
			if j < 0 || !v.items[i].equal(w.items[j]) {
				return false
			}
		}
		return true
	}
	return v.text == w.text
}

// sameNumber compares integers digit by digit and everything else as floats.
func sameNumber(a, b string) bool {
	if a == b {
		return true
	}
	if !strings.ContainsAny(a+b, ".eE") {
		return pythonNumber(a) == pythonNumber(b)
	}
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX == nil && errY == nil && x == y
}

// clip shortens a text for an error message.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
