package sched

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/draft"
	"github.com/ds4-go/ds4/modules/model/sample"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
)

// What a caller of Submit and Next branches on.
var (
	ErrBusy   = errors.New("queue is full")
	ErrClosed = errors.New("server is shutting down")
	ErrMemory = errors.New("not enough memory for the caches of this request")
)

// Request is a prompt and how to go on from it.
type Request struct {
	ID     string // for logs
	Client string // whose turn it is: requests of one client wait for each other before those of others do

	Prompt Prompt

	MaxTokens      int             // of each choice
	Choices        int             // at least 1
	Sample         []sample.Params // of each choice
	TopLogprobs    int             // of each token: -1 none, else the chosen one's and those of so many best
	PromptLogprobs bool            // of the prompt's tokens too
	Guide          func(choice int) Guide
	TurnEnd        int32 // the token that ends a turn; 0: there are no turns. It is evaluated after turns that end well
}

// Prompt is a prompt as tokens.
type Prompt struct {
	Tokens []int32
	Cuts   []int // places, ascending, where a snapshot is of use: ends of messages
	Anchor int   // end of what is stable at the beginning: system text and tools; 0: unknown

	// Points are places by which a stored checkpoint can stand for the tokens before them, ascending.
	Points []Point
	// Text is the prompt as text, for caches that are found by it. Empty where the text does not determine the tokens.
	Text string
	// Rest encodes what follows the first bytes of Text.
	Rest func(bytes int) []int32
	// Learn is told that the given tokens stand for those before a point. It may be called on any goroutine.
	Learn func(p Point, tokens []int32)
}

// Point is a place in a prompt.
type Point struct {
	Alias  kvstore.Alias
	Tokens int // of the prompt, before it
}

// Guide follows one completion, in step with sampling.
type Guide interface {
	// Next says what may come now.
	Next() Constraint
	// Accept takes the next token.
	Accept(id int32) Step
	// Finish ends the completion.
	Finish(end chat.End) ([]chat.Event, Outcome)
}

// Constraint is what may come next.
type Constraint struct {
	Forced []int32  // these tokens, and nothing else
	Mask   []uint32 // a bit per token, set where it is allowed; nil: all are
	Greedy bool     // take the best, whatever the request's sampling is
}

// Part is where in a completion a token belongs.
type Part uint8

// Parts.
const (
	PartContent Part = iota
	PartReasoning
	PartCall   // in a tool call, or its markup
	PartMarkup // a tag that is shown nowhere
	PartEnd    // the token that ends the turn
)

// Step is what a token brought.
type Step struct {
	Events []chat.Event // valid until the next call
	Part   Part
	Done   bool // nothing may follow
}

// Outcome is a finished completion.
type Outcome struct {
	chat.Result
	ReasoningTokens int
	CallTokens      int // of calls, their markup included

	// Of a turn that a stop string ended: how many of its tokens lie before the string, and tokens of the text between them
	// and it.
	Kept int
	Rest []int32
}

// Turn is the completion as the next prompt will have it: the tokens that were generated, less what a stop string took.
func (o *Outcome) Turn(generated []int32) []int32 {
	if o.Stop == "" {
		return generated
	}
	return append(generated[:o.Kept:o.Kept], o.Rest...)
}

// Token is a token with its probability.
type Token struct {
	ID      int32
	Part    Part
	Logprob float64 // of the raw logits, before temperature and filters
	Top     []TokenProb
}

// TokenProb is an alternative.
type TokenProb struct {
	ID      int32
	Logprob float64
}

// Delta is news of one choice.
type Delta struct {
	Choice int
	Events []chat.Event
	Tokens []Token // where the request asked for log-probabilities
	End    *End    // the choice's last
}

// End is how a choice ended.
type End struct {
	Outcome Outcome
	Tokens  []int32 // generated, without the one that ends the turn
	Ended   bool    // the turn's end was generated, or nothing else could have followed
	Guesses draft.Stats
}

// Start is how a request began.
type Start struct {
	Prompt []int32 // as it was evaluated: what stands for parts of it may be cut otherwise
	Cached int     // tokens that did not have to be evaluated
	Source string  // memory, disk, none
	Why    string
	Waited time.Duration // in the queue
}

// Batch is what happened since the last one.
type Batch struct {
	Start  *Start
	Deltas []Delta
	Prompt []Token // log-probabilities of the prompt's tokens, from the second on
	Done   int     // tokens of the prompt evaluated, those that were cached included
}

// maxPending is how many tokens a reader may lag behind before its sequences pause.
const maxPending = 4096

// Run is a request that was submitted.
type Run struct {
	req      *Request
	ctx      context.Context
	s        *Scheduler
	queued   time.Time
	canceled atomic.Bool
	stop     func() bool

	mu      sync.Mutex
	batch   Batch
	pending int // tokens in the batch
	over    bool
	err     error
	signal  chan struct{} // of one: there is news

	// The engine goroutine's.
	prompt  []int32
	choices []*choice
	live    int // choices that have not ended
	looked  bool
	tries   int     // to get a sequence
	found   *loaded // from disk
	start   Start
	cold    []int // lengths that are stored on the way
	stored  int   // length last stored

}

// Next waits for news. It returns an error when the request has failed or ctx ends, ErrIdle when idle fires before there
// are any (nil: never), and ErrDone after the last batch.
func (r *Run) Next(ctx context.Context, idle <-chan time.Time) (Batch, error) {
	for {
		r.mu.Lock()
		if b := r.batch; b.Start != nil || len(b.Deltas) > 0 || len(b.Prompt) > 0 || b.Done > 0 {
			r.batch = Batch{}
			lagged := r.pending >= maxPending
			r.pending = 0
			r.mu.Unlock()
			if lagged {
				r.s.wake()
			}
			return b, nil
		}
		over, err := r.over, r.err
		r.mu.Unlock()
		if over {
			if err == nil {
				err = ErrDone
			}
			return Batch{}, err
		}
		select {
		case <-r.signal:
		case <-idle:
			return Batch{}, ErrIdle
		case <-ctx.Done():
			return Batch{}, ctx.Err()
		}
	}
}

// What Next returns when nothing is wrong: after the last batch, and when there was no news for a while.
var (
	ErrDone = errors.New("done")
	ErrIdle = errors.New("idle")
)

// Cancel ends the request at the next step. What was computed stays known.
func (r *Run) Cancel() {
	r.canceled.Store(true)
	r.s.wake()
}

func (r *Run) update(f func()) {
	r.mu.Lock()
	f()
	r.mu.Unlock()
	select {
	case r.signal <- struct{}{}:
	default:
	}
}

// lagging says that the reader is too far behind.
func (r *Run) lagging() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pending >= maxPending
}

// push adds news of a choice. Events are copied, and joined with those before where they go on.
func (r *Run) push(d Delta) {
	r.update(func() {
		r.pending++
		list := r.batch.Deltas
		if n := len(list) - 1; n >= 0 && list[n].Choice == d.Choice && list[n].End == nil {
			last := &r.batch.Deltas[n]
			last.Events = append(last.Events, d.Events...)
			last.Tokens = append(last.Tokens, d.Tokens...)
			last.End = d.End
			return
		}
		d.Events = append([]chat.Event(nil), d.Events...)
		r.batch.Deltas = append(list, d)
	})
}

// end closes the run for its reader.
func (r *Run) end(err error) {
	if r.stop != nil {
		r.stop()
	}
	r.update(func() { r.over, r.err = true, err })
}
