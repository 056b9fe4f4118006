package servetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
	"github.com/ds4-go/ds4/modules/serve/sched"
)

// Limits are those of a small engine: 8 sequences of 32,768 tokens, 512 rows a step, pages enough for all.
func Limits() model.Limits {
	return model.Limits{CtxTokens: 32768, Seqs: 8, Slots: 12, Rows: 512, Outs: 64, Tops: 64}
}

// Engine answers by script. Its fields are set before it is used.
type Engine struct {
	// Script gives the pieces of the answer to a prompt, which ends in the think tag of the turn to be written, or is a
	// prompt without turns. The turn ends after the last piece. nil: noise that depends on the tokens alone.
	Script func(prompt string) []string
	Pages  int           // of the pool; 0: enough for all sequences
	Pace   time.Duration // from one step to the next, at least; a step that is late does not make the next one late
	// Wrote hears of every scripted token when its step ends: id is number at of the answer to a prompt.
	Wrote func(prompt string, at int, id int32)
	Fail  func(jobs []sched.Job) error

	Steps, Rows, Decoded atomic.Int64 // so far
	Seqs, PagesUsed      atomic.Int64 // alive

	tok   *tokenizer.Tokenizer
	ids   tokenizer.IDs
	lim   model.Limits
	pages []int // references
	order []int32
	last  time.Time

	ground []float32 // logits that a scripted token stands above
	sorted []int32
	base   []byte
	// records are those of the step's results. They are made once, since an engine makes none for each token either.
	records []byte
	wrote   []written
}

// NewEngine makes an engine.
func NewEngine(t *tokenizer.Tokenizer, l model.Limits) *Engine {
	e := &Engine{tok: t, ids: t.Special(), lim: l}
	e.ground = e.noise(1)
	e.base = e.top(e.ground, model.Want{})
	e.sorted = slices.Clone(e.order)
	le := binary.LittleEndian
	le.PutUint32(e.base[backend.TopMaxRaw:], math.Float32bits(30))
	le.PutUint32(e.base[backend.TopMaxAdj:], math.Float32bits(30))
	return e
}

// written is a scripted token of the step.
type written struct {
	prompt string
	at     int
	id     int32
}

type seq struct {
	e      *Engine
	tokens []int32
	pages  []int
	begun  int // tokens before the answer, once one was asked for
	turn   int // place behind the header of the last turn; 0: there are no turns
	script []int32
	prompt string // that script answers
	from   int    // place of the answer that script is for; 0: none
	seen   int    // tokens looked at
	off    bool   // something else was written than the script says
	hash   uint64
	summed int // tokens in hash
}

type snapshot struct {
	e      *Engine
	tokens []int32
	pages  []int
}

// Limits implements sched.Engine.
func (e *Engine) Limits() model.Limits { return e.lim }

// PageBytes implements sched.Engine.
func (e *Engine) PageBytes() int64 { return 64 }

// Memory implements sched.Engine.
func (e *Engine) Memory() backend.Memory {
	return backend.Memory{Uses: []backend.Use{{Name: "pages", Bytes: 64 * e.PagesUsed.Load()}}}
}

func (e *Engine) pool() []int {
	if e.pages == nil {
		if e.Pages == 0 {
			e.Pages = 4 * e.lim.Seqs * e.lim.TablePages()
		}
		e.pages = make([]int, e.Pages)
	}
	return e.pages
}

// FreePages implements sched.Engine.
func (e *Engine) FreePages() int { return len(e.pool()) - int(e.PagesUsed.Load()) }

func (e *Engine) takePage() (int, bool) {
	i := slices.Index(e.pool(), 0)
	if i < 0 {
		return 0, false
	}
	e.pages[i] = 1
	e.PagesUsed.Add(1)
	return i, true
}

