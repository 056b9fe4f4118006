package tokenizer

import (
	"hash/maphash"
	"math/bits"
	"slices"
	"sort"
	"strings"
)

// Go's maps would do, but both tables are built from 128,000 entries at every start and asked for every pair of
// symbols: open addressing over plain slices takes a third of the time and a quarter of the memory.

// tableBits is the logarithm of a table size that keeps n entries at most half full.
func tableBits(n int) int { return bits.Len(uint(max(n, 8))*2 - 1) }

// textTable finds an ordinary token by its bytes. The bytes themselves stay in Tokenizer.text.
type textTable struct {
	seed maphash.Seed
	mask uint64
	ids  []int32 // id+1, 0 for free
}

func newTextTable(n int) textTable {
	size := 1 << tableBits(n)
	return textTable{seed: maphash.MakeSeed(), mask: uint64(size - 1), ids: make([]int32, size)}
}

// add keeps the first of equal tokens, as the published table does.
func (h *textTable) add(t *Tokenizer, id int32) {
	text := t.Text(id)
	i := maphash.String(h.seed, text) & h.mask
	for ; h.ids[i] != 0; i = (i + 1) & h.mask {
		if t.Text(h.ids[i]-1) == text {
			return
		}
	}
	h.ids[i] = id + 1
}

func (h *textTable) find(t *Tokenizer, text []byte) (int32, bool) {
	i := maphash.Bytes(h.seed, text) & h.mask
	for ; h.ids[i] != 0; i = (i + 1) & h.mask {
		if id := h.ids[i] - 1; t.Text(id) == string(text) {
			return id, true
		}
	}
	return -1, false
}

// mergeTable finds the rank and the result of a pair of tokens.
type mergeTable struct {
	shift   int
	entries []merge
	ranks   int // all ranks are below
}

type merge struct {
	pair uint64 // left<<32 | right
	rank int32  // rank+1, 0 for free
	id   int32  // the token the pair becomes
}

func newMergeTable(n int) mergeTable {
	b := tableBits(n)
	return mergeTable{shift: 64 - b, entries: make([]merge, 1<<b)}
}

func (h *mergeTable) slot(pair uint64) int {
	return int(pair * 0x9E3779B97F4A7C15 >> (h.shift & 63))
}

// add keeps the better rank when a pair is listed twice. The table grows when there are more merges than tokens,
// which only an odd file has.
func (h *mergeTable) add(left, right, rank, id int32) {
	pair := uint64(left)<<32 | uint64(right)
	h.ranks = max(h.ranks, int(rank)+1)
	for probes := 0; ; probes++ {
		if probes > 64 {
			h.grow()
			probes = 0
		}
		e := &h.entries[(h.slot(pair)+probes)&(len(h.entries)-1)]
		if e.rank != 0 && e.pair == pair {
			return
		}
		if e.rank == 0 {
			*e = merge{pair, rank + 1, id}
			return
		}
	}
}

func (h *mergeTable) grow() {
	old := h.entries
	h.shift--
	h.entries = make([]merge, 2*len(old))
	for _, e := range old {
		if e.rank != 0 {
			h.add(int32(e.pair>>32), int32(uint32(e.pair)), e.rank-1, e.id)
		}
	}
}

// noRank is worse than any rank.
const noRank = ^uint32(0)

// find returns noRank for a pair that never merges.
func (h *mergeTable) find(left, right int32) (rank uint32, id int32) {
	if len(h.entries) == 0 {
		return noRank, -1
	}
	pair := uint64(left)<<32 | uint64(right)
	mask := len(h.entries) - 1
	for i := h.slot(pair); ; i++ {
		e := &h.entries[i&mask]
		if e.rank == 0 {
			return noRank, -1
		}
		if e.pair == pair {
			return uint32(e.rank - 1), e.id
		}
	}
}

// literalSet finds special tokens in text, leftmost and longest first.
type literalSet struct {
	texts []string // sorted
	ids   []int32
	first [256]bool // bytes that begin a literal
}

func (l *literalSet) add(text string, id int32) {
	l.texts = append(l.texts, text)
	l.ids = append(l.ids, id)
	l.first[text[0]] = true
}

func (l *literalSet) sort() {
	order := make([]int, len(l.texts))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(l.texts[a], l.texts[b]) })
	texts, ids := l.texts, l.ids
	l.texts, l.ids = make([]string, len(texts)), make([]int32, len(ids))
	for i, o := range order {
		l.texts[i], l.ids[i] = texts[o], ids[o]
	}
}

// next returns the start and the end of the first literal at or after i; start is len(text) when there is none.
func (l *literalSet) next(text string, i int) (start, end int, id int32) {
	for ; i < len(text); i++ {
		if !l.first[text[i]] {
			continue
		}
		if n, id := l.match(text[i:]); n > 0 {
			return i, i + n, id
		}
	}
	return len(text), len(text), -1
}

// match returns the length of the longest literal that begins text, 0 for none. It narrows the sorted list byte by byte.
func (l *literalSet) match(text string) (n int, id int32) {
	lo, hi := 0, len(l.texts)
	for k := 0; k < len(text) && lo < hi; k++ {
		b := text[k]
		found := l.texts[lo:hi]
		from := sort.Search(len(found), func(i int) bool { return len(found[i]) > k && found[i][k] >= b })
		to := sort.Search(len(found), func(i int) bool { return len(found[i]) > k && found[i][k] > b })
		lo, hi = lo+from, lo+to
		if lo < hi && len(l.texts[lo]) == k+1 {
			n, id = k+1, l.ids[lo]
		}
	}
	return n, id
}
