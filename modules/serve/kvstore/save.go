package kvstore

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ds4-go/ds4/modules/model/dsv4"
)

// Mark is what a checkpoint carries besides the caches.
type Mark struct {
	Reason  Reason
	Aliases []Alias   // hashes under which a caller may present this past besides its tokens, at most 256
	Text    []byte    // rendered text of the tokens: the name of a KVC file, which needs it; else kept for people and export
	Tools   []Tool    // tool calls that the text contains
	Logits  []float32 // after the last token, if known
}

// job is a save that waits.
type job struct {
	src  Source
	mark Mark
}

// Save queues a checkpoint to be written in the background, and returns at once. Without an error the source is the store's,
// which frees it from the writer's goroutine; with one it stays the caller's. Errors: ErrShort, ErrBusy where too many wait
// already, ErrClosed. What comes of it is told to Options.Log.
func (s *Store) Save(src Source, m Mark) error {
	n := len(src.Tokens())
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.rows == nil || s.closed:
		return fmt.Errorf("kvstore: save: %w", ErrClosed)
	case n == 0 || n < s.o.MinTokens:
		return fmt.Errorf("kvstore: save: want at least %d tokens, got %d: %w", max(1, s.o.MinTokens), n, ErrShort)
	case len(m.Aliases) > maxAliases || len(m.Text) > maxText || m.Logits != nil && len(m.Logits) != s.o.Shape.Vocab:
		return fmt.Errorf("kvstore: save: want at most %d aliases and %d bytes of text, and %d logits or none, got %d, %d, %d",
			maxAliases, maxText, s.o.Shape.Vocab, len(m.Aliases), len(m.Text), len(m.Logits))
	}
	select {
	case s.jobs <- job{src, m}:
		s.waiting++
		return nil
	default:
		return fmt.Errorf("kvstore: save: %d wait: %w", s.waiting, ErrBusy)
	}
}

// write is the writer: it ends when jobs is closed and empty.
func (s *Store) write() {
	defer close(s.done)
	idle := time.NewTicker(indexEvery)
	defer idle.Stop()
	for {
		select {
		case <-idle.C:
			if err := s.flushIndex(); err != nil {
				s.o.Log(Event{Op: Failed, Name: indexName, Err: err})
			}
		case j, ok := <-s.jobs:
			if !ok {
				return
			}
			s.do(j)
		}
	}
}

// indexEvery is how long a hit may stay unwritten.
const indexEvery = 30 * time.Second

// do writes one checkpoint and tells how it went.
func (s *Store) do(j job) {
	started := time.Now()
	ev := Event{Op: Stored, Reason: j.mark.Reason, Tokens: len(j.src.Tokens())}
	s.mu.Lock()
	aborted := s.aborted
	s.mu.Unlock()
	var err error
	switch {
	case aborted:
		ev.Op, ev.Why = Skipped, "no time left to write it"
	case s.o.Format == V1:
		err = s.saveKVC(j, &ev)
	default:
		err = s.saveBlocks(j, &ev)
	}
	j.src.Free()
	ev.Took = time.Since(started)
	switch {
	case errors.Is(err, ErrBudget):
		ev.Op, ev.Why = Skipped, err.Error()
	case err != nil:
		ev.Op, ev.Err = Failed, err
	}
	s.o.Log(ev)
	if ev.Op == Stored {
		s.mu.Lock()
		s.stats.Saves++
		s.mu.Unlock()
	}
	s.finished()
}

// plan is what a save has to write.
type plan struct {
	tokens []int32
	pages  []Key // keys at 0, 2048, …
	end    Key
	prev   Key // of the checkpoint before
}

