package cpu

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// TestPool runs loops of many lengths: every index is done once, before each returns, with more threads than cores and with
// pauses in which helpers fall asleep.
func TestPool(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 4 * runtime.NumCPU()} {
		p := newPool(threads)
		count := make([]int32, 300)
		for round := range 400 {
			n := round % len(count)
			clear(count)
			p.each(n, func(i int) { atomic.AddInt32(&count[i], 1) })
			for i, c := range count {
				if want := int32(min(1, max(0, n-i))); c != want {
					t.Fatalf("%d threads, loop of %d: index %d was done %d times", threads, n, i, c)
				}
			}
			if round%100 == 99 {
				time.Sleep(10 * time.Millisecond)
			}
		}
		p.close()
	}
}

// TestPoolOneProcessor: helpers that hardly get to run, since the program has one processor, hold up no loop.
func TestPoolOneProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	p := newPool(8)
	defer p.close()
	var done atomic.Int32
	for range 1000 {
		p.each(8, func(int) { done.Add(1) })
	}
	if done.Load() != 8000 {
		t.Errorf("want 8000 indices done, got %d", done.Load())
	}
}

// BenchmarkPool is what handing out a loop costs: one that has an empty index for each thread.
func BenchmarkPool(b *testing.B) {
	for _, threads := range []int{2, 4, 16} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			p := newPool(threads)
			defer p.close()
			for b.Loop() {
				p.each(threads, func(int) {})
			}
		})
	}
}
