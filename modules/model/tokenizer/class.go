package tokenizer

import (
	"sync"
	"unicode"
	"unicode/utf8"
)

// class says which rules of the splitter a character takes part in.
type class uint8

const (
	letter      class = 1 << iota // \p{L} and \p{M}; also a byte that is not UTF-8
	punct                         // \p{P} and \p{S}
	space                         // White_Space
	newline                       // CR and LF, which are also space
	number                        // \p{N}
	cjk                           // the three ranges of the second split; also letter or punct as Unicode says
	asciiPunct                    // the 32 of rule a; also punct
	asciiLetter                   // also letter
)

// classes holds the class of every character of the basic plane. Unicode's own tables answer the same questions by
// binary search, five searches a character.
var classes = sync.OnceValue(func() *[1 << 16]class {
	t := new([1 << 16]class)
	mark := func(c class, tables ...*unicode.RangeTable) {
		for _, table := range tables {
			for _, r := range table.R16 {
				for u := uint32(r.Lo); u <= uint32(r.Hi); u += uint32(r.Stride) {
					t[u] |= c
				}
			}
		}
	}
	mark(letter, unicode.L, unicode.M)
	mark(punct, unicode.P, unicode.S)
	mark(number, unicode.N)
	mark(space, unicode.White_Space)
	t['\r'] |= newline
	t['\n'] |= newline
	for u := 0x4E00; u <= 0x9FA5; u++ {
		t[u] |= cjk
	}
	for u := 0x3040; u <= 0x30FF; u++ { // hiragana and katakana
		t[u] |= cjk
	}
	for b := range 128 {
		if t[b]&letter != 0 {
			t[b] |= asciiLetter
		}
		if t[b]&punct != 0 {
			t[b] |= asciiPunct
		}
	}
	return t
})

// highClass is the class of a character above the basic plane. None of them is white space.
func highClass(r rune) class {
	switch {
	case unicode.In(r, unicode.L, unicode.M):
		return letter
	case unicode.In(r, unicode.P, unicode.S):
		return punct
	case unicode.In(r, unicode.N):
		return number
	}
	return 0
}

// at returns the class and the length in bytes of the character at i; 0, 0 at the end of the text.
func (t *splitter) at(i int) (class, int) {
	if i >= len(t.text) {
		return 0, 0
	}
	if b := t.text[i]; b < utf8.RuneSelf {
		return t.classes[b], 1
	}
	r, n := utf8.DecodeRuneInString(t.text[i:])
	if r == utf8.RuneError && n == 1 {
		// The published definition has no word for bytes that are not UTF-8. As letters they never join
		// punctuation, and they are cut as ds4 cuts them.
		return letter, 1
	}
	if r < 1<<16 {
		return t.classes[r], n
	}
	return highClass(r), n
}
