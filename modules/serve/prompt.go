package serve

import (
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"sync"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
	"github.com/ds4-go/ds4/modules/serve/sched"
)

// prompts makes token prompts of conversations. It remembers which tokens the model wrote for which text: a client sends a
// turn back as text, and an encoder may cut that otherwise than the model did. Where a prompt begins with a conversation
// that ran here, the tokens of then are used, and only what follows is encoded.
type prompts struct {
	t *tokenizer.Tokenizer

	mu     sync.Mutex
	known  map[kvstore.Alias]*list.Element
	recent list.List // of *past, the last used first
	tokens int       // in all
	most   int
}

// past is what stands for a beginning of a prompt.
type past struct {
	alias  kvstore.Alias
	tokens []int32
}

// pastTokens bounds the memory of turns: 64 MiB.
const pastTokens = 16 << 20

func newPrompts(t *tokenizer.Tokenizer) *prompts {
	return &prompts{t: t, known: map[kvstore.Alias]*list.Element{}, most: pastTokens}
}

// ending is the end of a message in a rendered prompt.
type ending struct {
	message  int
	segments int // up to it
	alias    kvstore.Alias
}

// endings hashes a prompt up to the end of each message. Kinds count: template and data of one text have different tokens.
func endings(segments []chat.Segment) []ending {
	h := sha256.New()
	var out []ending
	for i, s := range segments {
		var head [9]byte
		head[0] = byte(s.Kind)
		binary.LittleEndian.PutUint64(head[1:], uint64(len(s.Text)))
		_, _ = h.Write(head[:])
		_, _ = h.Write([]byte(s.Text))
		if i+1 == len(segments) || segments[i+1].Message != s.Message {
			e := ending{message: s.Message, segments: i + 1}
			h.Sum(e.alias[:0])
			out = append(out, e)
		}
	}
	return out
}

// build makes a scheduler's prompt.
func (p *prompts) build(segments []chat.Segment) sched.Prompt {
	ends := endings(segments)
	known, from := p.longest(ends)
	ids, cuts := chat.Tokens(p.t, segments[from:])
	out := sched.Prompt{Tokens: append(slices.Clone(known), ids...), Learn: p.learn}
	if from > 0 {
		out.Cuts = append(out.Cuts, len(known))
	}
	at := map[int]kvstore.Alias{}
	for _, e := range ends {
		at[e.message] = e.alias
	}
	stable := stableHead(segments)
	for _, c := range cuts {
		n := len(known) + c.Tokens
		if n == len(out.Tokens) {
			break // the prompt's own end
		}
		out.Cuts = append(out.Cuts, n)
		if stable >= 0 && c.Message == stable && from == 0 {
			out.Anchor = n
		}
		out.Points = append(out.Points, sched.Point{Alias: at[c.Message], Tokens: n})
	}
	if text := chat.Text(segments); !p.ambiguous(segments) {
		out.Text = text
		out.Rest = func(bytes int) []int32 { return p.t.EncodeTemplate(nil, text[bytes:]) }
	}
	return out
}

// stableHead is the last message in front of the last turn of a user before the first answer: system text, tools and what
// else conversations share. -1 where no message is.
func stableHead(segments []chat.Segment) int {
	head := -1
	for i, s := range segments {
		if s.Kind != chat.Template || i == 0 {
			continue
		}
		if strings.HasPrefix(s.Text, tokenizer.Assistant) {
			break
		}
		if strings.HasPrefix(s.Text, tokenizer.User) {
			head = segments[i-1].Message
		}
	}
	return head
}

// ambiguous says whether the text of a prompt does not determine its tokens: where data spells a special one.
func (p *prompts) ambiguous(segments []chat.Segment) bool {
	for _, s := range segments {
		if s.Kind != chat.Data || !strings.Contains(s.Text, "｜") && !strings.Contains(s.Text, "think>") {
			continue // all special tokens hold one of these
		}
		for _, id := range p.t.EncodeTemplate(nil, s.Text) {
			if p.t.IsSpecial(id) {
				return true
			}
		}
	}
	return false
}

// longest finds the longest remembered beginning, and the number of segments it stands for.
func (p *prompts) longest(ends []ending) (tokens []int32, segments int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range slices.Backward(ends) {
		if l, ok := p.known[e.alias]; ok {
			p.recent.MoveToFront(l)
			return l.Value.(*past).tokens, e.segments
		}
	}
	return nil, 0
}

// learn remembers the tokens that stand for what comes before a point.
func (p *prompts) learn(pt sched.Point, tokens []int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l, ok := p.known[pt.Alias]; ok {
		p.recent.MoveToFront(l)
		return
	}
	p.known[pt.Alias] = p.recent.PushFront(&past{pt.Alias, slices.Clone(tokens)})
	p.tokens += len(tokens)
	for p.tokens > p.most && p.recent.Len() > 1 {
		old := p.recent.Remove(p.recent.Back()).(*past)
		delete(p.known, old.alias)
		p.tokens -= len(old.tokens)
	}
}

// turn remembers a finished turn: what stood in the prompt, what the model wrote after it, and the end of the turn. segments
// are the conversation with the turn in it, as it will be rendered next time; they must say what was written, byte for byte.
func (p *prompts) turn(segments []chat.Segment, prompt, written []int32) (pt sched.Point, tokens []int32, ok bool) {
	tokens = append(append(slices.Clone(prompt), written...), p.t.Special().EOS)
	text, err := p.t.Decode(nil, tokens)
	if err != nil || string(text) != chat.Text(segments) {
		return pt, nil, false
	}
	ends := endings(segments)
	pt = sched.Point{Alias: ends[len(ends)-1].alias, Tokens: len(tokens)}
	p.learn(pt, tokens)
	return pt, tokens, true
}
