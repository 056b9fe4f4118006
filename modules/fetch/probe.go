package fetch

import (
	"context"
	"io"
	"sync"
	"time"
)

// probeBytes is the most that a connection of a probe reads.
const probeBytes = 4 << 20

// Probe measures the line: it reads up to 4 MiB over each of r.Parts
// connections, for at most the time given, and drops what it has read. The rate,
// bytes per second, is a lower bound, since connections begin slowly.
func (c *Client) Probe(ctx context.Context, r Request, limit time.Duration) (rate float64, err error) {
	s, err := c.newSource(&r)
	if err != nil {
		return 0, public(ctx, err)
	}
	if err := c.stat(ctx, s, func(string) {}); err != nil {
		return 0, public(ctx, err)
	}
	conns := r.Parts
	if conns == 0 {
		conns = defaultParts
	}
	if s.info.Size < int64(conns) {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	read, step := int64(0), s.info.Size/int64(conns)
	line := newLimiter(r.Limit)
	start := time.Now()
	for i := range int64(conns) {
		wg.Go(func() {
			n, e := c.sip(ctx, s, line, extent{i * step, i*step + min(step, probeBytes)})
			mu.Lock()
			defer mu.Unlock()
			read += n
			if e != nil && ctx.Err() == nil {
				err = e
			}
		})
	}
	wg.Wait()
	if read == 0 && err != nil {
		return 0, public(ctx, err)
	}
	return float64(read) / time.Since(start).Seconds(), nil
}

// sip reads a range and returns how much came.
func (c *Client) sip(ctx context.Context, s *source, line *limiter, x extent) (int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	from, _, _, err := s.open(ctx, x)
	if err != nil {
		return 0, err
	}
	defer func() { _ = from.Close() }()
	w := newWatch(c.stall(), 0, cancel)
	defer w.timer.Stop()
	return io.Copy(io.Discard, io.LimitReader(&body{ctx: ctx, from: from, watch: w, limit: line}, x.len()))
}