// saveBlocks writes the blocks that are missing, then the checkpoint.
func (s *Store) saveBlocks(j job, ev *Event) error {
	p := plan{tokens: j.src.Tokens()}
	p.pages, p.end = chain(s.root, p.tokens)
	if err := s.refresh(false); err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrCorrupt) {
		return err
	}
	pinned := s.reserve(&p)
	defer func() {
		s.mu.Lock()
		s.unpin(pinned)
		s.mu.Unlock()
	}()
	tail := s.tailOf(&p, j.mark)
	name := fileName(kindEnd, p.end, s.o.Identity.Weights)
	ev.Name = name
	if total := int64(len(p.pages)-1)*s.blockBytes() + s.endBytes(tail); float64(total) > lowWater*float64(s.o.BudgetBytes) {
		return fmt.Errorf("kvstore: %d tokens take %d bytes: %w of %d", len(p.tokens), total, ErrBudget, s.o.BudgetBytes)
	}
	for try := 0; ; try++ {
		n, err := s.saveMissing(j.src, &p)
		ev.Bytes += n
		if err != nil {
			return err
		}
		if s.keeps(name, tail) {
			ev.Why = "was there already"
			return nil
		}
		if tail.state, err = j.src.State(); err != nil {
			return fmt.Errorf("kvstore: state: %w", err)
		}
		if rest := len(p.tokens) % pageTokens; rest > 0 && tail.rows == nil {
			page := make([]byte, s.rows.page)
			if err := j.src.ReadPage(len(p.pages)-1, page); err != nil {
				return fmt.Errorf("kvstore: page %d: %w", len(p.pages)-1, err)
			}
			tail.rows = s.rows.pack(nil, page, rest)
		}
		b := tail.encode()
		if err := tail.fits(s.rows); err != nil {
			return err
		}
		complete, err := s.commit(name, tail, b, p.pages)
		if err != nil {
			return err
		}
		ev.Bytes += int64(len(b))
		if complete || try == 2 {
			return nil
		}
	}
}

// reserve pins what the checkpoint stands on and finds the one that it goes on from.
func (s *Store) reserve(p *plan) (pinned []string) {
	pinned = append(pinned, fileName(kindEnd, p.end, s.o.Identity.Weights))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range p.pages[1:] {
		pinned = append(pinned, fileName(kindBlock, k, s.o.Identity.Weights))
		for _, e := range s.catalog.blocks[k] {
			pinned = append(pinned, e.name)
		}
	}
	found, _ := s.byTokens(p.tokens)
	for _, c := range found {
		p.prev = c.e.key
	}
	s.pin(pinned)
	return pinned
}

// tailOf is the checkpoint without its image and rows.
func (s *Store) tailOf(p *plan, m Mark) *file {
	full := len(p.pages) - 1
	return &file{
		header: header{kind: kindEnd, reason: m.Reason, bits: s.o.Identity.Bits, created: s.o.now(), start: full * pageTokens,
			parent: p.pages[full], key: p.end, base: s.root, weights: s.o.Identity.Weights, prev: p.prev},
		middle: middle{tokens: p.tokens[full*pageTokens:], aliases: sortedAliases(m.Aliases), tools: appendTools(nil, m.Tools), text: m.Text},
		logits: m.Logits,
	}
}

func (s *Store) blockBytes() int64 {
	return headerBytes + 4*pageTokens + 4 + int64(s.rows.bytes(pageTokens)) + 4
}

// endBytes is what a checkpoint will take.
func (s *Store) endBytes(f *file) int64 {
	return headerBytes + 8 + int64(4*len(f.tokens)+32*len(f.aliases)+len(f.tools)+len(f.text)+4*len(f.logits)) +
		int64(s.rows.bytes(len(f.tokens))) + int64(s.rows.stateBytes(f.start+len(f.tokens)))
}

// saveMissing writes the whole blocks that are not there, and says how many bytes these were.
func (s *Store) saveMissing(src Source, p *plan) (total int64, err error) {
	var page []byte
	for i, k := range p.pages[1:] {
		s.mu.Lock()
		there := s.pick(s.catalog.blocks[k]) != nil
		s.mu.Unlock()
		if there {
			continue
		}
		if page == nil {
			page = make([]byte, s.rows.page)
		}
		if err := src.ReadPage(i, page); err != nil {
			return total, fmt.Errorf("kvstore: page %d: %w", i, err)
		}
		f := &file{
			header: header{kind: kindBlock, bits: s.o.Identity.Bits, created: s.o.now(), start: i * pageTokens,
				parent: p.pages[i], key: k, base: s.root, weights: s.o.Identity.Weights},
			middle: middle{tokens: p.tokens[i*pageTokens : (i+1)*pageTokens]},
			rows:   s.rows.pack(make([]byte, 0, s.rows.bytes(pageTokens)), page, pageTokens),
		}
		b := f.encode()
		started := time.Now()
		if _, err := s.commit(fileName(kindBlock, k, f.weights), f, b, nil); err != nil {
			return total, err
		}
		total += int64(len(b))
		s.holdBack(int64(len(b)), started)
	}
	return total, nil
}

