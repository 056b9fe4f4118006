package cpu

import (
	"unsafe"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// fastAttend is Attend with a variant's kernels. Many rows are divided over the threads, each with its own unpacked cache
// rows; of few rows the heads are divided.
func (b *Backend) fastAttend(a backend.AttendArgs, sinks []float32, scale float32) {
	n, groups := len(b.step.Rows), b.sh.Heads/b.variant.lanes
	if n >= 2*b.pool.n {
		b.pool.each(n, func(i int) {
			m := b.worker()
			defer b.release(m)
			m.rows = b.visibleRows(m.rows[:0], a, i)
			kv := grow(&m.values, len(m.rows)*b.sh.HeadDim)
			b.unpackRows(m, kv, m.rows)
			for g := range groups {
				b.attendHeads(m, a, i, g*b.variant.lanes, kv, sinks, scale)
			}
		})
		return
	}
	for i := range n {
		rows := b.visibleRows(b.rows[:0], a, i)
		b.rows = rows
		d := b.sh.HeadDim
		kv := grow(&b.tmp[0], len(rows)*d)
		b.pool.span(len(rows), 32, func(lo, hi int) {
			m := b.worker()
			defer b.release(m)
			b.unpackRows(m, kv[lo*d:hi*d], rows[lo:hi])
		})
		b.pool.each(groups, func(g int) {
			m := b.worker()
			defer b.release(m)
			b.attendHeads(m, a, i, g*b.variant.lanes, kv, sinks, scale)
		})
	}
}

// unpackRows decodes packed rows: kv is (len(rows), d).
func (b *Backend) unpackRows(m *worker, kv []float32, rows [][]byte) {
	ptrs := grow(&m.ptrs, len(rows))
	for j, r := range rows {
		ptrs[j] = &r[0]
	}
	m.kv = kvArgs{rows: &ptrs[0], n: len(rows), nope: b.sh.HeadDim - b.sh.RopeDim, rope: b.sh.RopeDim, out: &kv[0]}
	b.variant.kvRows(&m.kv)
	clear(ptrs) // the pool of workers must not hold caches
}

// attendHeads is attention of row i for as many heads as there are lanes, over unpacked rows.
func (b *Backend) attendHeads(m *worker, a backend.AttendArgs, i, first int, kv, sinks []float32, scale float32) {
	v, d := b.variant, b.sh.HeadDim
	n, l := len(kv)/d, v.lanes
	q, o := b.f32(a.Q, i)[first*d:], b.f32(a.O, i)[first*d:]
	grow(&m.turned, d*v.tile)
	s := grow(&m.scores, n*l)
	m.til = tileArgs{w: (*byte)(unsafe.Pointer(&q[0])), stride: 4 * d, blocks: d, tile: (*byte)(unsafe.Pointer(&m.turned[0]))}
	v.tileF32(&m.til)
	m.att = attendArgs{q: &m.turned[0], kv: &kv[0], s: &s[0], o: &o[0], n: n, dim: d, scale: &scale}
	v.attendScores(&m.att)
	inv := b.softmax(m, s, sinks[first:][:l])
	v.attendValues(&m.att)
	cs := b.rowRotation(b.ropeKind(a.Layer), i)
	for h, z := range inv {
		head := o[h*d : (h+1)*d]
		for c := range head {
			head[c] *= z
		}
		rotate(head, cs, true)
	}
}

// maxLanes is the most lanes of any variant.
const maxLanes = 16
