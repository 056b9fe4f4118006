package serve

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
	"github.com/ds4-go/ds4/modules/serve/constrain"
	"github.com/ds4-go/ds4/modules/serve/wire"
)

// declare adds a tool, or says what is wrong with it. One with strict: true, wherever an API has that, is called with arguments of its schema only.
func (q *completion) declare(item wire.Obj, raw []byte) bool {
	tool, err := chat.ParseTool(raw)
	if err != nil {
		item.Fail("name", "%s", err)
		return false
	}
	if slices.ContainsFunc(q.declared, func(t constrain.Tool) bool { return t.Name == tool.Name() }) {
		if q.again {
			return true
		}
		item.Fail("name", "%q is declared twice", clip(tool.Name(), 100))
		return false
	}
	t, strict := constrain.Tool{Name: tool.Name()}, false
	f := item
	if inner, ok := item.Object("function"); ok {
		f = inner
	}
	item.Bool("strict", &strict)
	f.Bool("strict", &strict)
	if strict {
		key := "parameters"
		if f.Get("input_schema").Kind != wire.Null {
			key = "input_schema"
		}
		t.Parameters, t.Path = []byte("{}"), f.At(key)
		if n := f.Get(key); n.Kind != wire.Null {
			t.Parameters = n.Compact(nil)
		}
	}
	q.tools, q.declared = append(q.tools, tool), append(q.declared, t)
	return true
}

// calls is the grammar of the calls that a request may bring; nil where no tool is strict. If one is, the calls of the
// others are held to the syntax, so that a call is one of a tool that was declared.
func (g *grammars) calls(q *completion, vocab *constrain.Vocab) (*constrain.Grammar, *constrain.Vocab, error) {
	strict := false
	for i := range q.declared {
		strict = strict || q.declared[i].Parameters != nil
	}
	if !strict || q.choice.none {
		return nil, vocab, nil
	}
	text, err := json.Marshal(q.declared)
	if err != nil {
		return nil, nil, err
	}
	made, err := g.once(sha256.Sum256(append(text, " calls"...)), func() (*constrain.Grammar, error) { return constrain.Calls(q.declared) })
	if err != nil {
		return nil, nil, wire.BadRequest("tools", "%s", err)
	}
	return made, g.vocabulary(), nil
}

// strict keeps blocks of calls in their grammar. It is told every token, and is inside of a block from the name of the
// block's tag to its end.
type strict struct {
	grammar *constrain.Grammar
	vocab   *constrain.Vocab
	block   *constrain.Matcher
	tail    string // of the text, as much as a tag may begin with
}

const blockStart = "<" + tokenizer.DSML + "tool_calls"

func (s *strict) inside() bool { return s != nil && s.block != nil }

func (s *strict) take(id int32, text string) {
	if s == nil {
		return
	}
	if s.inside() {
		if s.block.Accept(id); s.block.MustEnd() {
			s.block = nil
		}
		return
	}
	s.tail += text
	if i := strings.LastIndex(s.tail, blockStart); i >= 0 {
		s.block = s.grammar.Matcher(s.vocab)
		s.block.Write(s.tail[i+len(blockStart)-len("tool_calls"):])
		s.tail = ""
	}
	s.tail = s.tail[max(0, len(s.tail)-len(blockStart)):]
}
