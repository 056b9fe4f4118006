package tokenizer

import "slices"

// state is what one call of an encoder needs to itself: scratch space, and a memory of short pieces. Natural text
// repeats its words, and remembering them is worth more than any faster merge.
type state struct {
	syms  []symbol
	queue queue
	cache [1 << cacheBits]remembered
}

// A symbol is a token in the making, and the merge that it and its right neighbour would be.
type symbol struct {
	id         int32
	joined     int32  // id of the merge with the right neighbour
	rank       uint32 // rank of that merge, noRank if there is none
	prev, next int32  // neighbours; used for long pieces only
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

// longAbove is the length from which a queue beats looking at all pairs again after every merge.
const longAbove = 48

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
	if n <= longAbove {
		return t.mergeShort(dst, syms)
	}
	dst = t.mergeLong(s, dst, syms)
	if cap(s.syms) > keepSyms {
		s.syms, s.queue = nil, queue{}
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

// mergeLong queues the pairs by rank, so that a word of any length takes little more than linear time.
func (t *Tokenizer) mergeLong(s *state, dst []int32, syms []symbol) []int32 {
	q := &s.queue
	q.init(t.merges.ranks)
	for i := range syms {
		syms[i].prev, syms[i].next = int32(i-1), int32(i+1)
		q.push(syms[i].rank, int32(i))
	}
	for len(q.ranks) > 0 {
		rank, bucket := q.pop()
		places := q.buckets[bucket]
		if !slices.IsSorted(places) { // they come from several passes
			slices.Sort(places)
		}
		for k, i := range places {
			if syms[i].rank == rank && t.merge(q, syms, i) < rank {
				// A better pair than these came up, which happens only if a merge is listed before those that make
				// its parts. The rest has to wait.
				for _, j := range places[k+1:] {
					q.push(rank, j)
				}
				break
			}
		}
		q.release(bucket)
	}
	for i := int32(0); int(i) < len(syms); i = syms[i].next {
		dst = append(dst, syms[i].id)
	}
	return dst
}

// merge joins symbol i with its right neighbour and queues the two pairs it is now part of. It returns the better of
// their ranks. The swallowed symbol is left with noRank, and so passed over.
func (t *Tokenizer) merge(q *queue, syms []symbol, i int32) uint32 {
	a := &syms[i]
	b := &syms[a.next]
	a.id, a.next, b.rank = a.joined, b.next, noRank
	better := noRank
	if a.prev >= 0 {
		t.rate(syms, int(a.prev), int(i))
		better = syms[a.prev].rank
		q.push(better, a.prev)
	}
	t.rate(syms, int(i), int(a.next))
	if int(a.next) < len(syms) {
		syms[a.next].prev = i
	}
	q.push(a.rank, i)
	return min(better, a.rank)
}

// queue holds places by rank. There are far fewer ranks than places, and a merge never makes a pair of its own rank; so
// a small heap of ranks with a list of places each does what a large heap of places would, with far fewer cache misses.
type queue struct {
	slot    []int32   // bucket+1 of each rank, 0 for none
	buckets [][]int32 // places
	free    []int32   // buckets not in use
	ranks   []uint32  // binary min-heap of the ranks that have a bucket
}

func (q *queue) init(ranks int) {
	if len(q.slot) != ranks {
		q.slot = make([]int32, ranks)
	}
}

func (q *queue) push(rank uint32, place int32) {
	if rank == noRank {
		return
	}
	b := q.slot[rank] - 1
	if b < 0 {
		if n := len(q.free); n > 0 {
			b, q.free = q.free[n-1], q.free[:n-1]
		} else {
			b = int32(len(q.buckets))
			q.buckets = append(q.buckets, nil)
		}
		q.slot[rank] = b + 1
		q.up(rank)
	}
	q.buckets[b] = append(q.buckets[b], place)
}

// pop takes the best rank out. Its bucket must be released after use.
func (q *queue) pop() (rank uint32, bucket int32) {
	h := q.ranks
	rank = h[0]
	last := len(h) - 1
	h[0] = h[last]
	q.ranks = h[:last]
	q.down()
	bucket = q.slot[rank] - 1
	q.slot[rank] = 0
	return rank, bucket
}

func (q *queue) release(bucket int32) {
	q.buckets[bucket] = q.buckets[bucket][:0]
	q.free = append(q.free, bucket)
}

func (q *queue) up(x uint32) {
	q.ranks = append(q.ranks, x)
	h := q.ranks
	i := len(h) - 1
	for i > 0 && h[(i-1)/2] > x {
		h[i] = h[(i-1)/2]
		i = (i - 1) / 2
	}
	h[i] = x
}

func (q *queue) down() {
	h := q.ranks
	if len(h) == 0 {
		return
	}
	x, i := h[0], 0
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
