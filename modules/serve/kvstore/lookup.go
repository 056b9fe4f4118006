package kvstore

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ds4-go/ds4/modules/model/dsv4"
)

// Query is a prompt.
type Query struct {
	Tokens []int32

	// Aliases are hashes that stand for beginnings of the prompt, shortest first; see Mark.Aliases.
	Aliases []Alias

	// Text is the rendered prompt, for KVC files, which are found by text alone. Leave it out where text of a user or tool spells a
	// special token: a text cannot tell that from the token itself.
	Text []byte
}

// By is how a checkpoint was found.
type By uint8

// Ways.
const (
	ByTokens By = iota // Hit.Tokens are the first of Query.Tokens
	ByAlias            // Hit.Tokens stand for what Query.Aliases[Hit.Alias] does
	ByText             // Hit.Tokens stand for the first Hit.TextBytes of Query.Text
)

// Hit is a checkpoint. Page and State are what the engine's Import wants.
type Hit struct {
	Tokens    []int32
	State     []byte
	Logits    []float32 // after the last token; nil where they were not saved
	By        By
	Alias     int
	TextBytes int
	Reason    Reason
	Name      string

	s       *Store
	blocks  []*entry
	tail    *file // nil: KVC
	payload *dsv4.Payload
	blob    Blob
	pinned  []string
	started time.Time
	closed  bool
}

// Miss is the error of a lookup that found nothing to use.
type Miss struct {
	Why   string
	Known int // tokens of the prompt whose blocks are stored, though no checkpoint is
}

func (m *Miss) Error() string { return "kvstore: miss: " + m.Why }

// Outcome is how a hit was used.
type Outcome uint8

// Outcomes.
const (
	Used   Outcome = iota
	Unused         // the caller found something better
	Broken         // the engine refused it: it is quarantined
)

// candidate is an entry that fits the query by what the index says.
type candidate struct {
	e     *entry
	by    By
	alias int
}

// Lookup finds the longest checkpoint that the prompt begins with and that leaves at least one token to evaluate. The error
// is a *Miss, which says why there is none. The hit's files are not removed, by this process, until it is closed.
func (s *Store) Lookup(q Query) (*Hit, error) {
	started := time.Now()
	if s.rows == nil {
		return nil, &Miss{Why: "store was opened without a model"}
	}
	if err := s.refresh(false); err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrCorrupt) {
		return nil, s.missed(&Miss{Why: err.Error()})
	} // a damaged index is made again at the next save; what we know still holds
	found, miss := s.candidates(q)
	for _, c := range found {
		h, err := s.open(c, q)
		if err == nil {
			h.started = started
			return h, nil
		}
		miss.Why = fmt.Sprintf("%s: %s", c.e.name, err)
		s.dismiss(c.e, err)
	}
	return nil, s.missed(miss)
}

func (s *Store) missed(m *Miss) error {
	s.mu.Lock()
	s.stats.Misses++
	s.mu.Unlock()
	return m
}

// candidates lists what the index has for a prompt, longest first, and why the list is empty.
func (s *Store) candidates(q Query) ([]candidate, *Miss) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, known := s.byTokens(q.Tokens)
	for i, a := range q.Aliases {
		if e := s.pick(s.catalog.alias[a]); e != nil && e.base == s.root {
			found = append(found, candidate{e, ByAlias, i})
		}
	}
	if len(q.Text) > 0 {
		for _, e := range s.catalog.byText(q.Text) {
			if e.bits == s.o.Identity.Bits || !s.o.RejectDifferentQuant {
				found = append(found, candidate{e, ByText, 0})
			}
		}
	}
	miss := &Miss{Known: known, Why: fmt.Sprintf("no checkpoint begins this prompt of %d tokens, of %d blocks stored", len(q.Tokens), known/pageTokens)}
	if len(s.catalog.entries) == 0 {
		miss.Why = "store is empty"
	}
	found = slices.DeleteFunc(found, func(c candidate) bool {
		switch {
		case c.e.tokens < s.o.MinTokens:
			miss.Why = fmt.Sprintf("%s: %d tokens are below the minimum of %d", c.e.name, c.e.tokens, s.o.MinTokens)
			return true
		case c.e.tokens >= s.o.CtxTokens:
			miss.Why = fmt.Sprintf("%s: %d tokens do not fit a context of %d", c.e.name, c.e.tokens, s.o.CtxTokens)
			return true
		}
		return false
	})
	slices.SortStableFunc(found, func(a, b candidate) int { return cmp.Compare(b.e.tokens, a.e.tokens) })
	return found, miss
}

