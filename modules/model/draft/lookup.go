package draft

// Lookup guesses that what followed the same words before follows them again: it finds the longest stretch at the end of the
// text that occurs earlier, the last of equally long ones, and proposes what came after it. Agents that edit files repeat
// them all day.
//
// Places are found by hashes of their last three and last eight tokens, each with a chain to the place before, as
// compressors do: 20 bytes and a tenth of a microsecond a token, where a suffix automaton takes some 100 bytes.
// A chain is followed for a bounded number of places, the longer hash first, so a longest match can be missed only among
// very many that agree in eight tokens.
type Lookup struct {
	text  []int32 // earlier texts, each ended by apart, then this one
	begin int     // of this text
	index [2]chain
}

const (
	apart    = -1  // stands between texts and equals nothing
	reach    = 64  // places of a chain that are looked at
	maxMatch = 128 // longer matches are all equal
)

// chain finds earlier places by their last n tokens. Place p is behind token p−1; 0 is none.
type chain struct {
	n    int
	head []int32 // the last place behind tokens of this hash; a power of two of them
	prev []int32 // the place before, by place
}

// NewLookup makes a drafter for a text. Earlier texts may lend it what they say: those that a conversation has left.
func NewLookup(text []int32, earlier ...[]int32) *Lookup {
	l := &Lookup{}
	for i, n := range []int{8, 3} {
		l.index[i] = chain{n: n, prev: []int32{0}}
	}
	for _, e := range earlier {
		l.Accept(e...)
		l.Accept(apart)
	}
	l.begin = len(l.text)
	l.Accept(text...)
	return l
}

// Source implements Drafter.
func (l *Lookup) Source() Source { return FromText }

// Accept implements Drafter.
func (l *Lookup) Accept(tokens ...int32) {
	for _, t := range tokens {
		l.text = append(l.text, t)
		for i := range l.index {
			l.index[i].add(l.text)
		}
	}
}

// add links the end of the text, which is where a match may end.
func (c *chain) add(text []int32) {
	if len(text) > len(c.head) { // as many heads as places: others hash alike, and are told apart by comparison
		c.head = make([]int32, max(1024, 2*len(c.head)))
		c.prev = append(make([]int32, 0, len(c.head)+1), 0)
		for i := range text[:len(text)-1] {
			c.link(text[:i+1])
		}
	}
	c.link(text)
}

func (c *chain) link(text []int32) {
	prev := int32(0)
	if key, ok := c.key(text); ok {
		h := &c.head[key>>32&uint64(len(c.head)-1)]
		prev, *h = *h, int32(len(text))
	}
	c.prev = append(c.prev, prev)
}

// key hashes the last n tokens. ok is false where there are not so many of one text.
func (c *chain) key(text []int32) (h uint64, ok bool) {
	if len(text) < c.n {
		return 0, false
	}
	for _, t := range text[len(text)-c.n:] {
		if t == apart {
			return 0, false
		}
		h = (h ^ uint64(uint32(t))) * 0x9E3779B97F4A7C15
		h ^= h >> 29
	}
	return h, true
}

// Propose implements Drafter. The class is by the length of the match: below 4, 8, 16 tokens, or more.
func (l *Lookup) Propose(dst []int32, most int) ([]int32, int) {
	at, length := l.find()
	if length == 0 {
		return dst, 0
	}
	for i := range most {
		p := at + i
		if p < len(l.text) {
			if l.text[p] == apart {
				break
			}
			dst = append(dst, l.text[p])
			continue
		}
		dst = append(dst, dst[len(dst)-(len(l.text)-at)]) // the repetition has caught up with itself
	}
	class := 0
	for bound := 4; class < Classes-1 && length >= bound; bound *= 2 {
		class++
	}
	return dst, class
}

// find returns the place behind the longest earlier match of the text's end, and the match's length.
func (l *Lookup) find() (at, length int) {
	end := len(l.text)
	if end == 0 {
		return 0, 0
	}
	for i := range l.index {
		c := &l.index[i]
		for p, tries := c.prev[end], 0; p > 0 && tries < reach; p, tries = c.prev[p], tries+1 {
			if n := l.common(int(p)); n > length && n >= c.n {
				at, length = int(p), n
				if n == maxMatch {
					break
				}
			}
		}
		if length >= c.n {
			break
		}
	}
	return at, length
}

// common is how many tokens before place p equal those at the end of the text.
func (l *Lookup) common(p int) int {
	end, n := len(l.text), 0
	for n < maxMatch && p-n > 0 {
		t := l.text[p-n-1]
		if t == apart || t != l.text[end-n-1] || end-n-1 < l.begin {
			break
		}
		n++
	}
	return n
}
