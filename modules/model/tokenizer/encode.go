package tokenizer

import (
	"iter"
	"strings"
)

// Encode appends the tokens of data text: nothing in it is special. It allocates only when dst is too small, or for a
// word of more than 16 KiB.
func (t *Tokenizer) Encode(dst []int32, text string) []int32 {
	s := t.states.Get().(*state)
	dst = t.encode(s, dst, text)
	t.states.Put(s)
	return dst
}

func (t *Tokenizer) encode(s *state, dst []int32, text string) []int32 {
	for i, j := range t.spans(text) {
		dst = t.piece(s, dst, text, i, j)
	}
	return dst
}

// spans yields the start and the end of every piece.
func (t *Tokenizer) spans(text string) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		if t.ds4 {
			if end := strings.IndexByte(text, 0); end >= 0 {
				text = text[:end] // a C string
			}
			for i := 0; i < len(text); {
				j := ds4Next(text, i)
				if !yield(i, j) {
					return
				}
				i = j
			}
			return
		}
		split := splitter{text, classes()}
		for i := 0; i < len(text); {
			j := split.next(i)
			if !yield(i, j) {
				return
			}
			i = j
		}
	}
}

// Pieces yields what BPE will see of a data text, for looking inside.
func (t *Tokenizer) Pieces(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i, j := range t.spans(text) {
			if !yield(text[i:j]) {
				return
			}
		}
	}
}

// EncodeTemplate appends the tokens of template text: every special token's text becomes its id, and each span between
// them is encoded on its own. Use it for what the program itself wrote, and for prompts that come rendered.
func (t *Tokenizer) EncodeTemplate(dst []int32, text string) []int32 {
	b := t.NewBuilder(dst)
	b.Template(text)
	return b.Tokens()
}

// Count is the number of tokens of a data text.
func (t *Tokenizer) Count(text string) int {
	s := t.states.Get().(*state)
	var buf [256]int32
	n := 0
	for i, j := range t.spans(text) {
		n += len(t.piece(s, buf[:0], text, i, j))
	}
	t.states.Put(s)
	return n
}

// Builder makes one token list from template and data text. A span between two special tokens is encoded as one text
// however many calls it came in, so a list built from parts equals that of the whole text; only where data spells a
// special token do they differ, and that is the point.
type Builder struct {
	t       *Tokenizer
	ids     []int32
	pending []byte // text since the last special token
}

// NewBuilder returns a builder that appends to dst.
func (t *Tokenizer) NewBuilder(dst []int32) *Builder {
	return &Builder{t: t, ids: dst}
}

// Template adds text in which special tokens are recognised.
func (b *Builder) Template(text string) {
	if b.t.ds4 {
		if end := strings.IndexByte(text, 0); end >= 0 {
			text = text[:end]
		}
	}
	for {
		start, end, id := b.t.literals.next(text, 0)
		b.Data(text[:start])
		if start == end {
			return
		}
		b.flush()
		b.ids = append(b.ids, id)
		text = text[end:]
	}
}

// Data adds text in which nothing is special.
func (b *Builder) Data(text string) { b.pending = append(b.pending, text...) }

// Boundary returns the number of tokens so far if it is certain that no token reaches across into what follows: where
// the text so far ends with a special token, or next, the template text to be added after it, begins with one.
func (b *Builder) Boundary(next string) (tokens int, ok bool) {
	if len(b.pending) > 0 {
		if n, _ := b.t.literals.match(next); n == 0 {
			return len(b.ids), false
		}
		b.flush()
	}
	return len(b.ids), true
}

// Tokens ends the list and returns it, with dst in front.
func (b *Builder) Tokens() []int32 {
	b.flush()
	return b.ids
}

func (b *Builder) flush() {
	if len(b.pending) > 0 {
		b.ids = b.t.Encode(b.ids, string(b.pending))
		b.pending = b.pending[:0]
	}
}