func (e *Engine) drop(pages []int) {
	for _, p := range pages {
		if e.pages[p]--; e.pages[p] == 0 {
			e.PagesUsed.Add(-1)
		} else if e.pages[p] < 0 {
			panic("servetest: a page was freed twice")
		}
	}
}

func (e *Engine) share(pages []int) []int {
	for _, p := range pages {
		e.pages[p]++
	}
	return slices.Clone(pages)
}

// NewSeq implements sched.Engine.
func (e *Engine) NewSeq() (sched.Seq, error) { return e.newSeq() }

func (e *Engine) newSeq() (*seq, error) {
	if int(e.Seqs.Load()) == e.lim.Seqs {
		return nil, fmt.Errorf("servetest: %w", model.ErrNoSlots)
	}
	e.Seqs.Add(1)
	return &seq{e: e}, nil
}

// Restore implements sched.Engine.
func (e *Engine) Restore(s sched.Snapshot) (sched.Seq, error) {
	own, ok := s.(*snapshot)
	if !ok || own.pages == nil && len(own.tokens) > 0 {
		return nil, errors.New("servetest: the snapshot was freed")
	}
	q, err := e.newSeq()
	if err != nil {
		return nil, err
	}
	q.tokens, q.pages = slices.Clone(own.tokens), e.share(own.pages)
	return q, nil
}

// Import implements sched.Engine: pages and state must be those of ReadPage and State.
func (e *Engine) Import(tokens []int32, page func(i int, dst []byte) error, state []byte) (sched.Snapshot, error) {
	s := &snapshot{e: e, tokens: slices.Clone(tokens)}
	if string(state) != string(s.State()) {
		return nil, fmt.Errorf("servetest: %w: state", model.ErrCorrupt)
	}
	for i := range (len(tokens) + backend.PageTokens - 1) / backend.PageTokens {
		p, ok := e.takePage()
		if !ok {
			e.drop(s.pages)
			return nil, fmt.Errorf("servetest: %w", model.ErrNoPages)
		}
		s.pages = append(s.pages, p)
		buf := make([]byte, e.PageBytes())
		if err := page(i, buf); err != nil {
			e.drop(s.pages)
			return nil, err
		}
	}
	return s, nil
}

func (q *seq) Len() int { return len(q.tokens) }

func (q *seq) Free() {
	q.e.drop(q.pages)
	q.e.Seqs.Add(-1)
	*q = seq{}
}

func (q *seq) Snapshot() (sched.Snapshot, error) {
	return &snapshot{e: q.e, tokens: slices.Clone(q.tokens), pages: q.e.share(q.pages)}, nil
}

// Rewind is as strict as the engine about how far.
func (q *seq) Rewind(n int) error {
	if n < 0 || n > len(q.tokens) || len(q.tokens)-n > backend.Slack {
		return fmt.Errorf("servetest: %w", model.ErrRewind)
	}
	q.tokens = q.tokens[:n]
	return nil
}

func (q *seq) Branch() (sched.Seq, error) {
	b, err := q.e.newSeq()
	if err != nil {
		return nil, err
	}
	b.tokens, b.pages, b.begun = slices.Clone(q.tokens), q.e.share(q.pages), q.begun
	return b, nil
}

func (s *snapshot) Len() int        { return len(s.tokens) }
func (s *snapshot) Tokens() []int32 { return s.tokens }
func (s *snapshot) Bytes() (host, dev int64) {
	return int64(4*len(s.tokens)) + 64, 64 * int64(len(s.pages))
}
func (s *snapshot) Wait() error { return nil }
func (s *snapshot) Free()       { s.e.drop(s.pages); s.pages = nil }
func (s *snapshot) State() []byte {
	return binary.LittleEndian.AppendUint64(nil, hash(hashStart, s.tokens))
}
func (s *snapshot) ReadPage(i int, dst []byte, done func(error)) {
	clear(dst)
	if done != nil {
		done(nil)
	}
}

