package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// syncEvery bounds what a power loss can cost: after this much time, what was
// written is made safe. It goes on beside the transfer.
const syncEvery = 15 * time.Second

// errWhole says that the server ignores ranges.
var errWhole = errors.New("server ignores ranges")

// transfer fills a part file.
type transfer struct {
	client  *Client
	req     *Request
	src     *source
	file    *os.File
	journal *journal
	plan    *plan
	conns   int
	limit   *limiter
	note    func(string)
	fetched *atomic.Int64 // bytes of bodies read, in all
	fresh   bool          // the file was empty: what has not been written is a hole

	whole bool // one connection, no ranges: what is already there is read and dropped
}

// run fetches all that the plan lacks, over several connections.
func (t *transfer) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for range t.conns {
		wg.Go(func() {
			if err := t.work(ctx); err != nil {
				cancel(err) // the first failure stops the others and is the one told
			}
		})
	}
	stop := make(chan struct{})
	synced := make(chan error, 1)
	go func() { synced <- t.keepSafe(stop, cancel) }()
	wg.Wait()
	close(stop)
	err := <-synced
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// keepSafe syncs now and then until stop is closed.
func (t *transfer) keepSafe(stop <-chan struct{}, cancel context.CancelCauseFunc) error {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := t.journal.sync(t.file); err != nil {
				cancel(err)
				return err
			}
		case <-stop:
			return nil
		}
	}
}

// work fetches parts until none is left.
func (t *transfer) work(ctx context.Context) error {
	buf := make([]byte, bufferBytes)
	for {
		p := t.plan.take()
		if p == nil {
			return nil
		}
		if err := t.part(ctx, p, buf); err != nil {
			return err
		}
	}
}

// part fetches one part, over as many requests as it takes.
func (t *transfer) part(ctx context.Context, p *part, buf []byte) error {
	wait := patience{client: t.client, note: t.note}
	for {
		if x := t.plan.span(p); x.len() == 0 {
			return nil
		}
		got, gen, err := t.attempt(ctx, p, buf)
		if err == nil {
			continue
		}
		if errors.Is(err, errWhole) {
			return err
		}
		if got {
			wait.progressed()
		}
		if err := wait.failed(ctx, err, fmt.Sprintf("part %d", p.number)); err != nil {
			return err
		}
		if remedyFor(err) == freshLink {
			if err := t.refresh(ctx, gen); err != nil {
				return err
			}
		}
	}
}

// refresh renews the address of the bytes, with patience of its own.
func (t *transfer) refresh(ctx context.Context, gen int) error {
	wait := patience{client: t.client, note: t.note}
	for {
		err := t.timed(ctx, func(ctx context.Context) error { return t.src.refresh(ctx, gen) })
		if err == nil {
			return nil
		}
		if err := wait.failed(ctx, err, "new link"); err != nil {
			return err
		}
	}
}

// timed runs one exchange of headers under the stall limit.
func (t *transfer) timed(ctx context.Context, f func(context.Context) error) error {
	return t.client.timed(ctx, f)
}

// attempt sends one request for what is left of p and writes what comes.
// got tells whether anything came, gen which address was used.
func (t *transfer) attempt(ctx context.Context, p *part, buf []byte) (got bool, gen int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := newWatch(t.client.stall(), t.client.minRate(t.req.Limit), cancel)
	defer w.timer.Stop()

	span := t.plan.span(p)
	since := w.wait()
	from, whole, gen, err := t.src.open(ctx, span)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return false, gen, err
	}
	defer func() { _ = from.Close() }()
	_ = w.arrived(since, 0) // waiting for an answer is no slow body
	w.spent = 0
	r := &body{ctx: ctx, from: from, watch: w, limit: t.limit}
	defer func() { t.fetched.Add(r.got) }()
	if whole {
		if !t.whole {
			return false, gen, errWhole
		}
		if _, err := io.CopyBuffer(io.Discard, io.LimitReader(onlyReader{r}, span.off), buf); err != nil {
			return false, gen, err
		}
	}
	got, err = t.copy(p, span, r, buf)
	return got, gen, err
}

// onlyReader hides everything else, so that CopyBuffer uses the buffer it is given.
type onlyReader struct{ io.Reader }

// copy writes a body of the bytes of span into the file, until it ends or the
// rest of the part has gone to another connection.
func (t *transfer) copy(p *part, span extent, r io.Reader, buf []byte) (got bool, err error) {
	at := span.off
	for {
		n := t.plan.claim(p, len(buf))
		if n == 0 {
			break
		}
		m, err := io.ReadFull(r, buf[:n])
		if m > 0 {
			got = true
			if err := t.write(p, buf[:m], at); err != nil {
				return got, err
			}
			at += int64(m)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return got, fmt.Errorf("%s: want bytes up to %d, got an end at %d: %w", t.src.name, span.end, at, io.ErrUnexpectedEOF)
		}
		if err != nil {
			return got, fmt.Errorf("%s: %w", t.src.name, err)
		}
	}
	if at == span.end {
		// reading the end lets the connection be used again; more bytes mean that it was not our range
		if n, _ := r.Read(buf[:1]); n > 0 {
			return got, &answerError{t.src.name, fmt.Sprintf("want %d bytes, got more", span.len()), 0}
		}
	}
	return got, nil
}

// write puts a buffer in its place, then says so in the journal.
func (t *transfer) write(p *part, data []byte, at int64) error {
	hole := t.req.Sparse && allZero(data) && (t.fresh || punch(t.file, at, int64(len(data))))
	if !hole {
		if _, err := t.file.WriteAt(data, at); err != nil {
			return onDisk(err)
		}
	}
	if err := t.journal.wrote(at, data); err != nil {
		return err
	}
	t.plan.wrote(p, len(data))
	return nil
}

func allZero(b []byte) bool {
	const step = 4096
	var zeros [step]byte
	for len(b) >= step {
		if [step]byte(b) != zeros {
			return false
		}
		b = b[step:]
	}
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
