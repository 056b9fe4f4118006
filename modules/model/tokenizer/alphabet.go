package tokenizer

import "unicode/utf8"

// The byte-level alphabet (GPT-2): bytes 33–126, 161–172 and 174–255 are spelled by the code point of the same value,
// the other 68 in order by U+0100 and up. A space is Ġ, a newline Ċ.
var spellings, spelled = alphabet()

// alphabet returns the code point of every byte, and the byte of every code point, -1 for none.
func alphabet() (runes [256]rune, bytes [0x144]int16) {
	for i := range bytes {
		bytes[i] = -1
	}
	next := rune(0x100)
	for b := range runes {
		r := rune(b)
		if b < 33 || b > 126 && b < 161 || b == 173 {
			r = next
			next++
		}
		runes[b] = r
		bytes[r] = int16(b)
	}
	return runes, bytes
}

// appendDecoded appends the bytes that a spelling stands for. It reports false for a spelling that has a code point
// outside the alphabet; dst is then returned as it was.
func appendDecoded(dst []byte, spelling string) ([]byte, bool) {
	n := len(dst)
	for _, r := range spelling {
		if int(r) >= len(spelled) || spelled[r] < 0 {
			return dst[:n], false
		}
		dst = append(dst, byte(spelled[r]))
	}
	return dst, true
}

// Spelling is the token as the model file spells it: byte-level alphabet for ordinary tokens, so that a space shows as
// Ġ, and plain text for special ones. It is empty for an id out of range.
func (t *Tokenizer) Spelling(id int32) string {
	text := t.Text(id)
	if t.IsSpecial(id) {
		return text
	}
	buf := make([]byte, 0, 2*len(text))
	for i := range len(text) {
		buf = utf8.AppendRune(buf, spellings[text[i]])
	}
	return string(buf)
}
