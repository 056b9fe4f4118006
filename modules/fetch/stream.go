package fetch

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// watch ends a connection that brings nothing, or next to nothing. Only time
// spent waiting for the network counts; the disk and the rate limit are not its fault.
type watch struct {
	stall   time.Duration
	minRate int64 // bytes per second
	cancel  context.CancelCauseFunc
	timer   *time.Timer

	spent time.Duration // waiting, in this window
	got   int64         // bytes, in this window
}

func newWatch(stall time.Duration, minRate int64, cancel context.CancelCauseFunc) *watch {
	w := &watch{stall: stall, minRate: minRate, cancel: cancel}
	w.timer = time.AfterFunc(stall, func() {
		cancel(fmt.Errorf("nothing for %v: %w", stall, ErrStalled))
	})
	return w
}

// wait starts the clock, arrived stops it and judges what came.
func (w *watch) wait() time.Time {
	w.timer.Reset(w.stall)
	return time.Now()
}

func (w *watch) arrived(since time.Time, n int) error {
	w.timer.Stop()
	w.spent += time.Since(since)
	w.got += int64(n)
	if w.spent < w.stall {
		return nil
	}
	spent, got := w.spent, w.got
	w.spent, w.got = 0, 0
	if rate := float64(got) / spent.Seconds(); rate < float64(w.minRate) {
		return fmt.Errorf("want at least %d bytes/s, got %.0f for %v: %w", w.minRate, rate, spent.Round(time.Millisecond), ErrStalled)
	}
	return nil
}

// body reads an answer under a watch and within the rate limit.
type body struct {
	ctx   context.Context
	from  io.Reader
	watch *watch
	limit *limiter
	got   int64 // bytes
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.limit.admit(b.ctx, len(p))
	if err != nil {
		return 0, err
	}
	since := b.watch.wait()
	n, err = b.from.Read(p[:n])
	late := b.watch.arrived(since, n)
	b.got += int64(n)
	b.limit.took(n)
	if err == nil {
		err = late
	}
	if err != nil && b.ctx.Err() != nil {
		err = context.Cause(b.ctx) // says "stalled" rather than "canceled"
	}
	return n, err
}

// limiter shares a rate between the connections of a call. Nil limits nothing.
type limiter struct {
	rate int64 // bytes per second

	mu   sync.Mutex
	free time.Time // when the line is free again
}

func newLimiter(rate int64) *limiter {
	if rate <= 0 {
		return nil
	}
	return &limiter{rate: rate}
}

// admit waits for the connection's turn, and says how much it may read then:
// a twentieth of a second's worth, so that the rate is even.
func (l *limiter) admit(ctx context.Context, n int) (int, error) {
	if l == nil {
		return n, nil
	}
	l.mu.Lock()
	pause := time.Until(l.free)
	l.mu.Unlock()
	if pause > 0 {
		if err := sleep(ctx, pause); err != nil {
			return 0, err
		}
	}
	return int(min(int64(n), max(l.rate/20, 512))), nil
}

// took charges bytes that were read.
func (l *limiter) took(n int) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
}
