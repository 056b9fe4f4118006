package cpu

import (
	"math"
	"unsafe"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// IndexTopK: see backend.IndexTopKArgs. Rows that see at most TopK compressed rows need no scores.
func (b *Backend) IndexTopK(a backend.IndexTopKArgs) {
	if b.skip("index_topk", a.Layer) {
		return
	}
	sh, il := &b.sh, int(a.Layer)
	var scored []int
	for i, r := range b.step.Rows {
		if b.visible(r.Pos, il) > sh.TopK {
			scored = append(scored, i)
			continue
		}
		sel := b.i32(a.Sel, i)
		for c := range sel {
			sel[c] = int32(c)
		}
	}
	if len(scored) == 0 {
		return
	}
	n, width := len(scored), sh.IndexHeads*backend.IndexDim
	lat, x := grow(&b.tmp[0], n*sh.QRank), grow(&b.tmp[1], n*sh.Embd)
	for j, i := range scored {
		copy(lat[j*sh.QRank:], b.f32(a.QLat, i))
		copy(x[j*sh.Embd:], b.f32(a.X, i))
	}
	q, w := grow(&b.tmp[2], n*width), grow(&b.tmp[3], n*sh.IndexHeads)
	b.matmul(q, width, b.weight(a.QB), 0, width, b.qlat.set(lat, n, sh.QRank))
	b.matmul(w, sh.IndexHeads, b.weight(a.Proj), 0, sh.IndexHeads, b.x.set(x, n, sh.Embd))
	scale := float32(1 / math.Sqrt(float64(width)))
	for i := range w {
		w[i] *= scale
	}
	b.pool.each(n*sh.IndexHeads, func(i int) {
		head := q[i*backend.IndexDim:][:backend.IndexDim]
		rotate(head, b.rowRotation(ropeCompressed, scored[i/sh.IndexHeads]), false)
		hadamard(head)
		var vals [backend.IndexRowBytes]byte
		var exps [backend.IndexExpBytes]byte
		packIndex(vals[:], exps[:], head)
		unpackIndex(head, vals[:], exps[:])
	})
	for from := 0; from < n; { // rows of one sequence share its unpacked cache rows
		to := from + 1
		for to < n && b.step.Rows[scored[to]].Span == b.step.Rows[scored[from]].Span {
			to++
		}
		b.selectRows(a, scored[from:to], q[from*width:], w[from*sh.IndexHeads:])
		from = to
	}
}

// selectRows chooses for rows of one sequence; q and w are their queries and head weights.
func (b *Backend) selectRows(a backend.IndexTopKArgs, rows []int, q, w []float32) {
	il, heads := int(a.Layer), b.sh.IndexHeads
	most := b.visible(b.step.Rows[rows[len(rows)-1]].Pos, il) // positions ascend
	kv := grow(&b.tmp[5], most*backend.IndexDim)
	seq := b.step.Spans[b.step.Rows[rows[0]].Span].Seq
	b.pool.span(most, 64, func(lo, hi int) {
		for c := lo; c < hi; c++ {
			part, k := b.pagePart(a.State, seq, c, il)
			unpackIndex(kv[c*backend.IndexDim:][:backend.IndexDim], part[b.sh.PageIndexOffset(il)+k*backend.IndexRowBytes:],
				part[b.sh.PageIndexExpOffset(il)+k*backend.IndexExpBytes:])
		}
	})
	const piece = 256
	scores, pieces := grow(&b.tmp[4], len(rows)*most), (most+piece-1)/piece
	b.pool.each(len(rows)*pieces, func(i int) {
		j, lo := i/pieces, i%pieces*piece
		hi := min(lo+piece, b.visible(b.step.Rows[rows[j]].Pos, il))
		if lo >= hi {
			return
		}
		b.scores(scores[j*most+lo:j*most+hi], q[j*heads*backend.IndexDim:], w[j*heads:(j+1)*heads], kv[lo*backend.IndexDim:hi*backend.IndexDim])
	})
	b.pool.each(len(rows), func(j int) {
		i := rows[j]
		best(b.i32(a.Sel, i), scores[j*most:][:b.visible(b.step.Rows[i].Pos, il)])
	})
}

// visible is the number of compressed rows that a token at pos sees.
func (b *Backend) visible(pos int32, il int) int { return int(pos+1) / b.sh.Ratio[il] }

// scores rates unpacked rows for one query: Σ over heads of max(0, q·row)·w.
func (b *Backend) scores(out, q, w, kv []float32) {
	if v := b.variant; v.attendScores != nil && len(w)%v.lanes == 0 {
		b.fastScores(out, q, w, kv)
		return
	}
	for c := range out {
		row := kv[c*backend.IndexDim:][:backend.IndexDim]
		acc := float32(0)
		for h, wh := range w {
			if s := dot(q[h*backend.IndexDim:(h+1)*backend.IndexDim], row); s > 0 {
				acc += float32(s * wh)
			}
		}
		out[c] = acc
	}
}

// fastScores is scores with attention's kernel: lanes are heads.
func (b *Backend) fastScores(out, q, w, kv []float32) {
	const d = backend.IndexDim
	m, v, n, one := b.worker(), b.variant, len(out), float32(1)
	defer b.release(m)
	grow(&m.turned, d*v.tile)
	s := grow(&m.scores, len(w)*n) // (heads/lanes, n, lanes)
	for h := 0; h < len(w); h += v.lanes {
		m.til = tileArgs{w: (*byte)(unsafe.Pointer(&q[h*d])), stride: 4 * d, blocks: d, tile: (*byte)(unsafe.Pointer(&m.turned[0]))}
		v.tileF32(&m.til)
		m.att = attendArgs{q: &m.turned[0], kv: &kv[0], s: &s[h*n], n: n, dim: d, scale: &one}
		v.attendScores(&m.att)
	}
	clear(out)
	for h := 0; h < len(w); h += v.lanes {
		for c := range out {
			out[c] = weigh(out[c], s[h*n+c*v.lanes:][:v.lanes], w[h:])
		}
	}
}

// weigh adds the positive scores times their weights, in order. Zeros change no sum, so it adds them too rather than guess
// branches, unless that made a NaN: then a weight was not finite, or a score.
func weigh(acc float32, s, w []float32) float32 {
	sum := acc
	for h, v := range s {
		bits := math.Float32bits(v)
		sum += float32(math.Float32frombits(bits&^uint32(int32(bits)>>31)) * w[h])
	}
	if sum == sum {
		return sum
	}
	for h, v := range s {
		if v > 0 {
			acc += float32(v * w[h])
		}
	}
	return acc
}

// best writes the indices of the len(sel) greatest scores in ascending order; equal scores go to the lower index, and NaN is
// below every number. It looks for the least score that is taken byte by byte, and sorts nothing.
func best(sel []int32, scores []float32) {
	least, ties := uint32(0), len(sel) // how many of those equal to least are taken, once all bytes are known
	for shift := 24; shift >= 0; shift -= 8 {
		var count [256]int
		for _, s := range scores {
			if k := rank(s); k>>shift>>8 == least>>shift>>8 {
				count[k>>shift&255]++
			}
		}
		digit := 255
		for ; digit > 0 && count[digit] < ties; digit-- {
			ties -= count[digit]
		}
		least |= uint32(digit) << shift
	}
	at := 0
	for i, s := range scores {
		k := rank(s)
		if k == least && ties > 0 {
			ties--
		} else if k <= least {
			continue
		}
		sel[at] = int32(i)
		at++
	}
}

// rank maps scores to integers of the same order; 0 and −0 are equal.
func rank(s float32) uint32 {
	switch b := math.Float32bits(s); {
	case s != s:
		return 0
	case s == 0:
		return 1 << 31
	case b>>31 != 0:
		return ^b
	default:
		return b | 1<<31
	}
}
