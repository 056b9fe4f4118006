package cpu

import (
	"encoding/binary"
	"math"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// Top: see backend.TopArgs. Masked and biased copies are made per query; sums run in f64 over ascending ids.
func (b *Backend) Top(a backend.TopArgs) {
	if b.skip("top", -1) {
		return
	}
	one := func(i int, sum summer) {
		q := b.step.Tops[i]
		var mask []uint32
		if q.Mask >= 0 {
			mask = view[uint32](b.row(a.Masks, int(q.Mask)))
		}
		top(b.row(a.Top, i), b.f32(a.Logits, int(q.Out)), mask, b.step.Bias[q.Bias:q.Bias+q.Biases], float64(q.InvTemp), sum)
	}
	if n := len(b.step.Tops); n >= b.pool.n {
		b.pool.each(n, func(i int) { one(i, sumTerms) })
		return
	}
	for i := range b.step.Tops { // too few queries for the threads: these share each one's exponentials
		one(i, b.sumTerms)
	}
}

// summer adds up f(0) … f(n−1) in this order.
type summer func(n int, f func(i int) float64) float64

func sumTerms(n int, f func(i int) float64) float64 {
	sum := 0.0
	for i := range n {
		sum += f(i)
	}
	return sum
}

func (b *Backend) sumTerms(n int, f func(i int) float64) float64 {
	t := grow(&b.terms, n)
	b.pool.span(n, 2048, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			t[i] = f(i)
		}
	})
	sum := 0.0
	for _, v := range t {
		sum += v
	}
	return sum
}

type candidate struct {
	id int32
	l  float32
}

// less orders candidates: greater logit first, then the lower id.
func (c candidate) less(d candidate) bool { return c.l > d.l || c.l == d.l && c.id < d.id }

func top(dst []byte, raw []float32, mask []uint32, bias []backend.Bias, invTemp float64, sum summer) {
	adj := make([]float32, len(raw))
	copy(adj, raw)
	for _, v := range bias {
		if l := adj[v.ID]; l > 0 {
			adj[v.ID] = float32(l/v.Rep) + v.Add
		} else {
			adj[v.ID] = float32(l*v.Rep) + v.Add
		}
	}
	maxRaw, maxAdj := float32(math.Inf(-1)), float32(math.Inf(-1))
	allowed := func(id int) bool { return mask == nil || mask[id/32]>>(id%32)&1 != 0 }
	heap := make([]candidate, 0, backend.TopCount) // worst first
	for id, l := range raw {
		maxRaw = max(maxRaw, l)
		if !allowed(id) {
			continue
		}
		maxAdj = max(maxAdj, adj[id])
		heap = offer(heap, candidate{int32(id), adj[id]})
	}
	sumRaw := sum(len(raw), func(id int) float64 { return math.Exp(float64(raw[id]) - float64(maxRaw)) })
	sumAdj := sumRaw
	if mask != nil || len(bias) > 0 || invTemp != 1 { // or its terms are the same
		sumAdj = sum(len(raw), func(id int) float64 {
			if !allowed(id) {
				return 0
			}
			return math.Exp((float64(adj[id]) - float64(maxAdj)) * invTemp)
		})
	}
	le := binary.LittleEndian
	le.PutUint64(dst[backend.TopLogSumRaw:], math.Float64bits(float64(maxRaw)+math.Log(sumRaw)))
	le.PutUint64(dst[backend.TopSumAdj:], math.Float64bits(sumAdj))
	le.PutUint32(dst[backend.TopMaxRaw:], math.Float32bits(maxRaw))
	le.PutUint32(dst[backend.TopMaxAdj:], math.Float32bits(maxAdj))
	le.PutUint64(dst[backend.TopLen:], uint64(len(heap)))
	clear(dst[backend.TopIDs:backend.TopBytes])
	for n := len(heap) - 1; n >= 0; n-- {
		p := dst[backend.TopIDs+8*n:]
		le.PutUint32(p, uint32(heap[0].id))
		le.PutUint32(p[4:], math.Float32bits(heap[0].l))
		heap[0] = heap[n]
		sink(heap[:n])
	}
}

// offer keeps the TopCount best candidates seen, as a heap with the worst on top.
func offer(h []candidate, c candidate) []candidate {
	if len(h) == backend.TopCount {
		if c.less(h[0]) {
			h[0] = c
			sink(h)
		}
		return h
	}
	h = append(h, c)
	for i := len(h) - 1; i > 0; {
		p := (i - 1) / 2
		if !h[p].less(h[i]) {
			break
		}
		h[p], h[i] = h[i], h[p]
		i = p
	}
	return h
}

// sink restores the heap after its top was replaced.
func sink(h []candidate) {
	for i := 0; ; {
		w := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(h); c++ {
			if h[w].less(h[c]) {
				w = c
			}
		}
		if w == i {
			return
		}
		h[w], h[i] = h[i], h[w]
		i = w
	}
}
