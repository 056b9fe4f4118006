package backend

import (
	"fmt"
	"sync/atomic"
)

// Row is one token of a step. From is -1, or the row of Given (embed) or Prev (draft_join) that its streams start from.
// Token is valid even then: hash layers route by it.
type Row struct{ Token, Pos, Span, From int32 }

// Span is a run of consecutive positions of one sequence; a sequence and a slot occur at most once in a step.
// Seq is the row of the page table. Rings are read from Slot and written to Into. Into == Slot, in place, is allowed up
// to Slack+1 rows; a longer span writes a spare slot whole.
type Span struct{ Seq, Slot, Into, Pos, Row, Rows int32 }

// Top asks for the best candidates of one output row. Two may name the same row (masked choice, plain log-probs).
type Top struct {
	Out          int32   // index into Outs
	Mask         int32   // row of Masks, -1 none; a set bit allows the token
	Bias, Biases int32   // range in Step.Bias: first and count
	InvTemp      float32 // for the normaliser; 1 when greedy
}

// Bias adjusts one logit: l/Rep+Add where l > 0, else l·Rep+Add. It carries logit bias and the three penalties.
type Bias struct {
	ID       int32
	Add, Rep float32
}

// Tape names a sequence of calls.
type Tape uint8

// The tapes. Draft starts from the base model's streams, DraftNext from the draft layer's own.
const (
	Base Tape = iota
	Draft
	DraftNext
)

// Step is everything that changes from run to run. The engine owns one and refills it.
type Step struct {
	Tape  Tape
	Rows  []Row
	Spans []Span  // cover Rows in order
	Outs  []int32 // rows whose logits are wanted, ascending
	Tops  []Top
	Bias  []Bias
	Stop  *atomic.Bool // nil, or looked at between operations: true ends the step with ErrCanceled
}

// Check panics where the step breaks a rule: a bad step is the engine's own broken promise.
func (s *Step) Check(sh *Shape, l *Limits) {
	if len(s.Rows) == 0 || len(s.Rows) > l.Rows || len(s.Outs) > l.Outs || len(s.Tops) > l.Tops {
		panic(fmt.Sprintf("backend: step of %d rows, %d outs, %d tops; limits %+v", len(s.Rows), len(s.Outs), len(s.Tops), *l))
	}
	row := int32(0)
	for i := range s.Spans {
		s.checkSpan(i, row, sh, l)
		row += s.Spans[i].Rows
	}
	if int(row) != len(s.Rows) {
		panic(fmt.Sprintf("backend: spans cover %d of %d rows", row, len(s.Rows)))
	}
	for i, o := range s.Outs {
		if o < 0 || o >= row || i > 0 && o <= s.Outs[i-1] {
			panic(fmt.Sprintf("backend: outs not ascending within the rows: %v", s.Outs))
		}
	}
	for _, t := range s.Tops {
		if t.Out < 0 || int(t.Out) >= len(s.Outs) || t.Bias < 0 || t.Biases < 0 || int(t.Bias)+int(t.Biases) > len(s.Bias) || t.Mask < -1 || int(t.Mask) >= l.Tops {
			panic(fmt.Sprintf("backend: top query out of range: %+v", t))
		}
	}
	for _, b := range s.Bias {
		if b.ID < 0 || int(b.ID) >= sh.Vocab {
			panic(fmt.Sprintf("backend: bias for token %d of %d", b.ID, sh.Vocab))
		}
	}
}

func (s *Step) checkSpan(i int, row int32, sh *Shape, l *Limits) {
	p := s.Spans[i]
	if p.Row != row || p.Rows < 1 || int(p.Row+p.Rows) > len(s.Rows) || p.Slot == p.Into && p.Rows > Slack+1 ||
		p.Pos < 0 || int(p.Pos+p.Rows) > l.CtxTokens || p.Seq < 0 || int(p.Seq) >= l.Seqs ||
		min(p.Slot, p.Into) < 0 || int(max(p.Slot, p.Into)) >= l.Slots {
		panic(fmt.Sprintf("backend: span %d: %+v", i, p))
	}
	for j := range p.Rows {
		r := s.Rows[row+j]
		if r.Pos != p.Pos+j || r.Span != int32(i) || r.Token < 0 || int(r.Token) >= sh.Vocab {
			panic(fmt.Sprintf("backend: row %d: %+v in span %+v", row+j, r, p))
		}
	}
	for _, q := range s.Spans[:i] {
		if q.Seq == p.Seq || q.Slot == p.Slot || q.Into == p.Into || q.Slot == p.Into || q.Into == p.Slot {
			panic(fmt.Sprintf("backend: spans %+v and %+v share a sequence or a slot", q, p))
		}
	}
}