// append adds tokens, taking and copying pages as the engine does.
func (q *seq) append(tokens []int32) error {
	e := q.e
	end := len(q.tokens) + len(tokens)
	for i := len(q.tokens) / backend.PageTokens; i*backend.PageTokens < end; i++ {
		switch {
		case i == len(q.pages):
			p, ok := e.takePage()
			if !ok {
				return fmt.Errorf("servetest: %w", model.ErrNoPages)
			}
			q.pages = append(q.pages, p)
		case e.pages[q.pages[i]] > 1:
			p, ok := e.takePage()
			if !ok {
				return fmt.Errorf("servetest: %w", model.ErrNoPages)
			}
			e.drop(q.pages[i : i+1])
			q.pages[i] = p
		}
	}
	q.tokens = append(q.tokens, tokens...)
	return nil
}

// Run implements sched.Engine.
func (e *Engine) Run(ctx context.Context, jobs []sched.Job) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("servetest: %w", model.ErrCanceled)
	}
	if e.Fail != nil {
		if err := e.Fail(jobs); err != nil {
			return err
		}
	}
	rows, outs := 0, 0
	for _, j := range jobs {
		rows, outs = rows+len(j.Tokens), outs+len(j.Wants)
	}
	if rows > e.lim.Rows || outs > e.lim.Outs {
		return fmt.Errorf("servetest: want at most %d rows and %d outputs, got %d and %d", e.lim.Rows, e.lim.Outs, rows, outs)
	}
	for i := range jobs {
		q := jobs[i].Seq.(*seq)
		if len(q.tokens)+len(jobs[i].Tokens) > e.lim.CtxTokens {
			return fmt.Errorf("servetest: %w", model.ErrContextFull)
		}
		if err := q.append(jobs[i].Tokens); err != nil {
			for k := range i {
				p := jobs[k].Seq.(*seq)
				p.tokens = p.tokens[:len(p.tokens)-len(jobs[k].Tokens)]
			}
			return err
		}
	}
	if e.Pace > 0 {
		e.last = e.last.Add(e.Pace)
		if late := time.Since(e.last); late > e.Pace {
			e.last = e.last.Add(late)
		} else {
			time.Sleep(-late)
		}
	}
	e.records = e.records[:0]
	for i := range jobs {
		jobs[i].Result = e.results(&jobs[i])
		q := jobs[i].Seq.(*seq)
		q.tokens = q.tokens[:len(q.tokens)-jobs[i].Guesses]
	}
	for _, w := range e.wrote {
		e.Wrote(w.prompt, w.at, w.id)
	}
	e.wrote = e.wrote[:0]
	e.Steps.Add(1)
	e.Rows.Add(int64(rows))
	e.Decoded.Add(int64(outs))
	return nil
}

// Draft implements sched.Engine.
func (e *Engine) Draft(context.Context, []model.Drafting) error { return backend.ErrUnsupported }

// HasDraftHead implements sched.Engine.
func (e *Engine) HasDraftHead() bool { return false }

type result struct {
	e    *Engine
	job  *sched.Job
	kept int
	tops []model.Candidates
	rows [][]float32 // nil where they are made when asked for
	ids  []int32
}

// Keep implements sched.Result: the guesses that count are the sequence's too.
func (r *result) Keep(tokens int) {
	q := r.job.Seq.(*seq)
	if tokens < r.kept || tokens > len(r.job.Tokens) {
		panic(fmt.Sprintf("servetest: keep %d of %d tokens after %d", tokens, len(r.job.Tokens), r.kept))
	}
	q.tokens = append(q.tokens, r.job.Tokens[r.kept:tokens]...)
	r.kept = tokens
}

func (r *result) Top(i int) model.Candidates { return r.tops[i] }

func (r *result) Logits(dst []float32, i int) []float32 {
	if r.rows[i] == nil {
		return append(dst[:0], r.e.scripted(r.ids[i])...)
	}
	return append(dst[:0], r.rows[i]...)
}

