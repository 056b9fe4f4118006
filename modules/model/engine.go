package model

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// What a caller of the engine branches on.
var (
	ErrContextFull = errors.New("context is full")
	ErrNoSlots     = errors.New("no free sequence")
	ErrNoPages     = errors.New("no free cache pages")
	ErrRewind      = errors.New("too far to rewind")
	ErrCanceled    = backend.ErrCanceled
)

// SpareSlots are ring records beyond those of the sequences: long spans write into one, snapshots are copied through one.
const SpareSlots = 4

// Options are the choices of an engine. The zero value is what most want.
type Options struct {
	SteerAttn, SteerFFN float32 // scales of Weights.Steer's directions
	Given               int     // embedding rows that one step's Job.Given may hold

	// Align is which token a draft head is shown beside a position's streams.
	Align Align

	// Reclaim is asked for cache pages when none is free: it may free snapshots and says whether it did.
	Reclaim func() bool
}

// Engine runs one model on one backend for any number of sequences.
type Engine struct {
	b     backend.Backend
	w     *Weights
	shape Shape
	lim   Limits
	opt   Options

	state backend.State
	act   activations

	pages              []page
	freePages          []int32 // lowest number last, so that a backend which commits lazily stays small
	freeSlots, freeIDs []int32
	heldSlots          []int32  // left by long spans of the last step, whose draft rows may yet be wanted
	returned           struct { // what background reads are done with
		sync.Mutex
		slots, pages []int32
	}

	step  backend.Step
	stop  atomic.Bool
	table []byte
	tops  []byte
}

// New takes the engine's buffers from the backend, which must have been made with the same shape and limits.
func New(b backend.Backend, w *Weights, s Shape, l Limits, opt Options) (*Engine, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if err := l.Check(); err != nil {
		return nil, err
	}
	n := PagePool(s, l)
	if n < l.TablePages() {
		return nil, fmt.Errorf("model: a context of %d tokens: want %d bytes of cache pages, got %d: %w",
			l.CtxTokens, int64(l.TablePages())*PageBytes(s), l.PageBytes, backend.ErrMemory)
	}
	e := &Engine{b: b, w: w, shape: s, lim: l, opt: opt, pages: make([]page, n),
		freePages: countdown(n), freeSlots: countdown(l.Slots), freeIDs: countdown(l.Seqs)}
	e.step.Stop = &e.stop
	e.table = make([]byte, 4*l.TablePages())
	e.tops = make([]byte, l.Tops*backend.TopBytes)
	return e, e.alloc()
}

// countdown is n−1 … 0: a stack from which 0 is taken first.
func countdown(n int) []int32 {
	l := make([]int32, n)
	for i := range l {
		l[i] = int32(n - 1 - i)
	}
	return l
}

func take(l *[]int32) (int32, bool) {
	if len(*l) == 0 {
		return 0, false
	}
	v := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return v, true
}

// PageBytes is the size of one page: PageTokens tokens of one sequence, all layers.
func PageBytes(s Shape) int64 {
	n := int64(0)
	for il := range s.Layers {
		n += int64(s.PagePartBytes(il))
	}
	return n
}

// PagePool is the number of pages an engine has: what PageBytes holds, or, where it is 0, a full context for every sequence
// and a page for every slot besides: a sequence that goes on from a snapshot copies the page it stands in, which the snapshot
// keeps, so without these no snapshot would outlive a sequence whose context is one page.
func PagePool(s Shape, l Limits) int {
	if per := PageBytes(s); per > 0 && l.PageBytes > 0 {
		return int(min(l.PageBytes/per, 1<<20))
	}
	return l.Seqs*l.TablePages() + l.Slots
}

type use struct {
	buf   *backend.Buf
	name  string
	rows  int
	parts []backend.Part
}

