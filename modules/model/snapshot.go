package model

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// ErrCorrupt is wrapped by Import where a state does not fit the shape.
var ErrCorrupt = errors.New("corrupt state")

// Snapshot is a sequence at one length, to be restored any number of times: references to its pages, and a host copy of
// its rings cut to what that length needs. It costs the cut (3.8 to 14.8 MB at the real shape) and no page copy.
type Snapshot struct {
	e      *Engine
	n      int
	tokens []int32
	pages  []int32
	state  []byte        // the cut, and the draft head's window where there is one
	ready  chan struct{} // closed when state is there
	err    error
}

// Snapshot records the sequence as it stands. It queues one copy and returns at once; the rings are read in the
// background. Without a slot to spare, beyond those that sequences may yet want, it waits for the read.
func (q *Seq) Snapshot() (*Snapshot, error) {
	e := q.e
	s := &Snapshot{e: e, n: q.n, tokens: slices.Clone(q.tokens[:q.n]), ready: make(chan struct{})}
	record := make([]byte, e.state.Slots.RowBytes)
	finish := func(err error) {
		if err != nil {
			s.err = fmt.Errorf("model: snapshot: %w", err)
		} else {
			s.state = e.cut(s.n, record)
		}
		close(s.ready)
	}
	if spare, ok := e.spareSlot(); ok {
		e.b.Copy(e.state.Slots, int(spare), e.state.Slots, int(q.slot))
		e.b.Read(record, e.state.Slots, int(spare), func(err error) {
			finish(err)
			e.returned.Lock()
			e.returned.slots = append(e.returned.slots, spare)
			e.returned.Unlock()
		})
	} else {
		e.b.Read(record, e.state.Slots, int(q.slot), nil)
		finish(nil)
	}
	s.pages = q.share()
	return s, nil
}

// Len is the number of tokens.
func (s *Snapshot) Len() int { return s.n }

// Tokens are the tokens that the snapshot stands behind.
func (s *Snapshot) Tokens() []int32 { return s.tokens }

// Wait returns when the background read is done, with its error. Any goroutine may call it.
func (s *Snapshot) Wait() error {
	<-s.ready
	return s.err
}

// State is the cut ring image, in the layout of cutRows, of StateBytes; behind it the draft head's window of WindowBytes, where
// the engine has a head. It waits for the background read. nil after an error.
func (s *Snapshot) State() []byte {
	<-s.ready
	return s.state
}

// Bytes is what the snapshot holds on the host, and on the device if nobody else had its pages.
func (s *Snapshot) Bytes() (host, device int64) {
	host = int64(StateBytes(s.e.shape, s.n) + 4*len(s.tokens))
	if s.e.w.Draft != nil {
		host += int64(WindowBytes(s.e.shape, s.n))
	}
	return host, int64(len(s.pages)) * PageBytes(s.e.shape)
}

// Free lets the pages go. The snapshot is of no use after.
func (s *Snapshot) Free() {
	for _, p := range s.pages {
		s.e.drop(p)
	}
	s.pages = nil
}

// Pages is the number of pages that the tokens fall into; the last may be partly filled.
func (s *Snapshot) Pages() int { return len(s.pages) }

// ReadPage copies page i (PageBytes) to dst, as in memory: rows at and past the snapshot's length are undefined. With done
// nil it waits; else done is called on some goroutine, and steps may go on meanwhile: a page that a sequence still appends
// to is copied aside first, or, where no page is free, read at once.
func (s *Snapshot) ReadPage(i int, dst []byte, done func(error)) {
	e, p := s.e, s.pages[i]
	if done == nil || (i+1)*backend.PageTokens <= s.n {
		e.b.Read(dst, e.state.Pages, int(p), done) // a full page under a reference never changes
		return
	}
	aside, ok := take(&e.freePages)
	if !ok {
		e.b.Read(dst, e.state.Pages, int(p), nil)
		done(nil)
		return
	}
	e.b.Copy(e.state.Pages, int(aside), e.state.Pages, int(p))
	e.b.Read(dst, e.state.Pages, int(aside), func(err error) {
		e.returned.Lock()
		e.returned.pages = append(e.returned.pages, aside)
		e.returned.Unlock()
		done(err)
	})
}

// Restore makes a sequence that stands where the snapshot does. Errors: ErrNoSlots, the snapshot's own.
func (e *Engine) Restore(s *Snapshot) (*Seq, error) {
	if err := s.Wait(); err != nil {
		return nil, err
	}
	q, err := e.NewSeq()
	if err != nil {
		return nil, err
	}
	record := make([]byte, e.state.Slots.RowBytes)
	if window := uncutState(&e.shape, s.n, record, s.state); e.w.Draft != nil {
		uncutDraft(&e.shape, s.n, record, window)
	}
	e.b.Write(e.state.Slots, int(q.slot), record)
	q.n, q.high = s.n, s.n+backend.Slack+1 // nothing before n is claimed
	q.tokens, q.pages = slices.Clone(s.tokens), slices.Clone(s.pages)
	for _, p := range q.pages {
		e.pages[p].refs++
		e.pages[p].fixed = max(e.pages[p].fixed, s.n)
	}
	q.writeTable()
	return q, nil
}

