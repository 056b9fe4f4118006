package tokenizer

// state is what one call of an encoder needs to itself: scratch space, and a memory of short pieces. Natural text
// repeats its words, and remembering them is worth more than any faster merge.
type state struct {
	syms  []symbol
	heap  []uint64
	cache [1 << cacheBits]remembered
}

// A symbol is a token in the making, and the merge that it and its right neighbour would be.
type symbol struct {
	id         int32
	joined     int32  // id of the merge with the right neighbour
	rank       uint32 // rank of that merge, noRank if there is none
	prev, next int32  // neighbours; used by the heap only
}

const (
	cacheBits = 13 // 8192 pieces of 32 bytes: 256 KiB, which stays in a second-level cache
	cacheKey  = 15 // bytes of the longest piece remembered
	cacheIDs  = 3
)

// remembered is a piece and its tokens.
type remembered struct {
	lo, hi uint64 // the piece's bytes, zero-padded; the topmost byte is its length
	ids    [cacheIDs]int32
	n      int32
}

// keyOf packs text[i:j], at most 15 bytes, into two words.
func keyOf(text string, i, j int) (lo, hi uint64) {
	n := j - i
	if i+16 <= len(text) {
		lo, hi = word(text, i), word(text, i+8)
		if n <= 8 {
			lo &= ^uint64(0) >> (64 - 8*n)
			hi = 0
		} else {
			hi &= ^uint64(0) >> (128 - 8*n)
		}
	} else {
		for k := range n {
			if k < 8 {
				lo |= uint64(text[i+k]) << (8 * k)
			} else {
				hi |= uint64(text[i+k]) << (8 * (k - 8))
			}
		}
	}
	return lo, hi | uint64(n)<<56
}

// word is the eight bytes at i, which the compiler turns into one load.
func word(s string, i int) uint64 {
	s = s[i : i+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// piece appends the tokens of text[i:j].
func (t *Tokenizer) piece(s *state, dst []int32, text string, i, j int) []int32 {
	if j-i == 1 {
		return append(dst, t.bytes[text[i]])
	}
	if j-i > cacheKey {
		return t.bpe(s, dst, text[i:j])
	}
	lo, hi := keyOf(text, i, j)
	e := &s.cache[(lo^hi*0xD6E8FEB86659FD93)*0x9E3779B97F4A7C15>>(64-cacheBits)]
	if e.lo == lo && e.hi == hi {
		return append(dst, e.ids[:e.n]...)
	}
	from := len(dst)
	dst = t.bpe(s, dst, text[i:j])
	if n := len(dst) - from; n <= cacheIDs {
		e.lo, e.hi, e.n = lo, hi, int32(n)
		copy(e.ids[:], dst[from:])
	}
	return dst
}

// heapAbove is the length from which a heap beats looking at all pairs again after every merge.
const heapAbove = 48

// keepSyms is the most scratch space, in symbols, that is kept between calls.
const keepSyms = 1 << 14

// bpe merges the neighbours of best rank, the leftmost of equals, until no pair merges.
func (t *Tokenizer) bpe(s *state, dst []int32, piece string) []int32 {
	n := len(piece)
	if cap(s.syms) < n {
		s.syms = make([]symbol, n)
	}
	syms := s.syms[:n]
	for i := range n {
		syms[i].id = t.bytes[piece[i]]
	}
	for i := range n - 1 {
		syms[i].rank, syms[i].joined = t.merges.find(syms[i].id, syms[i+1].id)
	}
	syms[n-1].rank = noRank
	if n <= heapAbove {
		return t.mergeShort(dst, syms)
	}
	dst = t.mergeLong(s, dst, syms)
	if cap(s.syms) > keepSyms {
		s.syms, s.heap = nil, nil
	}
	return dst
}

// mergeShort looks at every pair before every merge.
func (t *Tokenizer) mergeShort(dst []int32, syms []symbol) []int32 {
	for {
		best, rank := -1, noRank
		for i := range syms {
			if syms[i].rank < rank {
				best, rank = i, syms[i].rank
			}
		}
		if best < 0 {
			break
		}
		syms[best].id = syms[best].joined
		syms = append(syms[:best+1], syms[best+2:]...)
		t.rate(syms, best, best+1)
		if best > 0 {
			t.rate(syms, best-1, best)
		}
	}
	for i := range syms {
		dst = append(dst, syms[i].id)
	}
	return dst
}

// rate finds the merge of symbols i and j; there is none when j is past the end.
func (t *Tokenizer) rate(syms []symbol, i, j int) {
	if j >= len(syms) {
		syms[i].rank = noRank
		return
	}
	syms[i].rank, syms[i].joined = t.merges.find(syms[i].id, syms[j].id)
}

// mergeLong keeps the pairs in a heap of rank<<32|position, so that n symbols take O(n log n). A pair that changed
// since it was pushed is recognised by its rank; a symbol that was swallowed has noRank.
func (t *Tokenizer) mergeLong(s *state, dst []int32, syms []symbol) []int32 {
	h := heap(s.heap[:0])
	for i := range syms {
		syms[i].prev, syms[i].next = int32(i-1), int32(i+1)
		if syms[i].rank != noRank {
			h = append(h, uint64(syms[i].rank)<<32|uint64(i))
		}
	}
	h.init()
	for len(h) > 0 {
		top := h.pop()
		i := int(uint32(top))
		a := &syms[i]
		if a.rank != uint32(top>>32) {
			continue
		}
		b := &syms[a.next]
		a.id, a.next, b.rank = a.joined, b.next, noRank
		t.rate(syms, i, int(a.next))
		if a.rank != noRank {
			h.push(uint64(a.rank)<<32 | uint64(i))
		}
		if int(a.next) < len(syms) {
			syms[a.next].prev = int32(i)
		}
		if p := int(a.prev); p >= 0 {
			t.rate(syms, p, i)
			if syms[p].rank != noRank {
				h.push(uint64(syms[p].rank)<<32 | uint64(p))
			}
		}
	}
	s.heap = h
	for i := 0; i < len(syms); i = int(syms[i].next) {
		dst = append(dst, syms[i].id)
	}
	return dst
}

// heap is a binary min-heap. container/heap would call through an interface for every comparison.
type heap []uint64

func (h heap) init() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

func (h *heap) push(x uint64) {
	*h = append(*h, x)
	s := *h
	i := len(s) - 1
	for i > 0 && s[(i-1)/2] > x {
		s[i] = s[(i-1)/2]
		i = (i - 1) / 2
	}
	s[i] = x
}

func (h *heap) pop() uint64 {
	s := *h
	top, last := s[0], len(s)-1
	s[0] = s[last]
	*h = s[:last]
	if last > 0 {
		h.down(0)
	}
	return top
}

func (h heap) down(i int) {
	x := h[i]
	for {
		c := 2*i + 1
		if c >= len(h) {
			break
		}
		if c+1 < len(h) && h[c+1] < h[c] {
			c++
		}
		if x <= h[c] {
			break
		}
		h[i] = h[c]
		i = c
	}
	h[i] = x
}
