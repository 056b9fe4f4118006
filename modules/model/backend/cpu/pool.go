package cpu

import (
	"runtime"
	"sync/atomic"
)

// pool runs loops on a fixed set of goroutines. They live as long as the backend. Between loops they look for the next one
// for a while, since it mostly comes within microseconds, and then sleep.
//
// The indices of a loop are divided evenly beforehand, so that each thread reads its part of the weights in order; who is
// done takes what others have left.
type pool struct {
	n       int
	body    func(int)
	parts   []part
	loop    atomic.Uint32 // number of loops started
	left    atomic.Int32  // helpers that have not finished this loop
	closed  atomic.Bool
	helpers []helper
}

// part is what is left of a thread's share.
type part struct {
	next atomic.Int64
	end  int64
	_    [48]byte // a cache line each
}

type helper struct {
	asleep atomic.Bool
	wake   chan struct{}
	_      [48]byte
}

// spins is how often a thread looks for work before it sleeps or yields: some tens of microseconds.
const spins = 30000

func newPool(n int) *pool {
	p := &pool{n: n, parts: make([]part, n), helpers: make([]helper, n-1)}
	for i := range p.helpers {
		p.helpers[i].wake = make(chan struct{}, 1)
		go p.help(i)
	}
	return p
}

func (p *pool) close() {
	p.closed.Store(true)
	p.start()
}

// start tells the helpers that there is another loop.
func (p *pool) start() {
	p.loop.Add(1)
	for i := range p.helpers {
		if h := &p.helpers[i]; h.asleep.CompareAndSwap(true, false) {
			h.wake <- struct{}{}
		}
	}
}

// help is the life of helper i.
func (p *pool) help(i int) {
	for seen := uint32(0); ; seen++ {
		p.await(&p.helpers[i], seen)
		if p.closed.Load() {
			return
		}
		p.work(i + 1)
		p.left.Add(-1)
	}
}

// await returns when a loop after the seen ones has started.
func (p *pool) await(h *helper, seen uint32) {
	for {
		for range spins {
			if p.loop.Load() != seen {
				return
			}
		}
		h.asleep.Store(true)
		if p.loop.Load() != seen && h.asleep.CompareAndSwap(true, false) {
			return // it came just now, and nobody will wake us
		}
		<-h.wake // perhaps late, for a loop that this helper saw while it spun: look again
	}
}

// work does the thread's own part, then what is left of the others'.
func (p *pool) work(self int) {
	for i := range p.n {
		q := &p.parts[(self+i)%p.n]
		for {
			k := q.next.Add(1) - 1
			if k >= q.end {
				break
			}
			p.body(int(k))
		}
	}
}

// each calls f(0) … f(n−1), on any thread, and returns when all are done.
func (p *pool) each(n int, f func(i int)) {
	if p.n == 1 || n <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	p.body = f
	for i := range p.parts {
		p.parts[i].next.Store(int64(i * n / p.n))
		p.parts[i].end = int64((i + 1) * n / p.n)
	}
	p.left.Store(int32(len(p.helpers)))
	p.start()
	p.work(0)
	for i := 0; p.left.Load() > 0; i++ {
		if i >= spins { // a helper was put aside: let it run
			runtime.Gosched()
		}
	}
	p.body = nil
}

// span calls f with the bounds of pieces of 0 … n−1.
func (p *pool) span(n, piece int, f func(lo, hi int)) {
	p.each((n+piece-1)/piece, func(i int) { f(i*piece, min(n, (i+1)*piece)) })
}
