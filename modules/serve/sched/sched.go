package sched

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/draft"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
)

// Config is what a scheduler is made from. Engine is needed; the zero value of the rest is of use.
type Config struct {
	Engine Engine

	Sessions  int // sequences evaluated at once; 0: as many as the engine has
	Queue     int // requests that may wait; 0: 64
	PerClient int // of which one client's; 0: no bound of its own
	Chunk     int // tokens of prompts in one step; 0: what the engine takes

	SnapshotBytes int64 // host memory for snapshots; 0: 2 GiB. Less than 0: none are kept
	MinSnapshot   int   // shorter prefixes are not kept; 0: 16 tokens

	Guesses *draft.Controller // decides what sequences guess; nil: nothing is guessed
	Lookup  bool              // they guess what followed the same words before

	Store   *kvstore.Store // nil: none
	Policy  kvstore.Policy
	Decode  func(tokens []int32) []byte // text of tokens, for what is stored
	Metrics Metrics
	Log     zerolog.Logger
}

// Metrics hears of what happens, on the engine's goroutine. It must return at once.
type Metrics interface {
	Step(prefill, decode int, took time.Duration)
	Started(source string, prompt, cached int, waited time.Duration)
	Preempted()
}

type noMetrics struct{}

func (noMetrics) Step(int, int, time.Duration)            {}
func (noMetrics) Started(string, int, int, time.Duration) {}
func (noMetrics) Preempted()                              {}

// Stats is the scheduler's state.
type Stats struct {
	Waiting, Running int // requests
	Sequences        int // being evaluated
	Snapshots        int
	SnapshotBytes    int64 // on the host
	FreePages        int
	Guesses          draft.Stats
}

// Scheduler runs requests on an engine. See the package's comment.
type Scheduler struct {
	c    Config
	tree tree

	mu      sync.Mutex
	queue   queue
	todo    []func() // for the engine's goroutine
	closed  bool     // no more requests
	stopped bool     // the goroutine is gone
	stats   Stats
	woken   chan struct{} // of one
	done    chan struct{} // closed when the goroutine is gone
	saving  sync.WaitGroup
	loading chan struct{} // of one: who may read a checkpoint

	// The engine goroutine's.
	active  []*choice
	turn    int  // whose prompt goes on first
	runs    int  // that have been started
	stalled bool // no more requests are started in this round
	closing int  // turns whose last tokens are yet to be evaluated
	jobs    []Job
	rows    []row
	asks    []draft.Ask
	steps   time.Time // when the last one began, for idle slots
}

// New starts a scheduler. Close it, before the engine.
func New(c Config) *Scheduler {
	lim := c.Engine.Limits()
	if c.Sessions <= 0 || c.Sessions > lim.Seqs {
		c.Sessions = lim.Seqs
	}
	c.Sessions = min(c.Sessions, lim.Outs, lim.Tops)
	if c.Queue <= 0 {
		c.Queue = 64
	}
	if c.Chunk <= 0 || c.Chunk > lim.Rows {
		c.Chunk = lim.Rows
	}
	if c.SnapshotBytes == 0 {
		c.SnapshotBytes = 2 << 30
	}
	if c.MinSnapshot <= 0 {
		c.MinSnapshot = 16
	}
	if c.Metrics == nil {
		c.Metrics = noMetrics{}
	}
	s := &Scheduler{c: c, woken: make(chan struct{}, 1), done: make(chan struct{}), loading: make(chan struct{}, 1)}
	s.tree.most = c.SnapshotBytes
	s.tree.drop = s.dropped
	go s.loop()
	return s
}

// Submit queues a request. Errors: ErrBusy, ErrClosed. When ctx ends, the request is cancelled.
func (s *Scheduler) Submit(ctx context.Context, req *Request) (*Run, error) {
	lim := s.c.Engine.Limits()
	switch {
	case req.Choices < 1 || req.Choices > s.c.Sessions:
		return nil, fmt.Errorf("sched: choices: want 1 to %d, got %d", s.c.Sessions, req.Choices)
	case len(req.Sample) != req.Choices:
		return nil, fmt.Errorf("sched: sampling of %d choices: got %d", req.Choices, len(req.Sample))
	case len(req.Prompt.Tokens) == 0 || len(req.Prompt.Tokens) >= lim.CtxTokens:
		return nil, fmt.Errorf("sched: prompt: want 1 to %d tokens, got %d", lim.CtxTokens-1, len(req.Prompt.Tokens))
	}
	r := &Run{req: req, ctx: ctx, s: s, queued: time.Now(), signal: make(chan struct{}, 1), prompt: req.Prompt.Tokens}
	r.stop = context.AfterFunc(ctx, r.Cancel)
	ahead, err := s.enqueue(r)
	if err != nil {
		r.stop()
		return nil, err
	}
	if ahead > 0 {
		s.c.Log.Info().Str("request", req.ID).Int("ahead", ahead).Msg("waits")
	}
	s.wake()
	return r, nil
}

