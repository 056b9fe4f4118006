package tokenizer

// splitter cuts text into the pieces that BPE works on. The published definition is three regular expressions run one
// after the other, each on what the one before left over:
//
//  1. numbers, in chunks of at most three
//  2. runs of CJK ideographs and kana
//  3. the first that matches of
//     a. one ASCII punctuation character and the ASCII letters after it
//     b. at most one character that is no newline, letter, punctuation or symbol, and the letters and marks after it
//     c. at most one space, the punctuation and symbols after it, and the newlines after those
//     d. white space that ends in newlines
//     e. white space, less the last character if something else follows
//     f. white space
//
// and the stretches that match nothing. Go's regexp has no look-ahead, and one scan is faster than three: a piece
// depends only on the text from its first character on, because no rule looks past the end of the number, CJK or
// other segment it is in.
type splitter struct {
	text    string
	classes *[1 << 16]class
}

// in returns the class and the length of the character at i, or 0, 0 if it is not in the kind of segment asked for
// (cjk or 0 for other): to the rules, the end of the segment is the end of the text.
func (t *splitter) in(segment class, i int) (class, int) {
	c, n := t.at(i)
	if c&(number|cjk) != segment {
		return 0, 0
	}
	return c, n
}

// run returns the end of the run, from i, of characters of any of the classes in want.
func (t *splitter) run(segment, want class, i int) int {
	for {
		c, n := t.in(segment, i)
		if c&want == 0 {
			return i
		}
		i += n
	}
}

// next returns the end of the piece that begins at i, which must be before the end of the text.
func (t *splitter) next(i int) int {
	c, n := t.at(i)
	if c&number != 0 {
		return t.numbers(i)
	}
	seg := c & cjk
	after, afterLen := t.in(seg, i+n)
	switch {
	case c&asciiPunct != 0 && after&asciiLetter != 0:
		return t.run(seg, asciiLetter, i+n)
	case c&(newline|letter|punct) == 0 && after&letter != 0:
		return t.run(seg, letter, i+n+afterLen)
	case c&letter != 0:
		return t.run(seg, letter, i+n)
	case c&punct != 0, t.text[i] == ' ' && after&punct != 0:
		return t.run(seg, newline, t.run(seg, punct, i+n))
	case c&space != 0:
		return t.spaces(seg, i)
	}
	return t.unmatched(seg, i+n)
}

func (t *splitter) numbers(i int) int {
	for range 3 {
		c, n := t.at(i)
		if c&number == 0 {
			break
		}
		i += n
	}
	return i
}

func (t *splitter) spaces(seg class, i int) int {
	end, last, lastNewline := i, i, i // end of the run, start of its last character, end of its last newline
	for {
		c, n := t.in(seg, end)
		if c&space == 0 {
			break
		}
		last, end = end, end+n
		if c&newline != 0 {
			lastNewline = end
		}
	}
	_, more := t.in(seg, end)
	switch {
	case lastNewline > i:
		return lastNewline
	case more > 0 && last > i:
		return last
	}
	return end
}

// unmatched returns the end of a stretch of control, format, private-use or unassigned characters, whose first one has
// been passed: it ends where some rule matches.
func (t *splitter) unmatched(seg class, i int) int {
	for {
		c, n := t.in(seg, i)
		if n == 0 || c&(letter|punct|space) != 0 {
			return i
		}
		if after, _ := t.in(seg, i+n); after&letter != 0 {
			return i // this one joins the letters
		}
		i += n
	}
}