// Import makes a snapshot from bytes that were read from one: its tokens, its pages through page (which fills dst with
// page i), and its State, with or without a draft head's window whatever this engine has. Errors: ErrCorrupt where sizes or tokens do not fit the shape, ErrNoPages, ErrContextFull.
func (e *Engine) Import(tokens []int32, page func(i int, dst []byte) error, state []byte) (*Snapshot, error) {
	n := len(tokens)
	if n > e.lim.CtxTokens {
		return nil, fmt.Errorf("model: %d tokens do not fit %d: %w", n, e.lim.CtxTokens, ErrContextFull)
	}
	if want, more := StateBytes(e.shape, n), WindowBytes(e.shape, n); len(state) != want && len(state) != want+more {
		return nil, fmt.Errorf("model: %w: state of %d tokens: want %d bytes, or %d more for a draft head, got %d", ErrCorrupt, n, want, more, len(state))
	}
	for i, t := range tokens {
		if t < 0 || int(t) >= e.shape.Vocab {
			return nil, fmt.Errorf("model: %w: token %d: want 0 to %d, got %d", ErrCorrupt, i, e.shape.Vocab-1, t)
		}
	}
	s := &Snapshot{e: e, n: n, tokens: slices.Clone(tokens), state: slices.Clone(state), ready: make(chan struct{})}
	close(s.ready)
	buf := make([]byte, e.state.Pages.RowBytes)
	for i := range (n + backend.PageTokens - 1) / backend.PageTokens {
		p, err := e.takePage()
		if err == nil {
			e.pages[p] = pageOf(n)
			s.pages = append(s.pages, p)
			err = page(i, buf)
		}
		if err != nil {
			s.Free()
			return nil, fmt.Errorf("model: page %d: %w", i, err)
		}
		e.b.Write(e.state.Pages, int(p), buf)
	}
	return s, nil
}

func pageOf(n int) page { return page{refs: 1, fixed: n} }

// StateBytes is the size of a cut ring image at n tokens.
func StateBytes(s Shape, n int) int {
	total := 0
	cutRows(&s, n, func(_, bytes int) { total += bytes })
	return total
}

// WindowBytes is the size of a draft head's window at n tokens.
func WindowBytes(s Shape, n int) int { return min(n, s.Window) * s.KVRowBytes() }

// cutRows calls f for every ring row that position n needs, in the order of the image: by layer, the raw rows in
// ascending position, then the compressor's inputs in ascending position. at is the row's offset in the slot record.
//
//	raw         the last Window rows
//	ratio 4     the previous window of four, of which only the low halves of v and g count, and the n mod 4 tokens after it
//	other ρ     the n mod ρ tokens of the unfinished window
func cutRows(s *Shape, n int, f func(at, bytes int)) {
	off := 0
	for il := range s.Layers {
		raw, ring := s.KVRowBytes(), s.RawRing()
		for p := max(0, n-s.Window); p < n; p++ {
			f(off+p%ring*raw, raw)
		}
		if r := s.Ratio[il]; r != 0 {
			base, row, ring := off+s.RawRing()*raw, 4*s.CompRowFloats(il), s.CompRing(il)
			whole := n / r * r
			if r == 4 {
				for p := max(0, whole-4); p < whole; p++ {
					cutLow(s, base+p%ring*row, il, f)
				}
			}
			for p := whole; p < n; p++ {
				f(base+p%ring*row, row)
			}
		}
		off += s.SlotPartBytes(il)
	}
}

// draftRows calls f for the rows of the draft head's ring that position n needs, in ascending position.
func draftRows(s *Shape, n int, f func(at, bytes int)) {
	off := 0
	for il := range s.Layers {
		off += s.SlotPartBytes(il)
	}
	row, ring := s.KVRowBytes(), s.RawRing()
	for p := max(0, n-s.Window); p < n; p++ {
		f(off+p%ring*row, row)
	}
}

// uncutDraft does nothing where a snapshot has no window: guesses are worse then until it is full again.
func uncutDraft(s *Shape, n int, record, draft []byte) {
	if len(draft) == 0 {
		return
	}
	draftRows(s, n, func(at, bytes int) {
		copy(record[at:at+bytes], draft[:bytes])
		draft = draft[bytes:]
	})
}

// cutLow calls f for the low halves of v and g, attention's and the indexer's, of one row of a ratio-4 ring.
func cutLow(s *Shape, at, il int, f func(at, bytes int)) {
	for _, width := range []int{s.CompWidth(il), s.CompWidth(il), s.IndexWidth(il), s.IndexWidth(il)} {
		f(at, 4*width/2)
		at += 4 * width
	}
}

// cut takes the rows that position n needs out of a slot's record.
func (e *Engine) cut(n int, record []byte) []byte {
	s, size := &e.shape, StateBytes(e.shape, n)
	if e.w.Draft != nil {
		size += WindowBytes(e.shape, n)
	}
	out := make([]byte, 0, size)
	add := func(at, bytes int) { out = append(out, record[at:at+bytes]...) }
	cutRows(s, n, add)
	if e.w.Draft != nil {
		draftRows(s, n, add)
	}
	return out
}

// uncutState puts the rows back and returns what is left of state; the rest of the record keeps what it had.
func uncutState(s *Shape, n int, record, state []byte) []byte {
	cutRows(s, n, func(at, bytes int) {
		copy(record[at:at+bytes], state[:bytes])
		state = state[bytes:]
	})
	return state
}
