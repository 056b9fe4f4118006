package chat

import "github.com/ds4-go/ds4/modules/model/tokenizer"

// Cut is a place between two tokens where a message ends: messages up to and including Message are the first Tokens
// tokens, whatever comes after them.
type Cut struct {
	Message int
	Tokens  int
}

// Tokens encodes a rendered prompt. The cuts are the ends of messages, in order, the end of the prompt last. A message
// that ends inside running text (a system message in front of another one) has no cut, because a token may reach across.
func Tokens(t *tokenizer.Tokenizer, segments []Segment) (ids []int32, cuts []Cut) {
	b := t.NewBuilder(nil)
	for i, s := range segments {
		if i > 0 && segments[i-1].Message != s.Message {
			next := ""
			if s.Kind == Template {
				next = s.Text
			}
			if n, ok := b.Boundary(next); ok {
				cuts = append(cuts, Cut{segments[i-1].Message, n})
			}
		}
		if s.Kind == Template {
			b.Template(s.Text)
		} else {
			b.Data(s.Text)
		}
	}
	ids = b.Tokens()
	if n := len(segments); n > 0 {
		cuts = append(cuts, Cut{segments[n-1].Message, len(ids)})
	}
	return ids, cuts
}
