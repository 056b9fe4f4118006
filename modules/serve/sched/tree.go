package sched

import "container/list"

// tree keeps snapshots by their tokens: a radix tree, so that the deepest one a prompt begins with is found in one walk.
// Snapshots that share a beginning share the engine's pages too. The least recently used go first when there are too many
// bytes of them; a snapshot that goes leaves those behind it untouched.
type tree struct {
	root   node
	recent list.List // of *entry, the last used first
	bytes  int64     // on the host
	most   int64
	drop   func(*entry) // told before an entry goes
}

type node struct {
	edge   []int32 // tokens from the parent to here
	parent *node
	kids   map[int32]*node // by the first token of their edge
	entry  *entry
}

// entry is a snapshot, held by the tree and by those that save it.
type entry struct {
	snap  Snapshot
	n     int // tokens
	host  int64
	refs  int
	node  *node
	place *list.Element
	turn  bool // it stands at the end of a turn
	saved bool // or being saved
}

func (e *entry) release() {
	if e.refs--; e.refs == 0 {
		e.snap.Free()
	}
}

// match walks the tree along the tokens. best is the deepest entry of at most most tokens; common is how many tokens the
// tree and the prompt have in common.
func (t *tree) match(tokens []int32, most int) (best *entry, common int) {
	n := &t.root
	for {
		if n.entry != nil && n.entry.n <= most {
			best = n.entry
		}
		kid := n.kids[first(tokens[common:])]
		if kid == nil || common == len(tokens) {
			return best, common
		}
		k := shared(kid.edge, tokens[common:])
		common += k
		if k < len(kid.edge) {
			return best, common
		}
		n = kid
	}
}

// beside lists up to most entries that go on otherwise where the tokens leave what the tree knows, the last used first, and
// how many tokens they have in common.
func (t *tree) beside(tokens []int32, most int) (common int, list []*entry) {
	_, common = t.match(tokens, len(tokens))
	for at := t.recent.Front(); at != nil && len(list) < most; at = at.Next() {
		e := at.Value.(*entry)
		if e.n > common && shared(e.snap.Tokens(), tokens) >= common {
			list = append(list, e)
		}
	}
	return common, list
}

func first(tokens []int32) int32 {
	if len(tokens) == 0 {
		return -1
	}
	return tokens[0]
}

func shared(a, b []int32) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// get returns the entry that stands at exactly these tokens.
func (t *tree) get(tokens []int32) *entry {
	if e, _ := t.match(tokens, len(tokens)); e != nil && e.n == len(tokens) {
		return e
	}
	return nil
}

// put adds a snapshot, which is then the tree's. There must be none at its tokens yet.
func (t *tree) put(s Snapshot) *entry {
	host, _ := s.Bytes()
	e := &entry{snap: s, n: s.Len(), host: host, refs: 1, node: t.nodeAt(s.Tokens())}
	e.node.entry = e
	e.place = t.recent.PushFront(e)
	t.bytes += host
	for t.bytes > t.most && t.recent.Len() > 1 {
		t.remove(t.oldest())
	}
	return e
}

// nodeAt makes the node at the tokens.
func (t *tree) nodeAt(tokens []int32) *node {
	n := &t.root
	for len(tokens) > 0 {
		kid := n.kids[tokens[0]]
		if kid == nil {
			leaf := &node{edge: tokens, parent: n}
			n.adopt(leaf)
			return leaf
		}
		k := shared(kid.edge, tokens)
		if k < len(kid.edge) { // split the edge
			mid := &node{edge: kid.edge[:k:k], parent: n}
			n.adopt(mid)
			kid.edge, kid.parent = kid.edge[k:], mid
			mid.adopt(kid)
			kid = mid
		}
		n, tokens = kid, tokens[k:]
	}
	return n
}

func (n *node) adopt(kid *node) {
	if n.kids == nil {
		n.kids = map[int32]*node{}
	}
	n.kids[kid.edge[0]] = kid
}

func (t *tree) touch(e *entry) { t.recent.MoveToFront(e.place) }

func (t *tree) oldest() *entry {
	if back := t.recent.Back(); back != nil {
		return back.Value.(*entry)
	}
	return nil
}

// remove takes an entry out. Its snapshot lives on while somebody saves it.
func (t *tree) remove(e *entry) {
	if t.drop != nil {
		t.drop(e)
	}
	t.recent.Remove(e.place)
	t.bytes -= e.host
	n := e.node
	n.entry = nil
	for n.parent != nil && n.entry == nil && len(n.kids) < 2 {
		parent := n.parent
		if len(n.kids) == 0 {
			delete(parent.kids, n.edge[0])
			n = parent
			continue
		}
		for _, kid := range n.kids { // the only one: join the two edges
			kid.edge = append(append(make([]int32, 0, len(n.edge)+len(kid.edge)), n.edge...), kid.edge...)
			kid.parent = parent
			parent.kids[kid.edge[0]] = kid
		}
		break
	}
	e.release()
}