// uses lists every buffer of the engine; dst may be nil where only sizes matter.
func uses(s *Shape, l *Limits, given int, draft bool, st *backend.State, a *activations) []use {
	f := func(rows, cols int) []backend.Part {
		return []backend.Part{{Type: backend.F32, Rows: int32(rows), Cols: int32(cols)}}
	}
	i := func(cols int) []backend.Part { return []backend.Part{{Type: backend.I32, Rows: 1, Cols: int32(cols)}} }
	u8 := func(cols int) []backend.Part { return []backend.Part{{Type: backend.U8, Rows: 1, Cols: int32(cols)}} }
	out := []use{
		{&st.Slots, "slots", l.Slots, s.SlotParts()},
		{&st.Pages, "pages", PagePool(*s, *l), s.PageParts()},
		{&st.Table, "table", l.Seqs, i(l.TablePages())},
		{&a.hc, "hc", l.Rows, f(backend.Streams, s.Embd)},
		{&a.x, "x", l.Rows, f(1, s.Embd)},
		{&a.mix, "mix", l.Rows, f(1, backend.MixWidth)},
		{&a.qlat, "qlat", l.Rows, f(1, s.QRank)},
		{&a.q, "q", l.Rows, f(s.Heads, s.HeadDim)},
		{&a.kv, "kv", l.Rows, u8(s.KVRowBytes())},
		{&a.sel, "sel", l.Rows, i(s.TopK)},
		{&a.o, "o", l.Rows, f(s.Heads, s.HeadDim)},
		{&a.y, "y", l.Rows, f(1, s.Embd)},
		{&a.ids, "ids", l.Rows, i(s.ActiveExps)},
		{&a.weights, "weights", l.Rows, f(1, s.ActiveExps)},
		{&a.outX, "out_x", l.Outs, f(1, s.Embd)},
		{&a.logits, "logits", l.Outs, f(1, s.Vocab)},
		{&a.masks, "masks", l.Tops, i(maskWords(s.Vocab))},
		{&a.top, "top", l.Tops, u8(backend.TopBytes)},
	}
	if given > 0 {
		out = append(out, use{&a.given, "given", given, f(1, s.Embd)})
	}
	if draft {
		out = append(out, use{&a.draft, "draft_hc", l.Rows, f(backend.Streams, s.Embd)})
	}
	return out
}

func maskWords(vocab int) int { return (vocab + 31) / 32 }

func (e *Engine) alloc() error {
	for _, u := range uses(&e.shape, &e.lim, e.opt.Given, e.w.Draft != nil, &e.state, &e.act) {
		buf, err := e.b.Alloc(u.name, u.rows, u.parts...)
		if err != nil {
			return fmt.Errorf("model: %w", err)
		}
		*u.buf = buf
	}
	return nil
}

// Plan lists what an engine with these limits would take, without a backend: scratch and weights come on top.
func Plan(s Shape, l Limits) []backend.Use {
	var out []backend.Use
	for _, u := range uses(&s, &l, 0, false, &backend.State{}, &activations{}) {
		n := int64(0)
		for _, p := range u.parts {
			n += p.Bytes()
		}
		out = append(out, backend.Use{Name: u.name, Bytes: n * int64(u.rows)})
	}
	return out
}

// Shape is the model's shape.
func (e *Engine) Shape() Shape { return e.shape }

// Limits are what the engine was made with.
func (e *Engine) Limits() Limits { return e.lim }

// Memory is the backend's account, with the page pool split into pages in use and free ones.
func (e *Engine) Memory() backend.Memory {
	m := e.b.Memory()
	e.collect()
	per, free := PageBytes(e.shape), int64(len(e.freePages))
	for i, u := range m.Uses {
		if u.Name == "pages" {
			m.Uses[i].Bytes = (int64(len(e.pages)) - free) * per
			m.Uses = slices.Insert(m.Uses, i+1, backend.Use{Name: "pages, free", Bytes: free * per})
			break
		}
	}
	return m
}

// FreePages is the number of pages that no sequence and no snapshot holds.
func (e *Engine) FreePages() int {
	e.collect()
	return len(e.freePages)
}

// collect takes back what background reads are done with.
func (e *Engine) collect() {
	r := &e.returned
	r.Lock()
	e.freeSlots, r.slots = append(e.freeSlots, r.slots...), r.slots[:0]
	e.freePages, r.pages = append(e.freePages, r.pages...), r.pages[:0]
	r.Unlock()
}