func (e *Engine) results(j *sched.Job) *result {
	q := j.Seq.(*seq)
	r := &result{e: e, job: j, kept: len(j.Tokens) - j.Guesses}
	before := *q
	for i, w := range j.Wants {
		if i == len(j.Wants)-j.Guesses {
			before = *q // what was made of guesses is forgotten
		}
		n := len(q.tokens) - len(j.Tokens) + w.Row + 1
		if e.Script != nil && w.Mask == nil && len(w.Bias) == 0 {
			id := e.next(q, n)
			r.rows = append(r.rows, nil)
			r.tops = append(r.tops, e.quick(id, w.InvTemp))
			r.ids = append(r.ids, id)
			continue
		}
		row := e.logits(q, n)
		r.rows, r.ids = append(r.rows, row), append(r.ids, 0)
		r.tops = append(r.tops, e.top(row, w))
	}
	if j.Guesses > 0 {
		before.tokens, before.pages = q.tokens, q.pages
		*q = before
	}
	return r
}

// hash is FNV-1a over the tokens, going on from h.
func hash(h uint64, tokens []int32) uint64 {
	for _, t := range tokens {
		for shift := 0; shift < 32; shift += 8 {
			h = (h ^ uint64(byte(t>>shift))) * 1099511628211
		}
	}
	return h
}

const hashStart = 14695981039346656037

// sum is the hash of the first n tokens. It goes on from the last one asked for.
func (q *seq) sum(n int) uint64 {
	if n < q.summed || q.summed == 0 {
		q.hash, q.summed = hashStart, 0
	}
	q.hash, q.summed = hash(q.hash, q.tokens[q.summed:n]), n
	return q.hash
}

// logits are those after the first n tokens: one token far above the others.
func (e *Engine) logits(q *seq, n int) []float32 {
	if e.Script != nil {
		return e.scripted(e.next(q, n))
	}
	return e.noise(q.sum(n))
}

// scripted is the row of a scripted token.
func (e *Engine) scripted(id int32) []float32 {
	row := slices.Clone(e.ground)
	row[id] = 30
	return row
}

// quick makes the record of a scripted row from the one they all share.
func (e *Engine) quick(id int32, inv float32) model.Candidates {
	if inv == 0 {
		inv = 1
	}
	n := len(e.records)
	e.records = append(e.records, e.base...)
	c := e.records[n:len(e.records):len(e.records)]
	le := binary.LittleEndian
	raw, sum := 1.0, 1.0
	for _, l := range e.ground[:8] { // e^-29 and less: what the rest adds is nothing
		raw += math.Exp(float64(l) - 30)
		sum += math.Exp((float64(l) - 30) * float64(inv))
	}
	le.PutUint64(c[backend.TopLogSumRaw:], math.Float64bits(30+math.Log(raw)))
	le.PutUint64(c[backend.TopSumAdj:], math.Float64bits(sum))
	put := func(k int, i int32, l float32) {
		le.PutUint32(c[backend.TopIDs+8*k:], uint32(i))
		le.PutUint32(c[backend.TopIDs+8*k+4:], math.Float32bits(l))
	}
	put(0, id, 30)
	k := 1
	for _, i := range e.sorted {
		if k == backend.TopCount {
			break
		}
		if i != id {
			put(k, i, e.ground[i])
			k++
		}
	}
	return c
}

func (e *Engine) noise(h uint64) []float32 {
	row := make([]float32, e.tok.Len())
	for i := range row {
		h ^= h << 13
		h ^= h >> 7
		h ^= h << 17
		row[i] = float32(h>>40) / (1 << 24)
	}
	for id := range int32(len(row)) { // no tags and no ends in noise
		if e.tok.IsSpecial(id) {
			row[id] = -20
		}
	}
	return row
}

