package cpu

import (
	"math"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// Attend: see backend.AttendArgs. Rows are visited raw first, in ascending position, then compressed in ascending index;
// the sink takes part in maximum and denominator and has no value.
func (b *Backend) Attend(a backend.AttendArgs) {
	if b.skip("attend", a.Layer) {
		return
	}
	sh, kind := &b.sh, b.ropeKind(a.Layer)
	d, sinks := sh.HeadDim, b.weight(a.Sinks).vec()
	scale := float32(1 / math.Sqrt(float64(d)))
	if b.variant.attendScores != nil && d%64 == 0 && sh.RopeDim%16 == 0 && sh.Heads%b.variant.tile == 0 {
		b.fastAttend(a, sinks, scale)
		return
	}
	for i := range b.step.Rows {
		rows := b.visibleRows(b.rows[:0], a, i)
		b.rows = rows
		kv := grow(&b.tmp[0], len(rows)*d)
		b.pool.span(len(rows), 16, func(lo, hi int) {
			for j := lo; j < hi; j++ {
				unpackKV(kv[j*d:(j+1)*d], rows[j], sh.RopeDim)
			}
		})
		q, o := b.f32(a.Q, i), b.f32(a.O, i)
		s := grow(&b.tmp[1], sh.Heads*len(rows))
		b.pool.each(sh.Heads, func(h int) {
			head := o[h*d : (h+1)*d]
			attendHead(head, q[h*d:(h+1)*d], kv, s[h*len(rows):(h+1)*len(rows)], sinks[h], scale)
			rotate(head, b.rowRotation(kind, i), true)
		})
	}
}

// visibleRows appends the packed rows that row i of the step attends to, in order.
func (b *Backend) visibleRows(rows [][]byte, a backend.AttendArgs, i int) [][]byte {
	r, il, size := b.step.Rows[i], int(a.Layer), b.sh.KVRowBytes()
	sp := b.step.Spans[r.Span]
	ring := b.part(a.State.Slots, int(sp.Slot), il)
	for p := max(0, int(r.Pos)+1-b.sh.Window); p <= int(r.Pos); p++ {
		if p >= int(sp.Pos) {
			rows = append(rows, b.row(a.KV, int(sp.Row)+p-int(sp.Pos)))
		} else {
			rows = append(rows, ring[p%b.sh.RawRing()*size:][:size])
		}
	}
	if b.ratio(a.Layer) != 0 {
		n, sel := b.visible(r.Pos, il), []int32(nil)
		if b.sh.Indexed(il) {
			sel = b.i32(a.Sel, i)
			n = min(n, b.sh.TopK)
		}
		for j := range n {
			if sel != nil {
				j = int(sel[j])
			}
			part, c := b.pagePart(a.State, sp.Seq, j, il)
			rows = append(rows, part[c*size:][:size])
		}
	}
	return rows
}

// attendHead is softmax attention of one head: o (d) from q (d) over kv (n, d); s (n) is scratch for the scores.
func attendHead(o, q, kv, s []float32, sink, scale float32) {
	d := len(q)
	top := sink
	for j := range s {
		s[j] = dot(q, kv[j*d:(j+1)*d]) * scale
		top = max(top, s[j])
	}
	z := exp(sink - top)
	clear(o)
	for j, v := range s {
		w := exp(v - top)
		z += w
		for c, k := range kv[j*d : (j+1)*d] {
			o[c] += float32(w * k)
		}
	}
	inv := 1 / z
	for c := range o {
		o[c] *= inv
	}
}
