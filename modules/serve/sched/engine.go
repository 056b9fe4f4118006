package sched

import (
	"context"
	"fmt"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
)

// Engine is what the scheduler needs of a model. One goroutine makes all calls.
type Engine interface {
	NewSeq() (Seq, error)
	Restore(s Snapshot) (Seq, error)
	Import(tokens []int32, page func(i int, dst []byte) error, state []byte) (Snapshot, error)
	// Run evaluates all jobs' tokens in one step, and fills their results. Without an error all tokens but the guesses
	// count, else none.
	Run(ctx context.Context, jobs []Job) error
	// Draft has the model's draft head follow, and guess: see model.Engine.
	Draft(ctx context.Context, list []model.Drafting) error
	HasDraftHead() bool
	FreePages() int
	Limits() model.Limits
	PageBytes() int64
	Memory() backend.Memory
}

// Seq is a sequence of the engine.
type Seq interface {
	Len() int
	Snapshot() (Snapshot, error)
	Branch() (Seq, error)
	// Rewind cuts the sequence to so many tokens, where what it wrote since does not hinder that; else it is left as it is.
	Rewind(tokens int) error
	Free()
}

// Snapshot is a sequence at one length.
type Snapshot interface {
	kvstore.Snapshot
	Len() int
	Bytes() (host, device int64)
}

// Job is a run of tokens of one sequence for one step.
type Job struct {
	Seq     Seq
	Tokens  []int32
	Guesses int // the last so many tokens are guesses
	Wants   []model.Want
	Result  Result // valid until the next Run
}

// Result is what a job's wants gave.
type Result interface {
	Top(i int) model.Candidates
	Logits(dst []float32, i int) []float32
	// Keep says that so many of the job's tokens count, no fewer than do.
	Keep(tokens int)
}

// Wrap makes an Engine of the model's.
func Wrap(e *model.Engine) Engine { return &wrapped{Engine: e} }

type wrapped struct {
	*model.Engine
	jobs []model.Job
}

type wrappedSeq struct{ *model.Seq }

func (w *wrapped) NewSeq() (Seq, error) { return seqOf(w.Engine.NewSeq()) }

func seqOf(q *model.Seq, err error) (Seq, error) {
	if err != nil {
		return nil, err
	}
	return wrappedSeq{q}, nil
}

func snapshotOf(s *model.Snapshot, err error) (Snapshot, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (q wrappedSeq) Snapshot() (Snapshot, error) { return snapshotOf(q.Seq.Snapshot()) }

func (q wrappedSeq) Branch() (Seq, error) { return seqOf(q.Seq.Branch()) }

func (w *wrapped) Restore(s Snapshot) (Seq, error) {
	own, ok := s.(*model.Snapshot)
	if !ok {
		return nil, fmt.Errorf("sched: restore: want the engine's own snapshot, got a %T", s)
	}
	return seqOf(w.Engine.Restore(own))
}

func (w *wrapped) Import(tokens []int32, page func(i int, dst []byte) error, state []byte) (Snapshot, error) {
	return snapshotOf(w.Engine.Import(tokens, page, state))
}

func (w *wrapped) PageBytes() int64 { return model.PageBytes(w.Shape()) }

func (w *wrapped) Run(ctx context.Context, jobs []Job) error {
	w.jobs = w.jobs[:0]
	for _, j := range jobs {
		q, ok := j.Seq.(wrappedSeq)
		if !ok {
			return fmt.Errorf("sched: run: want the engine's own sequence, got a %T", j.Seq)
		}
		w.jobs = append(w.jobs, model.Job{Seq: q.Seq, Tokens: j.Tokens, Wants: j.Wants})
	}
	if err := w.Engine.Run(ctx, w.jobs); err != nil {
		return err
	}
	for i := range w.jobs {
		w.jobs[i].Keep(len(jobs[i].Tokens) - jobs[i].Guesses)
		jobs[i].Result = &w.jobs[i]
	}
	return nil
}
