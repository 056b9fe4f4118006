package sched

import (
	"errors"
	"fmt"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
)

const (
	used   = kvstore.Used
	unused = kvstore.Unused
)

// loaded is a checkpoint read from disk, ready for the engine.
type loaded struct {
	hit    *kvstore.Hit
	tokens []int32
	pages  [][]byte
	prompt []int32 // the request's prompt, beginning with the checkpoint's tokens
	why    string
}

func (f *loaded) close(o kvstore.Outcome) { f.hit.Close(o) }

// importTo gives the checkpoint to the engine.
func (f *loaded) importTo(e Engine) (Snapshot, error) {
	return e.Import(f.tokens, func(i int, dst []byte) error {
		if i >= len(f.pages) {
			return fmt.Errorf("sched: page %d of %d", i, len(f.pages))
		}
		copy(dst, f.pages[i])
		f.pages[i] = nil
		return nil
	}, f.hit.State)
}

func outcomeOf(err error) kvstore.Outcome {
	if errors.Is(err, model.ErrCorrupt) {
		return kvstore.Broken
	}
	return kvstore.Unused
}

// lookUp looks for a checkpoint that knows more of the prompt than memory does, reads it, and lets the request begin. It
// runs beside the engine; one at a time reads, because what is read waits in memory.
func (s *Scheduler) lookUp(r *Run, known int) {
	s.loading <- struct{}{}
	found, why := s.find(r, known)
	<-s.loading
	posted := s.post(func() {
		if r.live == 0 { // cancelled meanwhile
			if found != nil {
				found.close(unused)
			}
			return
		}
		r.looked, r.found, r.start.Why = true, found, why
		s.begin(r)
	})
	if !posted && found != nil {
		found.close(unused)
	}
}

func (s *Scheduler) find(r *Run, known int) (*loaded, string) {
	p := &r.req.Prompt
	if r.req.PromptLogprobs {
		return nil, "not asked"
	}
	q := kvstore.Query{Tokens: p.Tokens, Text: []byte(p.Text)}
	for _, at := range p.Points {
		q.Aliases = append(q.Aliases, at.Alias)
	}
	// A damaged block shows only when it is read; another lookup then finds what is left.
	for range 3 {
		hit, err := s.c.Store.Lookup(q)
		if err != nil {
			return nil, err.Error()
		}
		f, covers := s.presented(hit, p)
		if covers <= known || len(f.prompt) >= s.c.Engine.Limits().CtxTokens {
			hit.Close(unused)
			return nil, fmt.Sprintf("a checkpoint of %d tokens is known, memory has %d", len(hit.Tokens), known)
		}
		if err = f.read(s.c.Engine.PageBytes()); err == nil {
			return f, f.why
		}
		hit.Close(outcomeOf(err))
		s.c.Log.Warn().Str("request", r.req.ID).Str("file", hit.Name).Err(err).Msg("a checkpoint could not be read")
	}
	return nil, "checkpoints could not be read"
}

// presented makes the prompt that begins with a checkpoint's tokens. covers is how many of the prompt's own tokens they
// stand for, about.
func (s *Scheduler) presented(hit *kvstore.Hit, p *Prompt) (f *loaded, covers int) {
	f = &loaded{hit: hit, tokens: hit.Tokens}
	var rest []int32
	switch hit.By {
	case kvstore.ByAlias:
		at := p.Points[hit.Alias]
		rest, covers = p.Tokens[at.Tokens:], at.Tokens
		if p.Learn != nil {
			p.Learn(at, hit.Tokens)
		}
	case kvstore.ByText:
		rest = p.Rest(hit.TextBytes)
		covers = len(p.Tokens) - len(rest)
	default:
		covers = len(hit.Tokens)
		rest = p.Tokens[covers:]
	}
	if len(rest) == 0 {
		return f, 0
	}
	f.prompt = append(append(make([]int32, 0, len(hit.Tokens)+len(rest)), hit.Tokens...), rest...)
	f.why = fmt.Sprintf("%s: %d tokens, stored as %s", hit.Name, len(hit.Tokens), hit.Reason)
	return f, covers
}

// read reads the checkpoint's pages.
func (f *loaded) read(pageBytes int64) error {
	f.pages = make([][]byte, (len(f.tokens)+backend.PageTokens-1)/backend.PageTokens)
	for i := range f.pages {
		f.pages[i] = make([]byte, pageBytes)
		if err := f.hit.Page(i, f.pages[i]); err != nil {
			return err
		}
	}
	return nil
}

// checkpoint makes a snapshot of a sequence where it stands, and stores it.
func (s *Scheduler) checkpoint(c *choice, reason kvstore.Reason) {
	s.remember(c, false)
	tokens := append(c.run.prompt[:len(c.run.prompt):len(c.run.prompt)], c.generated...)[:c.seq.Len()]
	if e := s.tree.get(tokens); e != nil {
		c.run.stored = e.n
		s.save(e, kvstore.Mark{Reason: reason})
	}
}

// Save stores the snapshot that stands at the tokens, if there is one, with what the mark carries. It returns at once.
func (s *Scheduler) Save(tokens []int32, m kvstore.Mark) {
	if s.c.Store == nil || !s.c.Policy.Worth(len(tokens)) {
		return
	}
	s.post(func() { s.saveAt(tokens, m) })
}

func (s *Scheduler) saveAt(tokens []int32, m kvstore.Mark) {
	if e := s.tree.get(tokens); e != nil {
		s.save(e, m)
	} else if s.closing > 0 { // it may be on its way
		s.post(func() { s.saveAt(tokens, m) })
	}
}

// save hands an entry's snapshot to the store, which writes it in the background.
func (s *Scheduler) save(e *entry, m kvstore.Mark) {
	if e.saved && len(m.Aliases) == 0 && len(m.Tools) == 0 {
		return
	}
	e.saved = true
	e.refs++
	src := kvstore.FromSnapshot(heldSnapshot{e.snap, e}, s.Do)
	s.saving.Add(1)
	go func() {
		defer s.saving.Done()
		if m.Text == nil && s.c.Decode != nil {
			m.Text = s.c.Decode(e.snap.Tokens())
		}
		if err := s.c.Store.Save(src, m); err != nil {
			_ = s.Do(func() {
				e.saved = false
				e.release()
			})
			if !errors.Is(err, kvstore.ErrShort) {
				s.c.Log.Debug().Err(err).Int("tokens", e.n).Str("reason", m.Reason.String()).Msg("a checkpoint is not stored")
			}
		}
	}()
}

// heldSnapshot is a snapshot that its tree entry may hold too.
type heldSnapshot struct {
	Snapshot
	e *entry
}

func (s heldSnapshot) Free() { s.e.release() }

// dropped stores an entry that is about to go, if nothing longer is stored that contains it.
func (s *Scheduler) dropped(e *entry) {
	if s.c.Store != nil && !e.saved && e.turn && s.c.Policy.Worth(e.n) {
		s.save(e, kvstore.Mark{Reason: kvstore.Evict})
	}
}

// saveAll stores the ends of all turns, the last used first.
func (s *Scheduler) saveAll() {
	for el := s.tree.recent.Front(); el != nil; el = el.Next() {
		if e := el.Value.(*entry); e.turn && !e.saved && s.c.Policy.Worth(e.n) {
			s.save(e, kvstore.Mark{Reason: kvstore.Shutdown})
		}
	}
}
