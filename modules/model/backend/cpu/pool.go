package cpu

import (
	"runtime"
	"sync/atomic"
)

// pool runs loops on a fixed set of goroutines. They live as long as the backend. Between loops they look for the next one
// for a while, since it mostly comes within microseconds, and then sleep.
//
// The indices of a loop are divided evenly, so that each thread reads its part of the weights in order; who is done takes
// what others have left. A loop ends when its indices are done, not when all threads have seen it: one that sleeps, or that
// the system has put aside, is not waited for unless it has begun something.
//
// A step hands out a thousand loops, so what threads share is little. The owner writes one word to start a loop, and each
// helper one word of its own line to say what it did. A share is begun by whoever comes first.
type pool struct {
	n       int
	body    func(int) // of the loop: valid for who holds an index of it
	threads []thread
	_       [64]byte
	loop    atomic.Uint64 // number of the loop, and its length: the line that all look at
	_       [56]byte
	closed  atomic.Bool
}

// thread is what one thread writes, and who deals with it, on lines of its own. The owner is thread 0.
type thread struct {
	share atomic.Uint64 // number of the loop, and the next index
	_     [56]byte
	did   atomic.Uint64 // number of the loop, and how many indices were done
	_     [56]byte

	asleep atomic.Bool
	wake   chan struct{}
	_      [48]byte
}

// A word has the number of a loop above the low countBits. Loops are numbered for years without coming round.
const (
	countBits = 24
	countMask = 1<<countBits - 1
)

// A thread that waits asks spins times for news, with a pause of the processor between, before it lets others of this
// program run; after so many turns of that, some hundred microseconds, it sleeps. It must: where processor time is rationed
// (containers, virtual machines), who spins takes it from the thread that is waited for.
const (
	spins = 500
	turns = 16
)

func newPool(n int) *pool {
	p := &pool{n: n, threads: make([]thread, n)}
	for i := range n {
		p.threads[i].wake = make(chan struct{}, 1)
		if i > 0 {
			go p.help(i)
		}
	}
	return p
}

func (p *pool) close() {
	p.closed.Store(true)
	p.start(0)
}

// start publishes a loop of n indices and returns its word.
func (p *pool) start(n int) uint64 {
	w := (p.loop.Load()>>countBits+1)<<countBits | uint64(n)
	p.loop.Store(w)
	for i := 1; i < p.n; i++ {
		p.threads[i].rouse()
	}
	return w
}

// help is the life of helper i.
func (p *pool) help(i int) {
	for seen := uint64(0); ; {
		p.threads[i].await(func() bool { return p.loop.Load() != seen })
		if p.closed.Load() {
			return
		}
		seen = p.loop.Load()
		if did := p.work(seen, i); did > 0 {
			p.threads[i].did.Store(seen&^countMask | uint64(did))
			p.threads[0].rouse()
		}
	}
}

// await returns when there is news. Whoever makes it calls rouse.
func (h *thread) await(news func() bool) {
	for {
		for range turns {
			for range spins {
				if news() {
					return
				}
				relax()
			}
			runtime.Gosched()
		}
		h.asleep.Store(true)
		if news() && h.asleep.CompareAndSwap(true, false) {
			return // it came just now, and nobody will wake us
		}
		<-h.wake
	}
}

func (h *thread) rouse() {
	if h.asleep.Load() && h.asleep.CompareAndSwap(true, false) {
		h.wake <- struct{}{}
	}
}

// work does the thread's own share of a loop, then what is left of the others', and returns how many indices it did.
func (p *pool) work(loop uint64, self int) int {
	did := 0
	for i := range p.n {
		for t := (self + i) % p.n; ; did++ {
			k := p.take(loop, t)
			if k < 0 {
				break
			}
			p.body(k)
		}
	}
	return did
}

// take returns the next index of thread t's share of a loop, −1 where there is none, or where the loop is over.
func (p *pool) take(loop uint64, t int) int {
	n, number := int(loop&countMask), loop&^countMask
	first, end, s := t*n/p.n, (t+1)*n/p.n, &p.threads[t].share
	for {
		old := s.Load()
		k := int(old & countMask)
		switch {
		case old < number: // nobody was here
			k = first
		case old > number|countMask:
			return -1
		}
		if k >= end {
			return -1
		}
		if s.CompareAndSwap(old, number|uint64(k+1)) {
			return k
		}
	}
}

// each calls f(0) … f(n−1), on any thread, and returns when all are done. n is below 2^countBits.
func (p *pool) each(n int, f func(i int)) {
	if p.n == 1 || n <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	p.body = f
	loop := p.start(n)
	did := p.work(loop, 0)
	p.threads[0].await(func() bool { return did+p.helped(loop) == n })
	p.body = nil
}

// helped is the number of indices that helpers have reported.
func (p *pool) helped(loop uint64) int {
	sum := 0
	for i := 1; i < p.n; i++ {
		if w := p.threads[i].did.Load(); w>>countBits == loop>>countBits {
			sum += int(w & countMask)
		}
	}
	return sum
}

// span calls f with the bounds of pieces of 0 … n−1.
func (p *pool) span(n, piece int, f func(lo, hi int)) {
	p.each((n+piece-1)/piece, func(i int) { f(i*piece, min(n, (i+1)*piece)) })
}
