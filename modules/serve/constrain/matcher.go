package constrain

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

// Vocab is a vocabulary as a tree of bytes.
type Vocab struct {
	n     int
	eos   int32
	nodes []trieNode
	text  func(id int32) string
}

type trieNode struct {
	kids   []trieEdge // ascending
	tokens []int32    // that end here
}

type trieEdge struct {
	b  byte
	to int32
}

// NewVocab makes the tree of a tokenizer's tokens. Special tokens are no text and never allowed, but for the one that
// ends a turn, and for the one that marks the tags of calls.
func NewVocab(t *tokenizer.Tokenizer) *Vocab {
	v := &Vocab{n: t.Len(), eos: t.Special().EOS, nodes: make([]trieNode, 1)}
	v.text = func(id int32) string {
		if id == t.Special().DSML {
			return dsml
		}
		return t.Text(id)
	}
	for id := range int32(t.Len()) {
		text := v.text(id)
		if text != dsml && t.IsSpecial(id) || text == "" || strings.Contains(text, dsml) && id != t.Special().DSML {
			continue
		}
		at := int32(0)
		for _, b := range []byte(text) {
			at = v.child(at, b)
		}
		v.nodes[at].tokens = append(v.nodes[at].tokens, id)
	}
	return v
}

func (v *Vocab) child(at int32, b byte) int32 {
	kids := v.nodes[at].kids
	i, ok := slices.BinarySearchFunc(kids, b, func(e trieEdge, b byte) int { return int(e.b) - int(b) })
	if ok {
		return kids[i].to
	}
	to := int32(len(v.nodes))
	v.nodes = append(v.nodes, trieNode{})
	v.nodes[at].kids = slices.Insert(kids, i, trieEdge{b, to})
	return to
}

// cache holds the states of a grammar over one vocabulary.
type cache struct {
	v       *Vocab
	code    []instr
	frames  []frame // stacks, as linked lists; 0 is the empty one
	frameOf map[frame]int32
	states  []*state
	stateOf map[string]*state
}

// frame is a place to return to, and the frames below.
type frame struct{ ret, below int32 }

// thread is a place in the program.
type thread struct{ pc, stack int32 }

// state is a set of places, all at bytes.
type state struct {
	threads []thread
	end     bool // the text may end here
	next    [256]*state
	known   [4]uint64 // bytes for which next is right; nil is then: not allowed
	mask    []uint32
}

// maxStates bounds the cache: at about 2.5 kB and a mask of 16 kB each. It begins anew when there are more.
const maxStates = 4096

// maxDepth bounds how deep a text may nest.
const maxDepth = 96

func newCache(v *Vocab, code []instr) *cache {
	return &cache{v: v, code: code, frames: make([]frame, 1), frameOf: map[frame]int32{}, stateOf: map[string]*state{}}
}

func (c *cache) push(ret, below int32) int32 {
	f := frame{ret, below}
	if id, ok := c.frameOf[f]; ok {
		return id
	}
	id := int32(len(c.frames))
	c.frames = append(c.frames, f)
	c.frameOf[f] = id
	return id
}

func (c *cache) depth(stack int32) int {
	n := 0
	for ; stack != 0; stack = c.frames[stack].below {
		n++
	}
	return n
}

// closure follows everything that takes no byte.
func (c *cache) closure(from []thread) *state {
	s := &state{}
	seen := map[thread]bool{}
	todo := slices.Clone(from)
	for len(todo) > 0 {
		t := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[t] {
			continue
		}
		seen[t] = true
		switch in := &c.code[t.pc]; in.op {
		case opByte:
			s.threads = append(s.threads, t)
		case opSplit:
			todo = append(todo, thread{int32(in.x), t.stack}, thread{int32(in.y), t.stack})
		case opJump:
			todo = append(todo, thread{int32(in.x), t.stack})
		case opCall:
			stack := t.stack
			if c.code[t.pc+1].op != opRet { // else the rule returns where this one would
				if c.depth(stack) >= maxDepth {
					continue
				}
				stack = c.push(t.pc+1, stack)
			}
			todo = append(todo, thread{int32(in.x), stack})
		case opRet:
			f := c.frames[t.stack]
			todo = append(todo, thread{f.ret, f.below})
		case opEnd:
			s.end = true
		}
	}
	slices.SortFunc(s.threads, func(a, b thread) int {
		if a.pc != b.pc {
			return int(a.pc - b.pc)
		}
		return int(a.stack - b.stack)
	})
	return c.intern(s)
}

