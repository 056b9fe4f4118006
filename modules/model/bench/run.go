package bench

import (
	"context"
	"time"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/probe"
)

// maxBatch: the sequences of a batch part at the best candidates of one row.
const maxBatch = backend.TopCount

// run is a run under way.
type run struct {
	e      *model.Engine
	o      Options
	report *Report

	seqs []*model.Seq // the first stands at the newest frontier
	next []int32      // the token that each sequence evaluates next

	prefillOps, genOps []probe.OpTime // of the newest frontier
}

func (r *run) free() {
	for _, q := range r.seqs {
		q.Free()
	}
	r.seqs = nil
}

func (r *run) tell(at int, doing string) {
	if r.o.Progress != nil {
		r.o.Progress(at, r.o.Max, doing)
	}
}

// frontier extends the sequence to n tokens, decodes there, and goes back.
func (r *run) frontier(ctx context.Context, n int) error {
	if len(r.seqs) == 0 {
		q, err := r.e.NewSeq()
		if err != nil {
			return err
		}
		r.seqs = []*model.Seq{q}
	}
	q := r.seqs[0]
	from := q.Len()
	r.tell(from, "reading")
	r.resetOps()
	begin := time.Now()
	job, err := q.Feed(ctx, r.o.Prompt[from:n], 0, []model.Want{{}}, func(done int) { r.tell(from+done, "reading") })
	prefill := time.Since(begin)
	if err != nil {
		return err
	}
	r.prefillOps = r.ops()
	top := job.Top(0)
	r.next = r.next[:0]
	for i := range max(r.o.Batch, 1) {
		r.next = append(r.next, top.ID(min(i, top.Len()-1)))
	}
	snap, err := q.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Free()
	if err := snap.Wait(); err != nil { // or its copy would be in the clock
		return err
	}
	decode, err := r.decode(ctx, n)
	if err != nil {
		return err
	}
	r.free()
	if q, err = r.e.Restore(snap); err != nil {
		return err
	}
	r.seqs = []*model.Seq{q}
	host, device := snap.Bytes()
	r.add(n, n-from, prefill, decode, host+device)
	return nil
}

// decode returns the time of Gen steps of all sequences.
func (r *run) decode(ctx context.Context, n int) (time.Duration, error) {
	r.tell(n, "decoding")
	if err := r.branch(ctx); err != nil {
		return 0, err
	}
	r.resetOps()
	begin := time.Now()
	for range r.o.Gen {
		if err := r.step(ctx); err != nil {
			return 0, err
		}
	}
	spent := time.Since(begin)
	r.genOps = r.ops()
	return spent, nil
}

func (r *run) resetOps() {
	if r.o.Timer != nil {
		r.o.Timer.Reset()
	}
}

func (r *run) ops() []probe.OpTime {
	if r.o.Timer == nil {
		return nil
	}
	return r.o.Timer.Ops()
}

// branch makes the other sequences of a batch. Each goes its own way from another of the best candidates, as they would
// all choose the same experts otherwise; the step in which they part, and take pages of their own, is not timed. It is
// one of the steps for which Gen leaves room.
func (r *run) branch(ctx context.Context) error {
	if len(r.next) == 1 {
		return nil
	}
	for len(r.seqs) < len(r.next) {
		q, err := r.seqs[0].Branch()
		if err != nil {
			return err
		}
		r.seqs = append(r.seqs, q)
	}
	return r.step(ctx)
}

// step evaluates the next token of every sequence and takes the best that follows, the end of an answer like any other.
func (r *run) step(ctx context.Context) error {
	jobs := make([]model.Job, len(r.seqs))
	for i, q := range r.seqs {
		jobs[i] = model.Job{Seq: q, Tokens: r.next[i : i+1], Wants: []model.Want{{}}}
	}
	if err := r.e.Run(ctx, jobs); err != nil {
		return err
	}
	for i := range jobs {
		jobs[i].Keep(1)
		r.next[i] = jobs[i].Top(0).ID(0)
	}
	return nil
}

// add makes a row of what was measured.
func (r *run) add(n, read int, prefill, decode time.Duration, cache int64) {
	gen, batch := r.o.Gen, len(r.next)
	row := Row{
		Context: n, PrefillTokens: read, PrefillTPS: perSecond(read, prefill), CacheBytes: cache, Batch: batch,
		GenTokens: gen, GenTPS: perSecond(gen*batch, decode), TokenMS: decode.Seconds() * 1e3 / float64(gen),
		PrefillOps: r.prefillOps, GenOps: r.genOps,
	}
	if t := r.o.Traffic; t != nil {
		sum, first := 0.0, n+1
		if batch > 1 {
			first++ // after the step in which they parted
		}
		for i := range gen {
			sum += t.Step(first+i, batch)
		}
		row.TokenBytes = sum / float64(gen*batch)
		row.ReadPerSec = row.TokenBytes * row.GenTPS
	}
	row.against(r.report.Ceiling)
	r.report.Rows = append(r.report.Rows, row)
	if r.o.Row != nil {
		r.o.Row(row)
	}
}
