package tokenizer

import "unicode/utf8"

// ds4Next is the splitter of the ds4 engine: one pass over bytes, in which every byte above 127 counts as a letter.
// It returns the end of the piece that begins at i.
func ds4Next(s string, i int) int {
	switch c := s[i]; {
	case isDigit(c):
		end := i + 1
		for end < len(s) && end < i+3 && isDigit(s[end]) {
			end++
		}
		return end
	case ds4CJK(s, i):
		for i < len(s) && ds4CJK(s, i) {
			i += ds4Len(s, i)
		}
		return i
	case isPunct(c) && i+1 < len(s) && isASCIILetter(s[i+1]):
		i++
		for i < len(s) && isASCIILetter(s[i]) {
			i++
		}
		return i
	case ds4Letter(c):
		return ds4Letters(s, i)
	case c != '\r' && c != '\n' && !isPunct(c) && i+1 < len(s) && ds4Letter(s[i+1]):
		return ds4Letters(s, i+1)
	case isPunct(c), c == ' ' && i+1 < len(s) && isPunct(s[i+1]):
		i++
		for i < len(s) && isPunct(s[i]) {
			i++
		}
		for i < len(s) && (s[i] == '\r' || s[i] == '\n') {
			i++
		}
		return i
	case isSpace(c):
		return ds4Spaces(s, i)
	}
	return i + ds4Len(s, i)
}

func ds4Spaces(s string, i int) int {
	end, lastNewline := i, i
	for end < len(s) && isSpace(s[end]) {
		if s[end] == '\r' || s[end] == '\n' {
			lastNewline = end + 1
		}
		end++
	}
	switch {
	case lastNewline > i:
		return lastNewline
	case end-i > 1 && end < len(s) && (ds4Letter(s[end]) || isPunct(s[end])):
		return end - 1
	}
	return end
}

func ds4Letters(s string, i int) int {
	for i < len(s) && ds4Letter(s[i]) {
		i += ds4Len(s, i)
	}
	return i
}

// ds4Len is the length the lead byte promises, not checked against what follows.
func ds4Len(s string, i int) int {
	n := 1
	switch c := s[i]; {
	case c>>5 == 0b110:
		n = 2
	case c>>4 == 0b1110:
		n = 3
	case c>>3 == 0b11110:
		n = 4
	}
	if i+n > len(s) {
		return 1
	}
	return n
}

func ds4CJK(s string, i int) bool {
	if s[i] < utf8.RuneSelf || ds4Len(s, i) != 3 {
		return false
	}
	r := rune(s[i]&0x0F)<<12 | rune(s[i+1]&0x3F)<<6 | rune(s[i+2]&0x3F)
	return r >= 0x4E00 && r <= 0x9FA5 || r >= 0x3040 && r <= 0x30FF
}

func ds4Letter(c byte) bool     { return c >= utf8.RuneSelf || isASCIILetter(c) }
func isASCIILetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool       { return c >= '0' && c <= '9' }
func isSpace(c byte) bool       { return c == ' ' || c >= '\t' && c <= '\r' }
func isPunct(c byte) bool {
	return c > ' ' && c < 0x7F && !isDigit(c) && !isASCIILetter(c)
}