// Want is one row of a job whose logits matter.
type Want struct {
	Row     int            // offset in Tokens; ascending within a job, and may repeat
	Mask    []uint32       // a bit per token, set where it is allowed; nil: all are
	Bias    []backend.Bias // applied to the logits of this want
	InvTemp float32        // for the normaliser of a sampler; 0 counts as 1
}

// Job is a run of tokens of one sequence for one step.
type Job struct {
	Seq    *Seq
	Tokens []int32
	Given  map[int][]float32 // embedding rows (D) that replace those of some tokens, by offset
	Wants  []Want

	from, into int32 // slots that rings are read from and written to
	row        int32 // first row in the step
	firstTop   int
	outs       []int32 // of each want: index into the step's outs
	ran        bool
	kept       int
}

// Run evaluates all jobs' tokens in one step. Nothing counts until Keep; after an error nothing can be kept, and every
// sequence is what it was. Errors: ErrContextFull, ErrNoPages, ErrNoSlots (they name the job and touch nothing),
// ErrCanceled when ctx ends, and the backend's.
func (e *Engine) Run(ctx context.Context, jobs []Job) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("model: %w", ErrCanceled)
	}
	if err := e.fill(jobs); err != nil {
		e.back(jobs)
		return err
	}
	e.stop.Store(false)
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() { e.stop.Store(true) })()
	}
	e.b.Begin(&e.step)
	e.forward()
	if err := e.b.Wait(); err != nil {
		e.back(jobs)
		for i := range jobs { // what a failed step wrote in place is dead, but it was written
			if j := &jobs[i]; j.Seq.slot == j.into {
				j.Seq.high = max(j.Seq.high, j.Seq.n+len(j.Tokens))
			}
		}
		return fmt.Errorf("model: %w", err)
	}
	if n := len(e.step.Tops); n > 0 {
		e.b.Read(e.tops[:n*backend.TopBytes], e.act.top, 0, nil)
	}
	for i := range jobs {
		jobs[i].ran = true
	}
	return nil
}

// fill makes the step from the jobs and reserves what they write to.
func (e *Engine) fill(jobs []Job) error {
	s := &e.step
	s.Rows, s.Spans, s.Outs, s.Tops, s.Bias = s.Rows[:0], s.Spans[:0], s.Outs[:0], s.Tops[:0], s.Bias[:0]
	s.Tape = backend.Base
	masks, given := 0, 0
	e.letGo()
	for i := range jobs {
		j := &jobs[i]
		j.from, j.into, j.ran, j.kept = j.Seq.slot, j.Seq.slot, false, 0
	}
	for i := range jobs {
		j := &jobs[i]
		q := j.Seq
		if err := e.admit(j, len(s.Rows)); err != nil {
			return fmt.Errorf("model: job %d of %d: %w", i+1, len(jobs), err)
		}
		row := int32(len(s.Rows))
		j.row = row
		s.Spans = append(s.Spans, backend.Span{Seq: q.id, Slot: q.slot, Into: j.into, Pos: int32(q.n), Row: row, Rows: int32(len(j.Tokens))})
		for k, t := range j.Tokens {
			from := int32(-1)
			if v, ok := j.Given[k]; ok {
				from = int32(given)
				e.b.Write(e.act.given, given, f32Bytes(v))
				given++
			}
			s.Rows = append(s.Rows, backend.Row{Token: t, Pos: int32(q.n + k), Span: int32(i), From: from})
		}
		e.want(j, row, &masks)
	}
	return nil
}

