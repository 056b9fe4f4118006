package tokenizer

import "fmt"

// Text is the bytes of a token, which need not be whole UTF-8 characters; empty for an id out of range. It does not
// allocate.
func (t *Tokenizer) Text(id int32) string {
	if id < 0 || int(id) >= len(t.special) {
		return ""
	}
	return t.text[t.offsets[id]:t.offsets[id+1]]
}

// Decode appends the bytes of the tokens, special ones as their text. An id out of range is an error; dst then holds
// what came before it.
func (t *Tokenizer) Decode(dst []byte, ids []int32) ([]byte, error) {
	for i, id := range ids {
		if id < 0 || int(id) >= len(t.special) {
			return dst, fmt.Errorf("tokenizer: token %d: want an id below %d, got %d", i, len(t.special), id)
		}
		dst = append(dst, t.Text(id)...)
	}
	return dst, nil
}

// Decoder turns a stream of tokens into text, holding back the beginning of a character until its end has come. Bytes
// that are not UTF-8 pass unchanged: replacing them here would change the text that clients send back later.
type Decoder struct {
	t    *Tokenizer
	held []byte
}

// NewDecoder returns a decoder for one stream.
func (t *Tokenizer) NewDecoder() *Decoder { return &Decoder{t: t} }

// Add returns the text that is complete with this token; often empty. An id out of range adds nothing.
func (d *Decoder) Add(id int32) string {
	text := d.t.Text(id)
	if len(d.held) == 0 {
		n := WholeChars(text)
		d.held = append(d.held, text[n:]...)
		return text[:n]
	}
	d.held = append(d.held, text...)
	n := WholeChars(string(d.held))
	out := string(d.held[:n])
	d.held = append(d.held[:0], d.held[n:]...)
	return out
}

// Flush returns what is held at the end of the stream, complete or not.
func (d *Decoder) Flush() string {
	out := string(d.held)
	d.held = d.held[:0]
	return out
}

// WholeChars is the number of bytes of s without an unfinished UTF-8 character at its end: a lead byte that promises
// more bytes than have come. Any other byte that is not UTF-8 counts as whole.
func WholeChars(s string) int {
	for i := len(s) - 1; i >= 0 && i >= len(s)-3; i-- {
		n := 1
		switch c := s[i]; {
		case c >= 0x80 && c < 0xC0:
			continue // the middle of a character: go on to its lead
		case c >= 0xC2 && c < 0xE0:
			n = 2
		case c >= 0xE0 && c < 0xF0:
			n = 3
		case c >= 0xF0 && c < 0xF5:
			n = 4
		}
		if i+n > len(s) {
			return i
		}
		break
	}
	return len(s)
}
