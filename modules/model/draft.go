package model

import (
	"context"
	"fmt"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// MaxDrafts is how many tokens a sequence can be ahead of itself: a check of more would not fit the rings' slack.
const MaxDrafts = backend.Slack

// Align is which token a draft head is shown beside the streams of position p.
type Align uint8

const (
	// AlignNext shows the token after p, as the head was trained: it then speaks of the one after that.
	AlignNext Align = iota
	// AlignSame shows the token at p, as the reference program does: its first guess is of the token that the base model
	// has chosen already, and only if it agrees are there others (model.md D.4). For comparison.
	AlignSame
)

// Drafting asks the draft head to go on from a job of the last Run. Rows that the job has kept are shown to the head.
type Drafting struct {
	Job  *Job
	Next int32 // the token after the last kept row; -1: unknown, and nothing is drafted
	Want int   // guesses wanted behind Next, at most MaxDrafts

	Tokens  []int32   // the guesses
	Margins []float32 // of each: how far its logit leads the second
}

// HasDraftHead says whether Draft can be called.
func (e *Engine) HasDraftHead() bool { return e.w.Draft != nil }

// Draft runs the draft head over the rows that the jobs of the last Run have kept, so that its window follows the
// sequences, and then guesses. It must come before the next Run, and after the results of the last one have been used: the
// logits are overwritten. After an error there are no guesses; sequences are as they were, and only later guesses may
// suffer.
func (e *Engine) Draft(ctx context.Context, list []Drafting) error {
	if e.w.Draft == nil {
		return fmt.Errorf("model: draft: want a draft head, got none: %w", backend.ErrUnsupported)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("model: draft: %w", ErrCanceled)
	}
	live := e.fillDraft(list)
	if len(e.step.Rows) == 0 {
		return nil
	}
	for depth := 1; ; depth++ {
		if err := e.runDraft(ctx); err != nil {
			return err
		}
		e.guess(list, live)
		if live = e.fillNext(list, live, depth); len(live) == 0 {
			return nil
		}
	}
}

// steps is how many rows the head evaluates of a drafting's guesses: the reference's alignment spends one on what is known.
func (e *Engine) steps(d *Drafting) int {
	want := min(d.Want, MaxDrafts, e.lim.CtxTokens-d.Job.Seq.n-1)
	if want <= 0 || d.Next < 0 {
		return 0
	}
	if e.opt.Align == AlignSame {
		return min(want+1, MaxDrafts)
	}
	return want
}

// speaker is a drafting that has outputs in the step under way.
type speaker struct {
	index int   // of the drafting
	row   int32 // in the step under way
	steps int
	last  int32 // guess
	known bool  // the next guess is of Next itself
	ended bool
}

// fillDraft makes the step that follows the base model's, over the kept rows.
func (e *Engine) fillDraft(list []Drafting) (live []speaker) {
	s := &e.step
	e.clearStep(backend.Draft)
	for i := range list {
		d := &list[i]
		j, q := d.Job, d.Job.Seq
		d.Tokens, d.Margins = d.Tokens[:0], d.Margins[:0]
		rows := j.kept
		if d.Next < 0 && e.opt.Align == AlignNext {
			rows--
		}
		if q.e == nil || !j.ran || rows <= 0 {
			continue
		}
		row, start := int32(len(s.Rows)), q.n-j.kept
		s.Spans = append(s.Spans, backend.Span{Seq: q.id, Slot: j.from, Into: j.into, Pos: int32(start), Row: row, Rows: int32(rows)})
		for k := range rows {
			token := j.Tokens[k]
			if e.opt.Align == AlignNext {
				if token = d.Next; k+1 < j.kept {
					token = j.Tokens[k+1]
				}
			}
			s.Rows = append(s.Rows, backend.Row{Token: token, Pos: int32(start + k), Span: int32(len(s.Spans) - 1), From: j.row + int32(k)})
		}
		if n := e.steps(d); n > 0 {
			last := row + int32(rows) - 1
			e.ask(last)
			q.high = max(q.high, q.n+n-1)
			live = append(live, speaker{index: i, row: last, steps: n, known: e.opt.Align == AlignSame})
		}
	}
	return live
}

func (e *Engine) clearStep(t backend.Tape) {
	s := &e.step
	s.Tape = t
	s.Rows, s.Spans, s.Outs, s.Tops, s.Bias = s.Rows[:0], s.Spans[:0], s.Outs[:0], s.Tops[:0], s.Bias[:0]
}

func (e *Engine) ask(row int32) {
	s := &e.step
	s.Outs = append(s.Outs, row)
	s.Tops = append(s.Tops, backend.Top{Out: int32(len(s.Outs) - 1), Mask: -1, InvTemp: 1})
}

// guess takes the results of the step under way.
func (e *Engine) guess(list []Drafting, live []speaker) {
	for i := range live {
		p := &live[i]
		d := &list[p.index]
		top := Candidates(e.tops[i*backend.TopBytes:][:backend.TopBytes])
		if top.Len() == 0 {
			p.ended = true
			continue
		}
		p.last = top.ID(0)
		if p.known {
			p.known, p.ended = false, p.last != d.Next
			continue
		}
		margin := float32(0)
		if top.Len() > 1 {
			margin = top.Logit(0) - top.Logit(1)
		}
		d.Tokens, d.Margins = append(d.Tokens, p.last), append(d.Margins, margin)
	}
}

// fillNext makes the step of the depth-th guess of those who want so many.
func (e *Engine) fillNext(list []Drafting, before []speaker, depth int) (live []speaker) {
	s := &e.step
	e.clearStep(backend.DraftNext)
	for _, p := range before {
		if p.ended || p.steps <= depth {
			continue
		}
		j := list[p.index].Job
		row := int32(len(s.Rows))
		pos := int32(j.Seq.n - 1 + depth)
		s.Spans = append(s.Spans, backend.Span{Seq: j.Seq.id, Slot: j.into, Into: j.into, Pos: pos, Row: row, Rows: 1})
		s.Rows = append(s.Rows, backend.Row{Token: p.last, Pos: pos, Span: row, From: p.row})
		e.ask(row)
		p.row = row
		live = append(live, p)
	}
	return live
}

func (e *Engine) runDraft(ctx context.Context) error {
	e.stop.Store(false)
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() { e.stop.Store(true) })()
	}
	e.b.Begin(&e.step)
	e.draft(e.step.Tape)
	if err := e.b.Wait(); err != nil {
		return fmt.Errorf("model: draft: %w", err)
	}
	if n := len(e.step.Tops); n > 0 {
		e.b.Read(e.tops[:n*backend.TopBytes], e.act.top, 0, nil)
	}
	return nil
}

// leave gives a slot back that a long span has moved out of, or keeps it for the draft head to read.
func (e *Engine) leave(slot int32) {
	if e.w.Draft != nil {
		e.heldSlots = append(e.heldSlots, slot)
		return
	}
	e.freeSlots = append(e.freeSlots, slot)
}

func (e *Engine) letGo() {
	e.freeSlots, e.heldSlots = append(e.freeSlots, e.heldSlots...), e.heldSlots[:0]
}