// byTokens walks the prompt page by page; s.mu is held.
func (s *Store) byTokens(tokens []int32) (found []candidate, known int) {
	key := s.root
	for start := 0; ; start += pageTokens {
		rest := tokens[start:]
		page := newPageHash(key)
		for _, n := range s.catalog.lengths(key) {
			if n >= len(rest) {
				break
			}
			at := key
			if n > 0 {
				at = page.at(rest, n)
			}
			if e := s.pick(s.same(s.catalog.ends[key], at)); e != nil {
				found = append(found, candidate{e: e})
			}
		}
		if len(rest) < pageTokens {
			return found, start
		}
		next := newPageHash(key).at(rest, pageTokens)
		if s.pick(s.catalog.blocks[next]) == nil {
			return found, start
		}
		key = next
	}
}

// same keeps the entries with a key.
func (s *Store) same(l []*entry, key Key) []*entry {
	var out []*entry
	for _, e := range l {
		if e.key == key && e.base == s.root {
			out = append(out, e)
		}
	}
	return out
}

// open reads a checkpoint and sees that its blocks are there.
func (s *Store) open(c candidate, q Query) (h *Hit, err error) {
	h = &Hit{s: s, By: c.by, Alias: c.alias, Reason: c.e.reason, Name: c.e.name, pinned: []string{c.e.name}}
	s.mu.Lock()
	ok := true
	if c.by != ByText {
		h.blocks, ok = s.catalog.chainOf(c.e.parent, s.root, s.pick)
		ok = ok && len(h.blocks) == c.e.tokens/pageTokens
	}
	for _, b := range h.blocks {
		h.pinned = append(h.pinned, b.name)
	}
	s.pin(h.pinned)
	s.mu.Unlock()
	switch {
	case !ok:
		err = errors.New("a block before it is missing")
	case c.by == ByText:
		err = h.readText(c.e, q)
	default:
		err = h.readTail(c, q)
	}
	if err != nil {
		h.Close(Unused)
		return nil, err
	}
	return h, nil
}

// readTail reads a checkpoint, and where the query does not have them, all tokens before it.
func (h *Hit) readTail(c candidate, q Query) (err error) {
	if h.tail, err = h.s.readEntry(c.e); err != nil {
		return err
	}
	h.State = h.tail.state
	if len(h.tail.logits) > 0 {
		h.Logits = h.tail.logits
	}
	if c.by == ByTokens {
		h.Tokens = slices.Clone(q.Tokens[:c.e.tokens])
		return nil
	}
	h.Tokens, err = h.s.tokensOf(h.blocks, h.tail)
	return err
}

// readText reads a KVC file.
func (h *Hit) readText(e *entry, q Query) (err error) {
	if h.blob, err = h.s.o.Blobs.Get(e.name); err != nil {
		return err
	}
	k, err := openKVC(h.blob)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(q.Text, k.text) || k.tokens != e.tokens {
		return corrupt("kvc: text or tokens are not those of the index")
	}
	if h.payload, err = k.open(h.s.o.Shape); err != nil {
		return err
	}
	h.Tokens, h.TextBytes = h.payload.Tokens(), len(k.text)
	if h.State, err = h.payload.State(); err == nil {
		h.Logits, err = h.payload.Logits()
	}
	return badPayload(err)
}

