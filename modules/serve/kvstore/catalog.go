package kvstore

import (
	"cmp"
	"slices"
)

// catalog is the index in memory, with the ways into it.
type catalog struct {
	entries map[string]*entry
	bytes   int64
	names   int // bytes of names, aliases and tools: what the index grows with besides its entries

	blocks map[Key][]*entry   // blocks by the key at their end
	ends   map[Key][]*entry   // checkpoints by the key at the start of their page
	under  map[Key]int        // blocks that begin at a key
	nexts  map[Key]int        // checkpoints that go on from a key's
	alias  map[Alias][]*entry // checkpoints
	tools  map[uint64][]*entry
	kvc    map[int][]*entry // by bytes of text
}

func newCatalog(entries map[string]*entry) *catalog {
	c := &catalog{entries: map[string]*entry{}, blocks: map[Key][]*entry{}, ends: map[Key][]*entry{}, under: map[Key]int{},
		nexts: map[Key]int{}, alias: map[Alias][]*entry{}, tools: map[uint64][]*entry{}, kvc: map[int][]*entry{}}
	for _, e := range entries {
		c.add(e)
	}
	return c
}

func (c *catalog) add(e *entry) {
	c.remove(e.name)
	c.entries[e.name] = e
	c.bytes += e.bytes
	c.names += e.extra()
	switch e.kind {
	case kindBlock:
		c.blocks[e.key] = append(c.blocks[e.key], e)
		c.under[e.parent]++
	case kindEnd:
		c.ends[e.parent] = append(c.ends[e.parent], e)
		if e.prev != (Key{}) {
			c.nexts[e.prev]++
		}
	case kindKVC:
		c.kvc[e.text] = append(c.kvc[e.text], e)
	}
	for _, a := range e.aliases {
		c.alias[a] = append(c.alias[a], e)
	}
	for _, t := range e.tools {
		c.tools[t] = append(c.tools[t], e)
	}
}

func (c *catalog) remove(name string) {
	e := c.entries[name]
	if e == nil {
		return
	}
	delete(c.entries, name)
	c.bytes -= e.bytes
	c.names -= e.extra()
	switch e.kind {
	case kindBlock:
		drop(c.blocks, e.key, e)
		count(c.under, e.parent)
	case kindEnd:
		drop(c.ends, e.parent, e)
		if e.prev != (Key{}) {
			count(c.nexts, e.prev)
		}
	case kindKVC:
		drop(c.kvc, e.text, e)
	}
	for _, a := range e.aliases {
		drop(c.alias, a, e)
	}
	for _, t := range e.tools {
		drop(c.tools, t, e)
	}
}

func drop[K comparable](m map[K][]*entry, k K, e *entry) {
	l := m[k]
	if i := slices.Index(l, e); i >= 0 {
		l = slices.Delete(l, i, i+1)
	}
	if m[k] = l; len(l) == 0 {
		delete(m, k)
	}
}

func count(m map[Key]int, k Key) {
	if m[k]--; m[k] <= 0 {
		delete(m, k)
	}
}

// extra is the size of an entry's lists in the index file.
func (e *entry) extra() int { return len(e.name) + 32*len(e.aliases) + 8*len(e.tools) }

// indexBytes is the size of the index file with more entries of the usual kind.
func (c *catalog) indexBytes(more int) int64 {
	return int64(indexHead+4+c.names) + int64(len(c.entries)+more)*entryFixed + int64(more)*64
}

// chainOf lists the blocks from the root to a key, first page first; nil, false where one is missing. pick chooses among the
// same block of different weights.
func (c *catalog) chainOf(key, root Key, pick func([]*entry) *entry) ([]*entry, bool) {
	var blocks []*entry
	for key != root {
		e := pick(c.blocks[key])
		if e == nil || len(blocks) == len(c.entries) { // a chain that long goes in a circle
			return nil, false
		}
		blocks = append(blocks, e)
		key = e.parent
	}
	slices.Reverse(blocks)
	return blocks, true
}

// own lists the blocks that nothing but checkpoint e needs, last first.
func (c *catalog) own(e *entry) []*entry {
	var blocks []*entry
	for key := e.parent; len(c.blocks[key]) > 0; {
		users := c.under[key] + len(c.ends[key])
		if users > 1 || len(blocks) > len(c.entries) {
			break
		}
		b := c.blocks[key]
		blocks = append(blocks, b...)
		key = b[0].parent
	}
	return blocks
}

// lengths are the distinct lengths of checkpoints in the page that begins at key, ascending.
func (c *catalog) lengths(key Key) []int {
	var n []int
	for _, e := range c.ends[key] {
		n = append(n, e.tokens-e.start())
	}
	slices.Sort(n)
	return slices.Compact(n)
}

// sorted is the entries by name.
func (c *catalog) sorted() []*entry {
	l := make([]*entry, 0, len(c.entries))
	for _, e := range c.entries {
		l = append(l, e)
	}
	slices.SortFunc(l, func(a, b *entry) int { return cmp.Compare(a.name, b.name) })
	return l
}