func (c *cache) intern(s *state) *state {
	key := make([]byte, 0, 8*len(s.threads)+1)
	for _, t := range s.threads {
		key = binary.LittleEndian.AppendUint32(key, uint32(t.pc))
		key = binary.LittleEndian.AppendUint32(key, uint32(t.stack))
	}
	if s.end {
		key = append(key, 1)
	}
	if known, ok := c.stateOf[string(key)]; ok {
		return known
	}
	c.stateOf[string(key)] = s
	c.states = append(c.states, s)
	return s
}

// step is the state after a byte; nil where it is not allowed.
func (c *cache) step(s *state, b byte) *state {
	if s.known[b/64]>>(b%64)&1 == 1 {
		return s.next[b]
	}
	var to []thread
	for _, t := range s.threads {
		if c.code[t.pc].class.has(b) {
			to = append(to, thread{t.pc + 1, t.stack})
		}
	}
	s.known[b/64] |= 1 << (b % 64)
	if len(to) > 0 {
		if next := c.closure(to); len(next.threads) > 0 || next.end {
			s.next[b] = next
		}
	}
	return s.next[b]
}

// maskOf is the mask of a state.
func (c *cache) maskOf(s *state) []uint32 {
	if s.mask == nil {
		s.mask = make([]uint32, (c.v.n+31)/32)
		c.walk(s, 0, s.mask)
		if s.end {
			s.mask[c.v.eos/32] |= 1 << (c.v.eos % 32)
		}
	}
	return s.mask
}

func (c *cache) walk(s *state, at int32, mask []uint32) {
	for _, e := range c.v.nodes[at].kids {
		next := c.step(s, e.b)
		if next == nil {
			continue
		}
		for _, id := range c.v.nodes[e.to].tokens {
			mask[id/32] |= 1 << (id % 32)
		}
		c.walk(next, e.to, mask)
	}
}

// Matcher follows one text.
type Matcher struct {
	g *Grammar
	c *cache
	s *state // nil: the text has left the grammar
}

// Matcher begins a text.
func (g *Grammar) Matcher(v *Vocab) *Matcher {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cache == nil || g.cache.v != v || len(g.cache.states) > maxStates {
		g.cache = newCache(v, g.code) // matchers that are under way keep theirs
	}
	return &Matcher{g, g.cache, g.cache.closure([]thread{{0, 0}})}
}

// Mask has a bit for each token, set where it may come next; nil where the text has left the grammar, and anything may.
// It must not be changed.
func (m *Matcher) Mask() []uint32 {
	if m.s == nil {
		return nil
	}
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	return m.c.maskOf(m.s)
}

// Accept takes the next token and says whether the text is still in the grammar.
func (m *Matcher) Accept(id int32) bool {
	if m.s == nil || id < 0 || int(id) >= m.c.v.n {
		m.s = nil
		return false
	}
	if id == m.c.v.eos {
		return m.s.end
	}
	return m.Write(m.c.v.text(id))
}

// Write takes the next bytes of the text.
func (m *Matcher) Write(text string) bool {
	m.g.mu.Lock()
	defer m.g.mu.Unlock()
	for i := 0; i < len(text) && m.s != nil; i++ {
		m.s = m.c.step(m.s, text[i])
	}
	return m.s != nil
}

// MayEnd says whether the text is whole.
func (m *Matcher) MayEnd() bool { return m.s != nil && m.s.end }

// MustEnd says whether the text is whole and nothing can follow.
func (m *Matcher) MustEnd() bool { return m.MayEnd() && len(m.s.threads) == 0 }