// enqueue says how many requests leave the queue before this one, if no more come.
func (s *Scheduler) enqueue(r *Run) (ahead int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return 0, ErrClosed
	case s.queue.n >= s.c.Queue, s.c.PerClient > 0 && s.queue.of(r.req.Client) >= s.c.PerClient:
		return 0, ErrBusy
	}
	ahead = s.queue.ahead(r.req.Client)
	s.queue.push(r)
	s.stats.Waiting = s.queue.n
	return ahead, nil
}

// Sessions is the number of sequences evaluated at once.
func (s *Scheduler) Sessions() int { return s.c.Sessions }

// Stats is the state as of the last step.
func (s *Scheduler) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

func (s *Scheduler) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// Do runs f on the engine's goroutine, between two steps, and returns when it has been run.
func (s *Scheduler) Do(f func()) error {
	done := make(chan struct{})
	if !s.post(func() { defer close(done); f() }) {
		return ErrClosed
	}
	select {
	case <-done:
		return nil
	case <-s.done:
		return ErrClosed
	}
}

// post queues f for the engine's goroutine.
func (s *Scheduler) post(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.todo = append(s.todo, f)
	s.wake()
	return true
}

// Memory is the engine's account.
func (s *Scheduler) Memory() (m backend.Memory, err error) {
	err = s.Do(func() { m = s.c.Engine.Memory() })
	return m, err
}

// Drain ends the service: no new requests, those that wait fail with ErrClosed, and those that run go on until they are
// done or ctx ends; then they are cancelled. It returns when nothing runs.
func (s *Scheduler) Drain(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	gone := s.queue.remove(func(*Run) bool { return true })
	s.mu.Unlock()
	for _, r := range gone {
		r.end(ErrClosed)
	}
	s.wake()
	for cancel := false; s.busy(cancel); {
		select {
		case <-ctx.Done():
			cancel = true
			time.Sleep(time.Millisecond)
		case <-time.After(10 * time.Millisecond):
		case <-s.done:
			return
		}
	}
}

// busy says whether a request runs, and cancels all if told to.
func (s *Scheduler) busy(cancel bool) (running bool) {
	err := s.Do(func() {
		s.mu.Lock()
		waiting := s.queue.n
		s.mu.Unlock()
		running = s.runs > 0 || waiting > 0
		running = running || s.closing > 0
		for _, c := range s.active {
			if cancel {
				c.run.canceled.Store(true)
			}
		}
	})
	return err == nil && running
}

// Close drains at once, stores what is worth it (reason shutdown) within ctx, and ends the goroutine.
func (s *Scheduler) Close(ctx context.Context) error {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	s.Drain(now)
	var err error
	if s.c.Store != nil {
		_ = s.Do(s.saveAll)
		s.saving.Wait()
		err = s.c.Store.Close(ctx) // its sources need the loop
	}
	_ = s.Do(func() {
		for e := s.tree.oldest(); e != nil; e = s.tree.oldest() {
			e.saved = true
			s.tree.remove(e)
		}
	})
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.wake()
	<-s.done
	return err
}

// Reclaim frees snapshots until the engine has a free page, oldest first; false if nothing was left to free. For the
// engine's own use while it runs: it must be called on its goroutine.
func (s *Scheduler) Reclaim() bool {
	free := s.c.Engine.FreePages()
	for s.c.Engine.FreePages() <= free {
		e := s.tree.oldest()
		if e == nil {
			return false
		}
		s.tree.remove(e)
	}
	return true
}

// loop is the engine's goroutine.
func (s *Scheduler) loop() {
	defer close(s.done)
	for {
		s.mu.Lock()
		todo := s.todo
		s.todo = nil
		stopped := s.stopped
		s.mu.Unlock()
		for _, f := range todo {
			f()
		}
		if stopped && len(todo) == 0 {
			return
		}
		s.reap()
		s.resume()
		s.admit()
		worked := s.step()
		s.publish()
		if !worked && len(todo) == 0 {
			<-s.woken
		}
	}
}

func (s *Scheduler) publish() {
	free := s.c.Engine.FreePages()
	s.mu.Lock()
	s.stats = Stats{Waiting: s.queue.n, Running: s.runs, Sequences: len(s.active), Snapshots: s.tree.recent.Len(),
		SnapshotBytes: s.tree.bytes, FreePages: free}
	if s.c.Guesses != nil {
		s.stats.Guesses = s.c.Guesses.Stats
	}
	s.mu.Unlock()
}

// reap drops what was cancelled.
func (s *Scheduler) reap() {
	s.mu.Lock()
	gone := s.queue.remove(func(r *Run) bool { return r.canceled.Load() })
	s.mu.Unlock()
	for _, r := range gone {
		r.end(context.Canceled)
	}
	for _, c := range slices.Clone(s.active) {
		if c.run.canceled.Load() && c.run.live > 0 {
			s.fail(c.run, context.Canceled)
		}
	}
}

// fail ends a request and all its sequences. What they computed stays known.
func (s *Scheduler) fail(r *Run, err error) {
	for _, c := range r.choices {
		if c.closing {
			s.turnClosed(c)
		}
		if !c.ended {
			if errors.Is(err, context.Canceled) {
				s.remember(c, false)
			}
			s.release(c)
			c.ended = true
		}
	}
	s.finished(r, err)
}

func (s *Scheduler) finished(r *Run, err error) {
	r.live = 0
	s.runs--
	r.end(err)
}
