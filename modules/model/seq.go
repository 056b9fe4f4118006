package model

import (
	"context"
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// page is one page of the pool.
type page struct {
	refs  int
	owner *Seq // the sequence that may append
	fixed int  // tokens before this position are seen by others
}

// Seq is one sequence. Its state is its length.
type Seq struct {
	e       *Engine
	id      int32 // row of the page table
	slot    int32 // record of rings
	n, high int   // committed tokens; end of what was ever written in the slot
	pages   []int32
	tokens  []int32
}

// NewSeq makes an empty sequence. Error: ErrNoSlots when all Limits.Seqs are in use.
func (e *Engine) NewSeq() (*Seq, error) {
	id, ok := take(&e.freeIDs)
	if !ok {
		return nil, fmt.Errorf("model: %w: all %d are in use", ErrNoSlots, e.lim.Seqs)
	}
	slot, ok := e.takeSlot()
	if !ok {
		e.freeIDs = append(e.freeIDs, id)
		return nil, fmt.Errorf("model: %w", ErrNoSlots)
	}
	return &Seq{e: e, id: id, slot: slot}, nil
}

func (e *Engine) takeSlot() (int32, bool) {
	e.collect()
	if len(e.freeSlots) == 0 {
		e.letGo() // a draft head may then miss what a long span left: its guesses suffer, no text does
	}
	return take(&e.freeSlots)
}

// spareSlot takes a slot that nobody can want before it is given back: as many stay free as sequences can be made, and one for
// a long span.
func (e *Engine) spareSlot() (int32, bool) {
	e.collect()
	if len(e.freeSlots) <= len(e.freeIDs)+1 {
		return 0, false
	}
	return take(&e.freeSlots)
}

// Len is the number of committed tokens.
func (q *Seq) Len() int { return q.n }

// Tokens are the committed tokens: a view, valid until the next Keep or Rewind.
func (q *Seq) Tokens() []int32 { return q.tokens[:q.n] }

// Free ends the sequence. Pages that snapshots hold stay.
func (q *Seq) Free() {
	e := q.e
	if e == nil {
		return
	}
	for _, p := range q.pages {
		e.disown(p, q)
		e.drop(p)
	}
	e.freeSlots, e.freeIDs = append(e.freeSlots, q.slot), append(e.freeIDs, q.id)
	*q = Seq{}
}

func (e *Engine) drop(p int32) {
	if e.pages[p].refs--; e.pages[p].refs == 0 {
		e.pages[p] = page{}
		e.freePages = append(e.freePages, p)
	}
}

func (e *Engine) disown(p int32, q *Seq) {
	if e.pages[p].owner == q {
		e.pages[p].owner = nil
	}
}

// Rewind cuts the sequence to n tokens, at once and without a copy, while the rings still hold what position n needs:
// up to Slack+1 tokens back from the furthest ever written. Beyond that: ErrRewind, and a snapshot is the way.
func (q *Seq) Rewind(n int) error {
	if n < 0 || n > q.n || q.high-n > backend.Slack+1 {
		return fmt.Errorf("model: from %d tokens (written up to %d) to %d: %w", q.n, q.high, n, ErrRewind)
	}
	q.n = n
	return nil
}

// reserve makes every page that tokens n … n+rows−1 fall into the sequence's own to write. It is the whole of copy on
// write: a page may be written in place if nobody else holds it, or if the sequence owns it and stands at or past
// everything that others see of it.
func (q *Seq) reserve(rows int) error {
	e, dirty := q.e, false
	for i := q.n / backend.PageTokens; i <= (q.n+rows-1)/backend.PageTokens; i++ {
		shared := i < len(q.pages)
		if shared {
			p := &e.pages[q.pages[i]]
			if p.refs == 1 {
				p.owner, p.fixed = q, 0
				continue
			}
			if p.owner == q && q.n >= p.fixed {
				continue
			}
		}
		n, err := e.takePage()
		if err != nil {
			if dirty {
				q.writeTable()
			}
			return err
		}
		e.pages[n] = page{refs: 1, owner: q}
		if shared {
			old := q.pages[i]
			e.b.Copy(e.state.Pages, int(n), e.state.Pages, int(old))
			e.disown(old, q)
			e.drop(old)
			q.pages[i] = n
		} else {
			q.pages = append(q.pages, n)
		}
		dirty = true
	}
	if dirty {
		q.writeTable()
	}
	return nil
}

func (e *Engine) takePage() (int32, error) {
	for {
		e.collect()
		if p, ok := take(&e.freePages); ok {
			return p, nil
		}
		if e.opt.Reclaim == nil || !e.opt.Reclaim() {
			return 0, fmt.Errorf("%w: all %d are in use", ErrNoPages, len(e.pages))
		}
	}
}

func (q *Seq) writeTable() {
	clear(q.e.table)
	for i, p := range q.pages {
		binary.LittleEndian.PutUint32(q.e.table[4*i:], uint32(p))
	}
	q.e.b.Write(q.e.state.Table, int(q.id), q.e.table)
}

// Branch makes a second sequence that stands where this one does: a copy of the rings, and the same pages.
func (q *Seq) Branch() (*Seq, error) {
	c, err := q.e.NewSeq()
	if err != nil {
		return nil, err
	}
	q.e.b.Copy(q.e.state.Slots, int(c.slot), q.e.state.Slots, int(q.slot))
	c.n, c.high = q.n, q.high
	c.tokens = append(c.tokens, q.tokens[:q.n]...)
	c.pages = q.share()
	c.writeTable()
	return c, nil
}

// share takes a reference to every page up to the sequence's length, and fixes what the new holder sees of them.
func (q *Seq) share() []int32 {
	used := (q.n + backend.PageTokens - 1) / backend.PageTokens
	pages := append([]int32(nil), q.pages[:used]...)
	for _, p := range pages {
		q.e.pages[p].refs++
		q.e.pages[p].fixed = max(q.e.pages[p].fixed, q.n)
	}
	return pages
}

// Feed evaluates tokens in chunks of at most rows (0: as many as a step takes) and commits each chunk, so that a
// cancelled or failed call has advanced the sequence by whole chunks. last are the wants of the last token, their Row
// ignored; the returned job has their results. progress, if not nil, is told the tokens done. A draft head follows all
// chunks but the last: Draft shows it that one, when the token after it is known.
func (q *Seq) Feed(ctx context.Context, tokens []int32, rows int, last []Want, progress func(done int)) (*Job, error) {
	if rows <= 0 || rows > q.e.lim.Rows {
		rows = q.e.lim.Rows
	}
	jobs := make([]Job, 1)
	for at := 0; at < len(tokens); at += rows {
		jobs[0] = Job{Seq: q, Tokens: tokens[at:min(len(tokens), at+rows)]}
		if at+rows >= len(tokens) {
			for _, w := range last {
				w.Row = len(jobs[0].Tokens) - 1
				jobs[0].Wants = append(jobs[0].Wants, w)
			}
		}
		if err := q.e.Run(ctx, jobs); err != nil {
			return nil, err
		}
		jobs[0].Keep(len(jobs[0].Tokens))
		if at+rows < len(tokens) && q.e.HasDraftHead() {
			if err := q.e.Draft(ctx, []Drafting{{Job: &jobs[0], Next: tokens[at+rows]}}); err != nil {
				return nil, err
			}
		}
		if progress != nil {
			progress(at + len(jobs[0].Tokens))
		}
	}
	return &jobs[0], nil
}

// Hosts that Go runs the engine on are little-endian, as the layouts are.

func f32Bytes(v []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}

func u32Bytes(v []uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}
