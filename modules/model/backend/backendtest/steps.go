package backendtest

import (
	"fmt"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// stepFor makes a step of n rows: one span, or several sequences at positions that meet every case of the caches — the
// first token, odd starts, completed windows of 4 and 128, more visible rows than the indexer selects.
func stepFor(sh *backend.Shape, n int) *backend.Step {
	s := &backend.Step{}
	deep := int32(4*sh.TopK + 301) // the indexer selects
	add := func(pos int32, rows int) {
		i := int32(len(s.Spans))
		sp := backend.Span{Seq: i, Slot: i, Into: i, Pos: pos, Row: int32(len(s.Rows)), Rows: int32(rows)}
		if rows > backend.Slack+1 {
			sp.Into = seqs + i%spare
		}
		s.Spans = append(s.Spans, sp)
		for k := range int32(rows) {
			s.Rows = append(s.Rows, backend.Row{Token: (pos*7 + k*13 + i) % int32(sh.Vocab), Pos: pos + k, Span: i, From: -1})
		}
	}
	switch n {
	case 1:
		add(deep, 1)
	case 2:
		add(127, 1)
		add(deep, 1)
	case 17:
		add(deep-8, 17) // in place, the longest
	case 33:
		add(0, 1)
		add(121, 15)
		add(deep+1, 17)
	default:
		add(3, 1)
		add(deep-2, n-1-n/4)
		add(0, n/4)
	}
	for i := range s.Rows {
		if i == len(s.Rows)-1 || i%max(1, n/20) == 0 {
			s.Outs = append(s.Outs, int32(i))
		}
	}
	s.Bias = []backend.Bias{{ID: 3, Add: 2, Rep: 1}, {ID: 7, Add: -1, Rep: 1.3}, {ID: 11, Add: 0, Rep: 2}}
	s.Tops = []backend.Top{
		{Out: 0, Mask: -1, InvTemp: 1},
		{Out: int32(len(s.Outs) - 1), Mask: -1, Bias: 0, Biases: 3, InvTemp: 0.7},
		{Out: 0, Mask: 2, Bias: 1, Biases: 2, InvTemp: 2},
	}
	s.Check(sh, &backend.Limits{CtxTokens: ctx, Seqs: seqs, Slots: seqs + spare, Rows: max(n, 8), Outs: max(40, n), Tops: 8})
	return s
}

// slice is a part of a step as a step of its own.
type slice struct {
	step *backend.Step
	rows []int // rows of the whole step
	outs []int // outputs of the whole step
}

// index says which row of the whole step the i-th row of a field is.
func (p *slice) index(f *field) []int {
	switch {
	case f.outs:
		return p.outs
	case f.tops:
		return nil // queries are compared within the whole step only
	}
	return p.rows
}

// alone cuts a step: by span for an operation on state, by row otherwise (of many rows, some).
func alone(s *backend.Step, state bool) []slice {
	var out []slice
	if state {
		for i, sp := range s.Spans {
			out = append(out, cut(s, i, int(sp.Row), int(sp.Rows)))
		}
		return out
	}
	for i := 0; i < len(s.Rows); i += max(1, len(s.Rows)/9) {
		out = append(out, cut(s, int(s.Rows[i].Span), i, 1))
	}
	return out
}

func cut(s *backend.Step, span, row, rows int) slice {
	sp := s.Spans[span]
	sp.Pos += int32(row) - sp.Row
	sp.Row, sp.Rows = 0, int32(rows)
	p := slice{step: &backend.Step{Spans: []backend.Span{sp}}}
	for i := range rows {
		r := s.Rows[row+i]
		r.Span = 0
		p.step.Rows, p.rows = append(p.step.Rows, r), append(p.rows, row+i)
		for j, o := range s.Outs {
			if int(o) == row+i {
				p.step.Outs, p.outs = append(p.step.Outs, int32(i)), append(p.outs, j)
			}
		}
	}
	return p
}

func (p *slice) String() string {
	return fmt.Sprintf("%d rows at %d", len(p.rows), p.step.Spans[0].Pos)
}
