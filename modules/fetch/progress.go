package fetch

import (
	"sync"
	"time"
)

// Phase is what a call is doing.
type Phase int

// The phases, in order. Some are skipped when there is nothing to do in them.
const (
	Resolving Phase = iota // asking the hub
	Waiting                // for another program that is fetching the same file
	Checking               // reading back what an interrupted download left
	Fetching
	Verifying // hashing what SHA-256 has not seen yet
)

var phaseNames = [...]string{"resolving", "waiting", "checking", "fetching", "verifying"}

// String is a lower-case word, "fetching".
func (p Phase) String() string {
	if p < 0 || int(p) >= len(phaseNames) {
		return "unknown"
	}
	return phaseNames[p]
}

// Progress tells how a call goes. Calls to a progress function come about ten
// times a second and at each change of phase, one at a time.
type Progress struct {
	Phase Phase
	Bytes int64   // done in this phase; while fetching, what was there before included
	Total int64   // of this phase; 0 unknown
	Rate  float64 // bytes per second, over the last ten seconds
	Part  int     // parts that are finished; while fetching
	Parts int     // parts in all; grows when an idle connection takes over half of another's
	Note  string  // something worth a line of its own: a retry and its cause, a restart
}

// Remaining estimates the time that the phase will take; 0 if there is nothing to go by.
func (p Progress) Remaining() time.Duration {
	if p.Rate <= 0 || p.Total <= p.Bytes {
		return 0
	}
	return time.Duration(float64(p.Total-p.Bytes) / p.Rate * float64(time.Second))
}

// reporter calls a progress function. A reporter of a nil function does nothing.
type reporter struct {
	call func(Progress)
	stop chan struct{}
	done chan struct{}

	mu    sync.Mutex
	now   Progress
	bytes func() int64
	parts func() (int, int)
	seen  []sample
}

type sample struct {
	at    time.Time
	bytes int64
}

const (
	reportEvery = 100 * time.Millisecond
	rateWindow  = 10 * time.Second
)

func newReporter(call func(Progress)) *reporter {
	r := &reporter{call: call, stop: make(chan struct{}), done: make(chan struct{})}
	if call == nil {
		close(r.done)
		return r
	}
	go func() {
		defer close(r.done)
		tick := time.NewTicker(reportEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.report("")
			case <-r.stop:
				return
			}
		}
	}()
	return r
}

// close ends the reports, with a last one.
func (r *reporter) close() {
	close(r.stop)
	<-r.done
	r.report("")
}

// phase begins a phase whose progress bytes and parts count; both may be nil.
func (r *reporter) phase(p Phase, total int64, bytes func() int64, parts func() (int, int)) {
	if r.call == nil {
		return
	}
	r.report("") // how the last one ended
	r.mu.Lock()
	r.now, r.bytes, r.parts, r.seen = Progress{Phase: p, Total: total}, bytes, parts, nil
	r.mu.Unlock()
	r.report("")
}

func (r *reporter) note(text string) {
	if text != "" {
		r.report(text)
	}
}

func (r *reporter) report(note string) {
	if r.call == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bytes != nil {
		r.now.Bytes = r.bytes()
	}
	if r.parts != nil {
		r.now.Part, r.now.Parts = r.parts()
	}
	r.now.Rate = r.rate(time.Now())
	p := r.now
	p.Note = note
	r.call(p)
}

// rate is the mean over the window's samples.
func (r *reporter) rate(now time.Time) float64 {
	r.seen = append(r.seen, sample{now, r.now.Bytes})
	for len(r.seen) > 2 && now.Sub(r.seen[0].at) > rateWindow {
		r.seen = r.seen[1:]
	}
	first := r.seen[0]
	if d := now.Sub(first.at); d > 0 {
		return float64(r.now.Bytes-first.bytes) / d.Seconds()
	}
	return 0
}
