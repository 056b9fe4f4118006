package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/probe"
)

// ErrOptions is wrapped by errors about a run that cannot begin.
var ErrOptions = errors.New("cannot measure this")

// Options say what to measure.
type Options struct {
	Start, Max int     // first and last frontier, in tokens of context
	StepIncr   int     // tokens from a frontier to the next, where StepMul is 0 or 1
	StepMul    float64 // or the factor from one to the next, above 1
	Gen        int     // tokens decoded at each frontier
	Batch      int     // sequences that decode at once; 0 counts as 1
	Prompt     []int32 // Max tokens or more; no token ends the run

	Traffic *Traffic // counts bytes; nil leaves bytes and shares out
	// Ceiling measures how many bytes per second the engine's device can read: ReadSpeed for a CPU. nil: unknown.
	Ceiling func(ctx context.Context) (float64, error)

	// Timer is hooked into the engine's backend; with it, rows tell where the time went. nil: none.
	Timer *probe.Timer

	Progress func(context, of int, doing string) // told what is going on, often; may be nil
	Row      func(Row)                           // told each row as it is done; may be nil
}

// Row is what was measured at one frontier.
type Row struct {
	Context       int     `json:"ctx_tokens"`
	PrefillTokens int     `json:"prefill_tokens"` // those since the last frontier
	PrefillTPS    float64 `json:"prefill_tps"`
	GenTokens     int     `json:"gen_tokens"` // of each sequence
	GenTPS        float64 `json:"gen_tps"`    // of all sequences together
	CacheBytes    int64   `json:"kvcache_bytes"`

	Batch       int     `json:"batch"`
	TokenMS     float64 `json:"ms_per_token"`          // from one token of a sequence to its next, milliseconds
	TokenBytes  float64 `json:"bytes_per_token"`       // a step's bytes over its sequences; 0 unknown
	ReadPerSec  float64 `json:"bytes_per_s"`           // of those, at the speed of GenTPS
	CeilingRead float64 `json:"ceiling_bytes_per_s"`   // of the device; 0 unknown
	Share       float64 `json:"ceiling_share"`         // ReadPerSec / CeilingRead
	CeilingTPS  float64 `json:"ceiling_tps,omitempty"` // GenTPS if the share were 1

	PrefillOps []probe.OpTime `json:"prefill_ops,omitempty"` // by Options.Timer, the longest first
	GenOps     []probe.OpTime `json:"gen_ops,omitempty"`
}

// Report is a run.
type Report struct {
	Ceiling float64 `json:"ceiling_bytes_per_s"` // the best of before and after; 0 unknown
	Rows    []Row   `json:"rows"`
}

// Frontiers lists the contexts that a run stops at: Start, and on to Max, which is always the last.
func (o *Options) Frontiers() ([]int, error) {
	bad := func(format string, a ...any) ([]int, error) {
		return nil, fmt.Errorf("bench: %w: %s", ErrOptions, fmt.Sprintf(format, a...))
	}
	mul := o.StepMul
	if mul == 0 {
		mul = 1
	}
	switch {
	case o.Start < 1 || o.Max < o.Start:
		return bad("frontiers: want a first one above 0 and a last one not before it, got %d and %d", o.Start, o.Max)
	case !(mul >= 1) || math.IsInf(mul, 0):
		return bad("step factor: want 1 or more, got %g", mul)
	case mul == 1 && o.StepIncr < 1:
		return bad("step: want 1 token or more, got %d", o.StepIncr)
	}
	list := []int{o.Start}
	for at := o.Start; at < o.Max; {
		next := float64(at) + float64(o.StepIncr)
		if mul != 1 {
			next = math.Max(math.Ceil(float64(at)*mul), float64(at)+1)
		}
		at = int(math.Min(next, float64(o.Max)))
		list = append(list, at)
	}
	return list, nil
}

// Need is the context in tokens that an engine must have for the run: a token more than all, as a sampler would need.
func (o *Options) Need() int { return o.Max + o.Gen + 1 }

func (o *Options) check(l model.Limits) error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("bench: %w: %s", ErrOptions, fmt.Sprintf(format, a...))
	}
	switch n := max(o.Batch, 1); {
	case o.Gen < 1:
		return bad("tokens to decode: want 1 or more, got %d", o.Gen)
	case len(o.Prompt) < o.Max:
		return bad("prompt: want %d tokens or more, as the last frontier has, got %d", o.Max, len(o.Prompt))
	case l.CtxTokens < o.Need():
		return bad("context: want %d tokens or more (last frontier, decoded tokens, one more), got %d", o.Need(), l.CtxTokens)
	case l.Seqs < n || l.Rows < n || l.Outs < n || l.Tops < n:
		return bad("batch: want an engine of %d sequences, rows and outputs, got %d, %d and %d", n, l.Seqs, l.Rows, min(l.Outs, l.Tops))
	case n > maxBatch:
		return bad("batch: want at most %d sequences, got %d", maxBatch, n)
	}
	return nil
}

// Run measures. The engine must have no live sequence. Errors: ErrOptions; the engine's, under which the rows that were
// done are still returned; the context's.
func Run(ctx context.Context, e *model.Engine, o Options) (*Report, error) {
	frontiers, err := o.Frontiers()
	if err == nil {
		err = o.check(e.Limits())
	}
	if err != nil {
		return nil, err
	}
	r := &run{e: e, o: o, report: &Report{}}
	defer r.free()
	if err := r.ceiling(ctx); err != nil {
		return r.report, err
	}
	for _, at := range frontiers {
		if err := r.frontier(ctx, at); err != nil {
			return r.report, fmt.Errorf("bench: frontier %d: %w", at, err)
		}
	}
	return r.report, r.ceiling(ctx)
}

// ceiling measures the device, and takes the better of what it has and what it gets: another program may have been in
// the way.
func (r *run) ceiling(ctx context.Context) error {
	if r.o.Ceiling == nil {
		return nil
	}
	r.tell(0, "measuring memory")
	v, err := r.o.Ceiling(ctx)
	if err != nil {
		return err
	}
	r.report.Ceiling = max(r.report.Ceiling, v)
	for i := range r.report.Rows {
		r.report.Rows[i].against(r.report.Ceiling)
	}
	return nil
}

// against fills in what depends on the ceiling.
func (r *Row) against(ceiling float64) {
	r.CeilingRead = ceiling
	if ceiling > 0 && r.TokenBytes > 0 {
		r.Share, r.CeilingTPS = r.ReadPerSec/ceiling, ceiling/r.TokenBytes
	}
}

func perSecond(n int, d time.Duration) float64 {
	return float64(n) / max(d.Seconds(), 1e-9)
}