// badPayload is dsv4's ErrCorrupt as ours.
func badPayload(err error) error {
	if errors.Is(err, dsv4.ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// readEntry reads and checks a block or checkpoint.
func (s *Store) readEntry(e *entry) (*file, error) {
	b, err := s.o.Blobs.Get(e.name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = b.Close() }()
	f, err := readFile(b, b.Size())
	if err != nil {
		return nil, err
	}
	if f.key != e.key || f.kind != e.kind || f.base != s.root || f.start+f.nTokens != e.tokens {
		return nil, corrupt("key: want %s, got %s", e.key, f.key)
	}
	s.mu.Lock()
	s.stats.BytesRead += f.size()
	s.mu.Unlock()
	return f, f.fits(s.rows)
}

// tokensOf reads the tokens of a chain.
func (s *Store) tokensOf(blocks []*entry, tail *file) ([]int32, error) {
	var tokens []int32
	for _, e := range blocks {
		f, err := s.readHead(e)
		if err != nil {
			s.dismiss(e, err)
			return nil, errors.New("a block before it is damaged or missing") // not wrapped: the checkpoint itself is sound
		}
		tokens = append(tokens, f.tokens...)
	}
	return append(tokens, tail.tokens...), nil
}

// readHead reads a file without its rows.
func (s *Store) readHead(e *entry) (*file, error) {
	b, err := s.o.Blobs.Get(e.name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = b.Close() }()
	f, err := readSmall(b, b.Size())
	if err == nil && f.key != e.key {
		err = corrupt("key: want %s, got %s", e.key, f.key)
	}
	return f, err
}

// dismiss takes a file out of use that could not be read. It is out of the catalog at once; a goroutine then quarantines a
// damaged one and forgets a missing one for all processes. It must not wait for the lock here: the caller may be the engine's goroutine,
// and the holder of the lock a writer that waits for that one to read a page.
func (s *Store) dismiss(e *entry, why error) {
	if !errors.Is(why, ErrCorrupt) && !errors.Is(why, ErrNotFound) {
		return
	}
	s.mu.Lock()
	s.catalog.forget(e)
	delete(s.touched, e.name)
	s.waiting++
	s.mu.Unlock()
	go func() {
		if err := s.locked(func() error { return s.expel(e, why) }); err != nil {
			s.o.Log(Event{Op: Failed, Name: e.name, Err: err})
		}
		s.finished()
	}()
}

// expel does the rest of dismiss, under the lock. If the file is sound it was written again meanwhile, and stays.
func (s *Store) expel(e *entry, why error) error {
	err := s.verify(e)
	switch {
	case errors.Is(why, errRefused) && err == nil, errors.Is(err, ErrCorrupt):
		return s.quarantine(e, why)
	case errors.Is(err, ErrNotFound):
		s.mu.Lock()
		s.catalog.forget(e)
		s.mu.Unlock()
		return s.putIndex()
	}
	s.mu.Lock()
	s.generation = 0 // read the index again
	s.mu.Unlock()
	return err
}

// finished is the end of something that Flush waits for.
func (s *Store) finished() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting--; s.waiting == 0 {
		s.idle.Broadcast()
	}
}

var errRefused = corrupt("refused by the engine")

// Page fills dst with page i as the engine keeps it in memory. Any goroutine may call it. A block that turns out to be damaged
// is taken out of use: after the error, another Lookup finds what is left.
func (h *Hit) Page(i int, dst []byte) error {
	if i < 0 || i > (len(h.Tokens)-1)/pageTokens || len(dst) != h.s.rows.page {
		return fmt.Errorf("kvstore: page: want %d bytes, one of %d, got %d bytes of page %d", h.s.rows.page, (len(h.Tokens)-1)/pageTokens+1, len(dst), i)
	}
	if h.payload != nil {
		if err := badPayload(h.payload.Page(i, dst)); err != nil {
			h.s.dismissName(h.Name, err)
			return err
		}
		return nil
	}
	if i == len(h.blocks) {
		h.s.rows.unpack(dst, h.tail.rows, h.tail.nTokens)
		return nil
	}
	f, err := h.s.readEntry(h.blocks[i])
	if err != nil {
		h.s.dismiss(h.blocks[i], err)
		return err
	}
	h.s.rows.unpack(dst, f.rows, pageTokens)
	return nil
}

func (s *Store) dismissName(name string, why error) {
	s.mu.Lock()
	e := s.catalog.entries[name]
	s.mu.Unlock()
	if e != nil {
		s.dismiss(e, why)
	}
}

// Close ends the use of a hit. A second call does nothing.
func (h *Hit) Close(o Outcome) {
	if h.closed {
		return
	}
	h.closed = true
	s := h.s
	if h.blob != nil {
		_ = h.blob.Close()
	}
	s.mu.Lock()
	s.unpin(h.pinned)
	if o == Used {
		s.stats.Hits++
		s.touch(h.Name)
	}
	s.mu.Unlock()
	if o == Broken {
		s.dismissName(h.Name, errRefused)
	}
}

// touch counts a hit; s.mu is held.
func (s *Store) touch(name string) {
	if e := s.catalog.entries[name]; e != nil {
		e.hits++
		e.used = s.o.now()
		s.touched[name] = true
	}
}

func sortedKeys(m map[int][]*entry) []int { return slices.Sorted(maps.Keys(m)) }

// Tools finds the blocks of tool calls by their ids, in whatever checkpoint holds them.
func (s *Store) Tools(ids []string) map[string]string {
	found := map[string]string{}
	seen := map[string]bool{} // files
	for _, id := range ids {
		s.mu.Lock()
		in := slices.Clone(s.catalog.tools[toolHash(id)])
		s.mu.Unlock()
		for _, e := range in {
			if _, ok := found[id]; ok || seen[e.name] {
				continue
			}
			seen[e.name] = true
			tools, err := s.readTools(e)
			if err != nil {
				s.dismiss(e, err)
			}
			for _, t := range tools {
				if slices.Contains(ids, t.ID) {
					found[t.ID] = t.Block
				}
			}
		}
	}
	return found
}

func (s *Store) readTools(e *entry) ([]Tool, error) {
	if e.kind != kindKVC {
		f, err := s.readHead(e)
		if err != nil {
			return nil, err
		}
		return parseTools(f.tools)
	}
	b, err := s.o.Blobs.Get(e.name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = b.Close() }()
	k, err := openKVC(b)
	if err != nil {
		return nil, err
	}
	return k.tools()
}
