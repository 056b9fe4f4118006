package cpu

import (
	"github.com/ds4-go/ds4/modules/model/backend"
)

// headTile is the number of heads that share a pass over the rows.
const headTile = 8

// fastAttend is attendRow with rows turned 16 at a time, lanes being rows for the scores and components for the values: both
// sums keep the order of attendHead.
func (b *Backend) fastAttend(a backend.AttendArgs, i int, sinks []float32, scale float32) {
	sh, d := &b.sh, b.sh.HeadDim
	rows := b.visibleRows(a, i)
	tiles := (len(rows) + tileRows - 1) / tileRows
	kv, turned := grow(&b.tmp[0], len(rows)*d), grow(&b.tmp[2], tiles*tileRows*d)
	b.pool.each(tiles, func(t int) {
		tt := turned[t*tileRows*d:][:tileRows*d]
		for l := range tileRows {
			j := t*tileRows + l
			if j >= len(rows) {
				for c := range d {
					tt[c*tileRows+l] = 0
				}
				continue
			}
			row := kv[j*d : (j+1)*d]
			unpackKV(row, rows[j], sh.RopeDim)
			for c, v := range row {
				tt[c*tileRows+l] = v
			}
		}
	})
	q, o, kind := b.f32(a.Q, i), b.f32(a.O, i), b.ropeKind(a.Layer)
	width := tiles * tileRows
	s := grow(&b.tmp[1], sh.Heads*width)
	b.pool.span(sh.Heads, headTile, func(lo, hi int) {
		m := b.mem.Get().(*threadMem)
		defer b.mem.Put(m)
		acc := grow(&m.acc, (hi-lo)*tileRows)
		for t := range tiles {
			m.args = dotArgs{w: ptr(turned[t*tileRows*d:]), blocks: d, d: &q[lo*d], dStep: d, n: hi - lo, acc: &acc[0]}
			b.variant.scores(&m.args)
			for h := range hi - lo {
				copy(s[(lo+h)*width+t*tileRows:][:tileRows], acc[h*tileRows:])
			}
		}
		for h := lo; h < hi; h++ {
			b.weighRows(m, o[h*d:(h+1)*d], kv, s[h*width:][:len(rows)], sinks[h], scale)
			rotate(o[h*d:(h+1)*d], b.rowRotation(kind, i), true)
		}
	})
}

// weighRows turns raw scores s into weights, and sums the rows by them.
func (b *Backend) weighRows(m *threadMem, o, kv, s []float32, sink, scale float32) {
	top, d := sink, len(o)
	for j := range s {
		s[j] *= scale
		top = max(top, s[j])
	}
	z := exp(sink - top)
	for j, v := range s {
		s[j] = exp(v - top)
		z += s[j]
	}
	clear(o)
	m.args = dotArgs{w: ptr(kv), stride: 4 * d, blocks: d / 64, d: &s[0], n: len(s), acc: &o[0]}
	b.variant.values(&m.args)
	inv := 1 / z
	for c := range o {
		o[c] *= inv
	}
}
