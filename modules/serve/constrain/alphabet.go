package constrain

import (
	"fmt"
	"unicode/utf8"
)

// alphabet is how the characters of a string are written: inside the quotes of JSON, or as they are between the tags of a
// call. In calls the fullwidth bar is left out, because with it a string could spell the tag that ends it; JSON has an
// escape for it.
type alphabet struct {
	raw, call bool
}

const bar = '｜'

// char is any character.
func (a alphabet) char() expr {
	if !a.raw && !a.call {
		return char()
	}
	e := a.runes(0, utf8.MaxRune)
	if !a.raw {
		hex := one(bytes('0', '9', 'a', 'f', 'A', 'F'))
		e = alt(e, seq(lit(`\`), alt(lit("/"), seq(lit("u"), hex, hex, hex, hex))))
	}
	return e
}

// runes is one character of some ranges: first, last, first, last. It is nil where there is none.
func (a alphabet) runes(ranges ...rune) expr {
	var list []expr
	for i := 0; i < len(ranges); i += 2 {
		lo, hi := ranges[i], ranges[i+1]
		if a.call && lo <= bar && bar <= hi {
			list = append(append(list, a.span(lo, bar-1)...), a.span(bar+1, hi)...)
			continue
		}
		list = append(list, a.span(lo, hi)...)
	}
	if len(list) == 0 {
		return nil
	}
	return alt(list...)
}

// span is a range without what is not allowed in it.
func (a alphabet) span(lo, hi rune) (list []expr) {
	if !a.raw {
		for r := lo; r <= min(hi, '\\'); r++ {
			if r < ' ' || r == '"' || r == '\\' {
				list = append(list, lit(escape(r)))
			}
		}
	}
	cuts := []rune{0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, utf8.MaxRune}
	if !a.raw {
		cuts = append([]rune{' ', '!', '#', '[', ']'}, cuts[1:]...)
	}
	for i := 0; i < len(cuts); i += 2 {
		if l, h := max(lo, cuts[i]), min(hi, cuts[i+1]); l <= h {
			list = append(list, between(utf8.AppendRune(nil, l), utf8.AppendRune(nil, h), 0x80, 0xbf))
		}
	}
	return list
}

// escape is how JSON writes a character that may not stand for itself.
func escape(r rune) string {
	switch r {
	case '"', '\\':
		return `\` + string(r)
	case '\b':
		return `\b`
	case '\f':
		return `\f`
	case '\n':
		return `\n`
	case '\r':
		return `\r`
	case '\t':
		return `\t`
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// between is every text from lo to hi of their length, whose bytes behind the first go from least to most: characters of
// UTF-8, and numbers with as many digits.
func between[T string | []byte](lo, hi T, least, most byte) expr {
	if len(lo) == 1 {
		return one(bytes(lo[0], hi[0]))
	}
	first, last := lo[0], hi[0]
	if first == last {
		return seq(one(bytes(first, first)), between(lo[1:], hi[1:], least, most))
	}
	var list []expr
	n := len(lo) - 1
	if !all(lo[1:], least) {
		list = append(list, seq(one(bytes(first, first)), between(lo[1:], T(filled(n, most)), least, most)))
		first++
	}
	top := expr(nil)
	if !all(hi[1:], most) {
		top = seq(one(bytes(last, last)), between(T(filled(n, least)), hi[1:], least, most))
		last--
	}
	if first <= last {
		middle := []expr{one(bytes(first, last))}
		for range n {
			middle = append(middle, one(bytes(least, most)))
		}
		list = append(list, seq(middle...))
	}
	if top != nil {
		list = append(list, top)
	}
	return alt(list...)
}

func all[T string | []byte](s T, b byte) bool {
	for i := range len(s) {
		if s[i] != b {
			return false
		}
	}
	return true
}

func filled(n int, b byte) []byte {
	s := make([]byte, n)
	for i := range s {
		s[i] = b
	}
	return s
}
