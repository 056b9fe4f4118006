package cpu

import (
	"sync"
	"sync/atomic"
)

// pool runs loops on a fixed set of goroutines. They live as long as the backend and wait between loops.
type pool struct {
	n     int
	next  atomic.Int64
	count int64
	body  func(int)
	start chan struct{}
	done  sync.WaitGroup
}

func newPool(n int) *pool {
	p := &pool{n: n, start: make(chan struct{})}
	for range n - 1 {
		go func() {
			for range p.start {
				p.work()
				p.done.Done()
			}
		}()
	}
	return p
}

func (p *pool) close() { close(p.start) }

func (p *pool) work() {
	for {
		i := p.next.Add(1) - 1
		if i >= p.count {
			return
		}
		p.body(int(i))
	}
}

// each calls f(0) … f(n−1), in any order and on any thread, and returns when all are done.
func (p *pool) each(n int, f func(i int)) {
	if p.n == 1 || n <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	helpers := min(p.n-1, n-1)
	p.next.Store(0)
	p.count, p.body = int64(n), f
	p.done.Add(helpers)
	for range helpers {
		p.start <- struct{}{}
	}
	p.work()
	p.done.Wait()
	p.body = nil
}

// span calls f with the bounds of pieces of 0 … n−1.
func (p *pool) span(n, piece int, f func(lo, hi int)) {
	p.each((n+piece-1)/piece, func(i int) { f(i*piece, min(n, (i+1)*piece)) })
}