// next is the scripted token after the first n.
func (e *Engine) next(q *seq, n int) int32 {
	if q.begun == 0 || q.begun > n {
		q.begun = n
	}
	for i := max(q.seen, 1); i < n; i++ { // an answer begins behind a think tag
		if q.tokens[i-1] == e.ids.Assistant {
			q.turn = i + 1
		}
	}
	from := q.begun
	if q.turn > 0 {
		from = q.turn
	}
	if q.from != from {
		q.from, q.seen, q.off = from, from, false
		q.prompt = Text(e.tok, q.tokens[:from])
		q.script = Pieces(e.tok, e.Script(q.prompt))
	}
	for ; q.seen < n && !q.off; q.seen++ {
		at := q.seen - from
		q.off = at >= len(q.script) || q.script[at] != q.tokens[q.seen]
	}
	q.seen = n
	if at := n - from; !q.off && at < len(q.script) {
		if e.Wrote != nil {
			e.wrote = append(e.wrote, written{q.prompt, at, q.script[at]})
		}
		return q.script[at]
	}
	return e.offScript(q, from, n)
}

// offScript goes on where tokens were forced: with the script from the longest end of what was written.
func (e *Engine) offScript(q *seq, from, n int) int32 {
	if n-from < len(q.script) || n-from > 4096 {
		for k := min(n-from, len(q.script)); k > 0; k-- {
			if i := index(q.script, q.tokens[n-k:n]); i >= 0 && k > 2 && i+k < len(q.script) {
				return q.script[i+k]
			}
		}
	}
	return e.ids.EOS
}

func index(list, part []int32) int {
	for i := 0; i+len(part) <= len(list); i++ {
		if slices.Equal(list[i:i+len(part)], part) {
			return i
		}
	}
	return -1
}

// top makes the record of a row, as the operation top does.
func (e *Engine) top(row []float32, w model.Want) model.Candidates {
	adj := slices.Clone(row)
	for _, b := range w.Bias {
		if l := adj[b.ID]; l > 0 {
			adj[b.ID] = l/b.Rep + b.Add
		} else {
			adj[b.ID] = l*b.Rep + b.Add
		}
	}
	e.order = e.order[:0]
	for i := range adj {
		if w.Mask == nil || w.Mask[i/32]>>(i%32)&1 == 1 {
			e.order = append(e.order, int32(i))
		}
	}
	slices.SortStableFunc(e.order, func(a, b int32) int {
		switch {
		case adj[a] > adj[b]:
			return -1
		case adj[a] < adj[b]:
			return 1
		}
		return 0
	})
	inv := float64(w.InvTemp)
	if inv == 0 {
		inv = 1
	}
	c := make([]byte, backend.TopBytes)
	maxRaw, maxAdj := float64(slices.Max(row)), math.Inf(-1)
	if len(e.order) > 0 {
		maxAdj = float64(adj[e.order[0]])
	}
	raw, sum := 0.0, 0.0
	for _, l := range row {
		raw += math.Exp(float64(l) - maxRaw)
	}
	for _, i := range e.order {
		sum += math.Exp((float64(adj[i]) - maxAdj) * inv)
	}
	le := binary.LittleEndian
	le.PutUint64(c[backend.TopLogSumRaw:], math.Float64bits(maxRaw+math.Log(raw)))
	le.PutUint64(c[backend.TopSumAdj:], math.Float64bits(sum))
	le.PutUint32(c[backend.TopMaxRaw:], math.Float32bits(float32(maxRaw)))
	le.PutUint32(c[backend.TopMaxAdj:], math.Float32bits(float32(maxAdj)))
	n := min(len(e.order), backend.TopCount)
	le.PutUint32(c[backend.TopLen:], uint32(n))
	for k, i := range e.order[:n] {
		le.PutUint32(c[backend.TopIDs+8*k:], uint32(i))
		le.PutUint32(c[backend.TopIDs+8*k+4:], math.Float32bits(adj[i]))
	}
	return c
}
