package bench

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/draft"
	"github.com/ds4-go/ds4/modules/model/sample"
)

// DraftOptions say what to measure of guessing.
type DraftOptions struct {
	Prompt []int32
	Gen    int           // tokens to generate in each run
	Verify int           // measure steps of 1 to so many rows; 0: do not
	Probs  []float64     // of runs whose guesses are the truth with errors: each is right with this probability
	Depths []int         // numbers of guesses that are tried besides what the controller decides
	Named  []string      // runs with what really guesses: "lookup", "mtp", "auto"
	Answer []int32       // what is generated, whatever the model says; nil: what it says
	Head   draft.Options // of the draft head
	Long   time.Duration // after which a run of a fixed depth ends, as those that do not pay take long; 0: never

	Progress func(doing string) // may be nil
	Row      func(DraftRow)     // told each row as it is done; may be nil
}

// Controlled is the depth of a run in which the controller decided.
const Controlled = -1

// DraftRow is one run, or one number of rows.
type DraftRow struct {
	Kind    string    `json:"kind"`               // verify, head, off, replay, lookup, mtp or auto
	P       float64   `json:"p"`                  // of replay
	Depth   int       `json:"depth"`              // most guesses in a step; Controlled
	Answer  int       `json:"answer"`             // of the controller: 2 is one for which it knows its prices
	Rows    int       `json:"rows"`               // of verify: of one step; of head: guesses made
	StepMS  float64   `json:"ms_per_step"`        // milliseconds
	Tokens  int       `json:"tokens"`             // generated
	Steps   int       `json:"steps"`              //
	Drafted int       `json:"guesses"`            //
	Kept    int       `json:"guesses_right"`      //
	TPS     float64   `json:"tps"`                // tokens a second
	Over    float64   `json:"over_off"`           // TPS, or time, over that without guesses
	Probes  int       `json:"probes"`             // guesses made to find out
	Places  []float64 `json:"right_at,omitempty"` // share of right guesses by place in the draft
}

var draftColumns = []string{"kind", "p", "depth", "answer", "rows", "ms_per_step", "tokens", "steps", "guesses", "guesses_right", "tps", "over_off", "probes", "right_at"}

// DraftCSVHeader is the first line of the CSV, without an end.
func DraftCSVHeader() string { return strings.Join(draftColumns, ",") }

// CSV is the row's line, without an end.
func (r DraftRow) CSV() string {
	var places []string
	for _, p := range r.Places {
		places = append(places, fmt.Sprintf("%.3f", p))
	}
	return fmt.Sprintf("%s,%g,%d,%d,%d,%.3f,%d,%d,%d,%d,%.2f,%.4f,%d,%s", r.Kind, r.P, r.Depth, r.Answer, r.Rows, r.StepMS, r.Tokens, r.Steps,
		r.Drafted, r.Kept, r.TPS, r.Over, r.Probes, strings.Join(places, " "))
}