// admit checks a job against the limits and takes the pages and the slot that it writes.
func (e *Engine) admit(j *Job, rows int) error {
	q, n := j.Seq, len(j.Tokens)
	switch {
	case n == 0 || rows+n > e.lim.Rows:
		return fmt.Errorf("want 1 to %d tokens in a step, got %d after %d", e.lim.Rows, n, rows)
	case q.n+n > e.lim.CtxTokens:
		return fmt.Errorf("%d tokens after %d do not fit %d: %w", n, q.n, e.lim.CtxTokens, ErrContextFull)
	case len(e.step.Tops)+len(j.Wants) > e.lim.Tops || len(e.step.Outs)+len(j.Wants) > e.lim.Outs:
		return fmt.Errorf("want at most %d output rows in a step, got %d", e.lim.Outs, len(e.step.Outs)+len(j.Wants))
	case len(j.Given) > 0 && len(j.Given) > e.opt.Given:
		return fmt.Errorf("want at most %d given rows, got %d", e.opt.Given, len(j.Given))
	}
	for _, t := range j.Tokens {
		if t < 0 || int(t) >= e.shape.Vocab {
			return fmt.Errorf("token: want 0 to %d, got %d", e.shape.Vocab-1, t)
		}
	}
	if err := q.reserve(n); err != nil {
		return err
	}
	if n > backend.Slack+1 {
		into, ok := e.takeSlot()
		if !ok {
			return ErrNoSlots
		}
		j.into = into
	}
	return nil
}

// want adds the job's output rows and their queries to the step.
func (e *Engine) want(j *Job, row int32, masks *int) {
	s := &e.step
	j.firstTop, j.outs = len(s.Tops), j.outs[:0]
	for _, w := range j.Wants {
		r := row + int32(w.Row)
		if n := len(s.Outs); n == 0 || s.Outs[n-1] != r {
			s.Outs = append(s.Outs, r)
		}
		t := backend.Top{Out: int32(len(s.Outs) - 1), Mask: -1, Bias: int32(len(s.Bias)), Biases: int32(len(w.Bias)), InvTemp: w.InvTemp}
		if t.InvTemp == 0 {
			t.InvTemp = 1
		}
		s.Bias = append(s.Bias, w.Bias...)
		if w.Mask != nil {
			t.Mask = int32(*masks)
			e.b.Write(e.act.masks, *masks, u32Bytes(w.Mask))
			*masks++
		}
		j.outs = append(j.outs, t.Out)
		s.Tops = append(s.Tops, t)
	}
}

// back gives the spare slots of jobs that did not succeed back.
func (e *Engine) back(jobs []Job) {
	for i := range jobs {
		if j := &jobs[i]; j.into != j.Seq.slot {
			e.freeSlots = append(e.freeSlots, j.into)
			j.into = j.Seq.slot
		}
	}
}

// Top is the result of want i. Valid until the next Run.
func (j *Job) Top(i int) Candidates {
	return j.Seq.e.tops[(j.firstTop+i)*backend.TopBytes:][:backend.TopBytes]
}

// Logits reads the raw logits (V) of want i into dst, which grows as needed: the slow road.
func (j *Job) Logits(dst []float32, i int) []float32 {
	e := j.Seq.e
	dst = slices.Grow(dst[:0], e.shape.Vocab)[:e.shape.Vocab]
	e.b.Read(f32Bytes(dst), e.act.logits, int(j.outs[i]), nil)
	return dst
}

// Kept is how many rows count.
func (j *Job) Kept() int { return j.kept }

// Keep commits the first rows of the job's tokens; the rest never happened. It may be called again with more rows, until the
// next Run. A span of more than Slack+1 rows is kept whole but for at most Slack rows.
func (j *Job) Keep(rows int) {
	q, e := j.Seq, j.Seq.e
	long := j.into != j.from
	if !j.ran || rows < j.kept || rows > len(j.Tokens) || long && rows < len(j.Tokens)-backend.Slack {
		panic(fmt.Sprintf("model: keep %d of %d rows after %d (ran: %v)", rows, len(j.Tokens), j.kept, j.ran))
	}
	start := q.n - j.kept
	if q.slot != j.into {
		e.leave(q.slot)
		q.slot, q.high = j.into, start+len(j.Tokens)
	}
	q.high = max(q.high, start+len(j.Tokens))
	q.tokens = append(q.tokens[:start], j.Tokens[:rows]...)
	q.n, j.kept = start+rows, rows
}
