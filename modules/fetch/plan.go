package fetch

import (
	"sync"
)

const (
	bufferBytes  = 1 << 20 // one per connection; also the most that a kill makes it fetch twice
	minPartBytes = 16 << 20
	maxPartBytes = 16 << 30 // the store refuses spans over about 200 GiB
	minSteal     = 8 << 20  // a rest smaller than twice this is not worth a connection
	defaultParts = 8
)

// A part is a range of the file that one connection fetches.
type part struct {
	number  int
	pos     int64 // everything before it is written
	claimed int64 // the buffer being filled ends here; an idle connection may take what lies behind
	end     int64
}

// plan hands out what is missing, in file order, to the connections.
type plan struct {
	mu       sync.Mutex
	size     int64
	queue    []*part
	active   map[*part]bool
	done     int64         // bytes written, in all
	finished int           // parts
	parts    int           // parts, in all
	moved    chan struct{} // holds a value when frontier may have moved
}

func newPlan(missing []extent, size, partBytes int64) *plan {
	p := &plan{size: size, done: size - total(missing), active: map[*part]bool{}, moved: make(chan struct{}, 1)}
	for _, x := range missing {
		for off := x.off; off < x.end; off += partBytes {
			p.queue = append(p.queue, &part{number: p.parts, pos: off, claimed: off, end: min(off+partBytes, x.end)})
			p.parts++
		}
	}
	return p
}

// partBytes chooses the size of a part: small enough for SHA-256 to keep up
// with a nearly contiguous file, large enough for requests to cost nothing.
func partBytes(size int64, conns int, asked int64) int64 {
	if asked > 0 {
		return min(max(asked, bufferBytes), maxPartBytes)
	}
	n := size / (int64(conns) * 32)
	n = min(max(n, minPartBytes), 1<<30)
	// a file of less than conns parts is divided evenly
	if even := (size + int64(conns) - 1) / int64(conns); even < n {
		n = max(even, bufferBytes)
	}
	return (n + bufferBytes - 1) / bufferBytes * bufferBytes
}

// take returns the next part, or the second half of the largest one under way,
// or nil when nothing is left worth a connection.
func (p *plan) take() *part {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) > 0 {
		t := p.queue[0]
		p.queue = p.queue[1:]
		p.active[t] = true
		return t
	}
	var big *part
	for t := range p.active {
		if big == nil || t.end-t.claimed > big.end-big.claimed {
			big = t
		}
	}
	if big == nil || big.end-big.claimed < 2*minSteal {
		return nil
	}
	mid := big.claimed + (big.end-big.claimed)/2
	t := &part{number: p.parts, pos: mid, claimed: mid, end: big.end}
	big.end = mid
	p.parts++
	p.active[t] = true
	return t
}

// claim says how many bytes may be read into a buffer of n for part t; zero at its end.
func (p *plan) claim(t *part, n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n = int(min(int64(n), t.end-t.pos))
	t.claimed = t.pos + int64(n)
	return n
}

// span is what is left of t.
func (p *plan) span(t *part) extent {
	p.mu.Lock()
	defer p.mu.Unlock()
	return extent{t.pos, t.end}
}

// wrote says that the next n bytes of t are in the file.
func (p *plan) wrote(t *part, n int) {
	p.mu.Lock()
	t.pos += int64(n)
	p.done += int64(n)
	if t.pos >= t.end {
		delete(p.active, t)
		p.finished++
	}
	p.mu.Unlock()
	p.wake()
}

func (p *plan) wake() {
	select {
	case p.moved <- struct{}{}:
	default:
	}
}

// frontier is the length of the beginning of the file that is complete.
func (p *plan) frontier() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.size
	if len(p.queue) > 0 {
		f = p.queue[0].pos
	}
	for t := range p.active {
		f = min(f, t.pos)
	}
	return f
}

// count returns bytes written, parts finished and parts in all.
func (p *plan) count() (done int64, finished, parts int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done, p.finished, p.parts
}