// keeps says whether a checkpoint is there with all that the new one would say, and counts it as used.
func (s *Store) keeps(name string, f *file) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.catalog.entries[name]
	if e == nil {
		return false
	}
	for _, a := range f.aliases {
		if !slices.Contains(e.aliases, a) {
			return false
		}
	}
	if tools, _ := parseTools(f.tools); len(tools) > len(e.tools) {
		return false
	}
	e.used = s.o.now()
	s.touched[name] = true
	return true
}

// commit stores a file: the index first, so that no file is ever there uncounted. needs are the keys of the blocks that
// must be there when it is done; complete is false if another process has removed one.
func (s *Store) commit(name string, f *file, b []byte, needs []Key) (complete bool, err error) {
	e, err := entryOf(name, f)
	if err != nil {
		return false, err
	}
	return s.put(e, needs, func(w io.WriterAt) error {
		_, err := w.WriteAt(b, 0)
		return err
	})
}

func (s *Store) put(e *entry, needs []Key, write func(io.WriterAt) error) (complete bool, err error) {
	err = s.locked(func() error {
		if _, err := s.room(e.bytes); err != nil {
			return errors.Join(err, s.putIndex())
		}
		s.mu.Lock()
		if old := s.catalog.entries[e.name]; old != nil {
			e.hits, e.used = old.hits, max(e.used, old.used)
		}
		s.catalog.add(e)
		complete = true
		for _, k := range needs {
			complete = complete && (k == s.root || s.pick(s.catalog.blocks[k]) != nil)
		}
		s.mu.Unlock()
		if err := s.putIndex(); err != nil {
			return err
		}
		if err := s.o.Blobs.Put(e.name, e.bytes, write); err != nil {
			s.mu.Lock()
			s.catalog.forget(e)
			s.mu.Unlock()
			return errors.Join(err, s.putIndex())
		}
		return nil
	})
	if err == nil {
		s.mu.Lock()
		s.stats.BytesPut += e.bytes
		s.mu.Unlock()
	}
	return complete, err
}

// holdBack waits until so many bytes may have taken the time since started, unless the store is being closed.
func (s *Store) holdBack(bytes int64, started time.Time) {
	if s.o.BytesPerSecond <= 0 {
		return
	}
	wait := time.Duration(float64(bytes)/float64(s.o.BytesPerSecond)*float64(time.Second)) - time.Since(started)
	if wait <= 0 {
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.hurry:
	}
}

// saveKVC writes a KVC file.
func (s *Store) saveKVC(j job, ev *Event) error {
	if len(j.mark.Text) == 0 {
		return errors.New("kvstore: kvc: want the text of the tokens, got none")
	}
	state, err := j.src.State()
	if err != nil {
		return fmt.Errorf("kvstore: state: %w", err)
	}
	ctx := max(s.o.CtxTokens, len(j.src.Tokens())+1)
	k := &kvcFile{bits: s.o.Identity.Bits, reason: j.mark.Reason, created: s.o.now(), text: j.mark.Text, tools: toolsIn(j.mark.Tools, j.mark.Text),
		session: dsv4.Session{CtxTokens: ctx, Tokens: j.src.Tokens(), Page: j.src.ReadPage, State: s.rows.bare(state, len(j.src.Tokens())), Logits: j.mark.Logits}}
	e := k.entry(s.o.Shape)
	ev.Name = e.name
	s.mu.Lock()
	old := s.catalog.entries[e.name]
	if there := old != nil && len(old.tools) >= len(e.tools) && old.bits == e.bits; there {
		old.used = s.o.now()
		s.touched[e.name] = true
		s.mu.Unlock()
		ev.Why = "was there already"
		return nil
	}
	s.mu.Unlock()
	started := time.Now()
	if _, err := s.put(e, nil, func(w io.WriterAt) error { return k.write(w, s.o.Shape) }); err != nil {
		return err
	}
	ev.Bytes = e.bytes
	s.holdBack(e.bytes, started)
	return nil
}
