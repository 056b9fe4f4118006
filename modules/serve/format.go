package serve

import (
	"crypto/sha256"
	"encoding/json"
	"sync"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
	"github.com/ds4-go/ds4/modules/serve/constrain"
	"github.com/ds4-go/ds4/modules/serve/wire"
)

// format is the form that a request demands of an answer's text.
type format struct {
	json   bool            // any JSON object
	schema json.RawMessage // JSON of this schema, which the model is shown too
	path   string          // of the schema in the request
}

// readFormat reads a demanded form. OpenAI's chat has the schema one level further in than the other APIs.
func (q *completion) readFormat(o wire.Obj, key string) {
	f, ok := o.Object(key)
	if !ok {
		return
	}
	kind := "text"
	f.Choice("type", &kind, "text", "json_object", "json_schema")
	switch kind {
	case "json_object":
		q.format.json = true
	case "json_schema":
		if inner, ok := f.Object("json_schema"); ok {
			f = inner
		}
		n := f.Get("schema")
		if n.Kind != wire.Object {
			f.Fail("schema", "want an object, got %s", n.Kind)
			return
		}
		q.format.schema, q.format.path = n.Compact(nil), f.At("schema")
	}
}

// grammars makes the grammars of formats, and keeps the last ones: what may follow is worked out once for each.
type grammars struct {
	t *tokenizer.Tokenizer

	mu    sync.Mutex
	vocab *constrain.Vocab // made when first needed: it takes some 30 MB
	json  *constrain.Grammar
	known map[[sha256.Size]byte]*constrain.Grammar
}

const maxGrammars = 64

// of is the grammar of a format; nil where any text will do.
func (g *grammars) of(f format) (*constrain.Grammar, *constrain.Vocab, error) {
	switch {
	case f.json:
		vocab := g.vocabulary()
		return g.json, vocab, nil
	case f.schema == nil:
		return nil, nil, nil
	}
	made, err := g.once(sha256.Sum256(f.schema), func() (*constrain.Grammar, error) { return constrain.Schema(f.schema) })
	if err != nil {
		return nil, nil, wire.BadRequest(f.path, "%s: %s", f.path, err)
	}
	return made, g.vocabulary(), nil
}

// vocabulary makes what all grammars need when one is first asked for.
func (g *grammars) vocabulary() *constrain.Vocab {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.vocab == nil {
		g.vocab, g.json = constrain.NewVocab(g.t), constrain.JSON()
	}
	return g.vocab
}

// once is the grammar that is known by a key, or made now.
func (g *grammars) once(key [sha256.Size]byte, make func() (*constrain.Grammar, error)) (*constrain.Grammar, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if made, ok := g.known[key]; ok {
		return made, nil
	}
	made, err := make()
	if err != nil {
		return nil, err
	}
	if g.known == nil || len(g.known) >= maxGrammars {
		g.known = map[[sha256.Size]byte]*constrain.Grammar{}
	}
	g.known[key] = made
	return made, nil
}

// withFormat shows the model the schema, on the leading system message.
func withFormat(msgs []chat.Message, schema json.RawMessage) []chat.Message {
	if schema == nil {
		return msgs
	}
	out := make([]chat.Message, 0, len(msgs)+1)
	if len(msgs) == 0 || msgs[0].Role != chat.RoleSystem {
		out = append(out, chat.Message{Role: chat.RoleSystem})
	}
	out = append(out, msgs...)
	out[0].ResponseFormat = schema
	return out
}

// formatted keeps the text of an answer in its format. Where there are tools, a call may come in its place.
type formatted struct {
	*constrain.Matcher
	begun bool
	call  []int32 // the tokens that begin a call block
	head  int     // of which have come
}

// next is what may come now: a mask, or the rest of a call's head. free tells that a call is on its way.
func (f *formatted) next(scratch func() []uint32) (mask []uint32, forced []int32, free bool) {
	switch {
	case f.head > 0 && f.head < len(f.call):
		return nil, f.call[f.head:], false
	case f.head > 0:
		return nil, nil, true
	}
	mask = f.Mask()
	if !f.begun && len(f.call) > 0 && mask != nil {
		both := scratch()
		copy(both, mask)
		id := f.call[0]
		both[id/32] |= 1 << (id % 32)
		mask = both
	}
	return mask, nil, false
}

// take takes a token of the text and says whether nothing may follow.
func (f *formatted) take(id int32) (done bool) {
	if f.head > 0 || !f.begun && len(f.call) > 0 && id == f.call[0] {
		f.head++
		return false
	}
	f.begun = true
	f.Accept(id)
	return f.MustEnd()
}