// WriteDraftCSV writes a header and the rows.
func WriteDraftCSV(w io.Writer, rows []DraftRow) error {
	b := bufio.NewWriter(w)
	_, _ = fmt.Fprintln(b, DraftCSVHeader()) // Flush tells
	for _, r := range rows {
		_, _ = fmt.Fprintln(b, r.CSV())
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

// drafting is a measurement of guessing under way.
type drafting struct {
	e    *model.Engine
	o    DraftOptions
	root *model.Snapshot // in front of the prompt's last token
	text []int32         // what is generated
	off  float64         // tokens a second without guesses
	step float64         // seconds of a step of one row
	rows []DraftRow
}

// RunDraft measures guessing behind a prompt. The engine must have no live sequence, and room for Gen tokens and a draft
// behind the prompt. After an error the rows that were done are still returned.
func RunDraft(ctx context.Context, e *model.Engine, o DraftOptions) ([]DraftRow, error) {
	l := e.Limits()
	if n := len(o.Prompt) + o.Gen + draft.Most + 1; len(o.Prompt) < 2 || o.Gen < 2 || l.CtxTokens < n || l.Outs < draft.Most+1 || l.Tops < draft.Most+1 || l.Rows < draft.Most+1 {
		return nil, fmt.Errorf("bench: %w: want a prompt of 2 tokens, 2 to generate, and an engine of %d tokens and %d outputs, got %d, %d, %d and %d",
			ErrOptions, n, draft.Most+1, len(o.Prompt), o.Gen, l.CtxTokens, l.Outs)
	}
	d := &drafting{e: e, o: o, text: o.Answer}
	defer func() {
		if d.root != nil {
			d.root.Free()
		}
	}()
	if err := d.prompt(ctx); err != nil {
		return nil, err
	}
	for _, f := range []func(context.Context) error{d.plain, d.verify, d.head, d.replays, d.named} {
		if err := f(ctx); err != nil {
			return d.rows, fmt.Errorf("bench: %w", err)
		}
	}
	return d.rows, nil
}

func (d *drafting) tell(format string, a ...any) {
	if d.o.Progress != nil {
		d.o.Progress(fmt.Sprintf(format, a...))
	}
}

func (d *drafting) prompt(ctx context.Context) error {
	d.tell("reading %d tokens", len(d.o.Prompt))
	q, err := d.e.NewSeq()
	if err != nil {
		return err
	}
	defer q.Free()
	j, err := q.Feed(ctx, d.o.Prompt[:len(d.o.Prompt)-1], 0, nil, nil)
	if err != nil {
		return err
	}
	if d.e.HasDraftHead() {
		if err := d.e.Draft(ctx, []model.Drafting{{Job: j, Next: d.o.Prompt[len(d.o.Prompt)-1]}}); err != nil {
			return err
		}
	}
	if d.root, err = q.Snapshot(); err != nil {
		return err
	}
	return d.root.Wait()
}

// add is called with each row.
func (d *drafting) add(r DraftRow) {
	d.rows = append(d.rows, r)
	if d.o.Row != nil {
		d.o.Row(r)
	}
}

// choice is how tokens are chosen: among those that the device returns, so that a step costs what the device takes for it and
// not the sorting of a vocabulary, and at temperature 1, as noise that repeats itself would have its experts at hand.
var choice = sample.Params{Temperature: 1, TopK: 64, Seed: 1}

// run generates behind the prompt, for a time at most if there is one. t may be nil: nothing is guessed then.
func (d *drafting) run(ctx context.Context, c *draft.Controller, t *draft.Track, long time.Duration) (r DraftRow, err error) {
	q, err := d.e.Restore(d.root)
	if err != nil {
		return r, err
	}
	var text []int32
	m := &draft.Member{Seq: q, Track: t, Sampler: sample.New(choice), Next: d.o.Prompt[len(d.o.Prompt)-1],
		Room: d.o.Gen, Force: d.o.Answer, Token: func(id int32, _ *model.Job, _ int) bool { text = append(text, id); return true }}
	defer func() { m.Seq.Free() }()
	begin, steps := time.Now(), 0
	for !m.Ended && (long == 0 || steps == 0 || time.Since(begin) < long) {
		if err := c.Step(ctx, d.e, []*draft.Member{m}); err != nil {
			return r, err
		}
		steps++
	}
	took := time.Since(begin).Seconds()
	if d.text == nil {
		d.text = text
	}
	if !slices.Equal(text, d.text[:len(text)]) {
		return r, fmt.Errorf("bench: guessing changed the text: want %v, got %v", d.text, text)
	}
	s := &c.Stats
	r = DraftRow{Tokens: len(text), Steps: steps, StepMS: 1e3 * took / float64(steps), TPS: float64(len(text)) / took, Probes: s.Probes}
	r.Drafted, r.Kept = s.Guesses()
	for _, p := range s.At {
		if p.Drafted > 0 {
			r.Places = append(r.Places, float64(p.Kept)/float64(p.Drafted))
		}
	}
	if d.off > 0 {
		r.Over = r.TPS / d.off
	}
	return r, nil
}

// plain generates without guesses, twice: the first run warms what is cold.
func (d *drafting) plain(ctx context.Context) error {
	d.tell("without guesses")
	if len(d.o.Answer) > 0 {
		d.o.Gen = min(d.o.Gen, len(d.o.Answer))
	}
	for range 2 {
		r, err := d.run(ctx, draft.NewController(draft.Options{}), nil, 0)
		if err != nil {
			return err
		}
		d.off = max(d.off, r.TPS)
		r.Kind, r.Over = "off", r.TPS/d.off
		d.add(r)
	}
	return nil
}

const verifyTime = 15 * time.Second // after which no more rounds begin

// ordinary are the remainders of a position by 128 at which a step of a few rows completes no compressed row of ratio 128: where it
// does, it takes longer, by half a step of one row on a card.
var ordinary = [2]int{16, 128 - 2*draft.Most}

// settle goes on with the text to an ordinary position, and returns what follows it, the token that is known first.
func (d *drafting) settle(ctx context.Context, q *model.Seq) ([]int32, error) {
	tokens := append([]int32{d.o.Prompt[len(d.o.Prompt)-1]}, d.text...)
	n := 0
	for at := q.Len() % 128; at < ordinary[0] || at > ordinary[1]; at = (q.Len() + n) % 128 {
		n++
	}
	if n = min(n, len(tokens)-draft.Most-1); n <= 0 {
		return tokens, nil
	}
	_, err := q.Feed(ctx, tokens[:n], 0, nil, nil)
	return tokens[n:], err
}

// verify times steps of 1 to Verify rows, none of which is kept. The best of several counts.
func (d *drafting) verify(ctx context.Context) error {
	if d.o.Verify <= 0 {
		return nil
	}
	q, err := d.e.Restore(d.root)
	if err != nil {
		return err
	}
	defer q.Free()
	most := min(d.o.Verify, draft.Most+1, d.o.Gen)
	best := make([]float64, most+1)
	tokens, err := d.settle(ctx, q)
	if err != nil {
		return err
	}
	started := time.Now()
	for round := 0; round < 2 || round < 6 && time.Since(started) < verifyTime; round++ {
		d.tell("steps of 1 to %d rows, round %d", most, round+1)
		for k := 1; k <= most; k++ {
			jobs := []model.Job{{Seq: q, Tokens: tokens[:k]}}
			for i := range k {
				jobs[0].Wants = append(jobs[0].Wants, model.Want{Row: i})
			}
			begin := time.Now()
			if err := d.e.Run(ctx, jobs); err != nil {
				return err
			}
			took := time.Since(begin).Seconds()
			jobs[0].Keep(0)
			if best[k] == 0 || took < best[k] {
				best[k] = took
			}
		}
	}
	d.step = best[1]
	for k := 1; k <= most; k++ {
		d.add(DraftRow{Kind: "verify", Rows: k, Depth: k - 1, StepMS: 1e3 * best[k], Over: best[k] / best[1]})
	}
	return nil
}

// head times what the draft head takes behind a step of one row: to follow it, and to make up to so many guesses.
func (d *drafting) head(ctx context.Context) error {
	if !d.e.HasDraftHead() || d.o.Verify <= 0 {
		return nil
	}
	q, err := d.e.Restore(d.root)
	if err != nil {
		return err
	}
	defer q.Free()
	const rounds = 6
	best := make([]float64, cmp.Or(d.o.Head.Head, 4)+1)
	tokens := append([]int32{d.o.Prompt[len(d.o.Prompt)-1]}, d.text...)
	for at := 0; at < min(rounds*len(best), len(tokens)-1); at++ {
		k := at % len(best)
		d.tell("the draft head, %d guesses", k)
		jobs := []model.Job{{Seq: q, Tokens: tokens[at : at+1], Wants: []model.Want{{}}}}
		if err := d.e.Run(ctx, jobs); err != nil {
			return err
		}
		jobs[0].Keep(1)
		begin := time.Now()
		if err := d.e.Draft(ctx, []model.Drafting{{Job: &jobs[0], Next: tokens[at+1], Want: k}}); err != nil {
			return err
		}
		if took := time.Since(begin).Seconds(); best[k] == 0 || took < best[k] {
			best[k] = took
		}
	}
	for k, took := range best {
		d.add(DraftRow{Kind: "head", Rows: k, StepMS: 1e3 * took, Over: took / d.step})
	}
	return nil
}

// replays draws the curve: tokens a second over the probability that a guess is right.
func (d *drafting) replays(ctx context.Context) error {
	for _, p := range d.o.Probs {
		err := d.depths(ctx, DraftRow{Kind: "replay", P: p}, draft.Options{}, func(c *draft.Controller) *draft.Track {
			return c.Track(draft.NewReplay(d.text, p, d.e.Shape().Vocab, 1), false) // the same guesses at every depth
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// named runs what really guesses.
func (d *drafting) named(ctx context.Context) error {
	for _, name := range d.o.Named {
		err := d.depths(ctx, DraftRow{Kind: name}, d.o.Head, func(c *draft.Controller) *draft.Track {
			head := name != "lookup" && d.e.HasDraftHead()
			if name == "mtp" {
				return c.Track(nil, head)
			}
			return c.Track(draft.NewLookup(d.o.Prompt), head)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// depths runs two answers as the controller decides, and one at each depth.
func (d *drafting) depths(ctx context.Context, as DraftRow, o draft.Options, track func(c *draft.Controller) *draft.Track) error {
	c := draft.NewController(o)
	for i, depth := range append([]int{Controlled, Controlled}, d.o.Depths...) {
		d.tell("%s, right with probability %g, depth %d", as.Kind, as.P, depth)
		answer, long := 0, d.o.Long
		if depth == Controlled {
			answer, long = i+1, 0
			c.Stats = draft.Stats{}
		} else {
			o.Fixed = depth
			c = draft.NewController(o)
		}
		r, err := d.run(ctx, c, track(c), long)
		if err != nil {
			return err
		}
		r.Kind, r.P, r.Depth, r.Answer = as.Kind, as.P, depth, answer
		d.add(r)
	}
	return nil
}
