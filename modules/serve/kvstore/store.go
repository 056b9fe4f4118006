package kvstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/ds4-go/ds4/modules/model"
)

// Format is what Save writes. Both are always read.
type Format uint8

// Formats.
const (
	Blocks Format = iota
	V1            // ds4's KVC files
)

// Options of a store. Blobs is all that managing files needs; Lookup and Save need Identity, Shape and CtxTokens too.
type Options struct {
	Blobs     Blobs
	Identity  Identity
	Shape     model.Shape
	CtxTokens int // longer checkpoints are not used

	BudgetBytes    int64 // of all files, the index and a file being written included; 0: 4096 MiB
	BytesPerSecond int64 // at which the writer writes, on average; 0: as fast as it can
	MinTokens      int   // see Policy.Min
	Format         Format

	RejectDifferentQuant bool // use files of the same weights only
	Queue                int  // saves that may wait; 0: 8
	Log                  func(Event)

	now func() int64 // Unix seconds, for tests
}

// DefaultBudget is that of --kv-disk-space-mb.
const DefaultBudget = 4096 << 20

// Store keeps caches. Any goroutine may use it. Lookup, Save and the methods of a Hit never wait for another process, nor for
// a source: the engine's goroutine may call them.
type Store struct {
	o     Options
	rows  *rows // nil: for managing only
	root  Key
	jobs  chan job
	hurry chan struct{} // closed: the writer no longer holds back
	done  chan struct{} // closed: the writer has ended

	mu         sync.Mutex
	closed     bool
	hurried    bool
	aborted    bool
	catalog    *catalog
	generation uint64
	pins       map[string]int
	touched    map[string]bool // hits that the index file does not know
	waiting    int             // saves, the one being written included, and dismissals
	idle       *sync.Cond      // waiting is 0
	stats      Stats
}

// Open opens a store and brings the index up to date with what is there, and what is there within the budget. Close it.
func Open(o Options) (*Store, error) {
	if o.Blobs == nil {
		return nil, errors.New("kvstore: want blobs, got none")
	}
	switch {
	case o.BudgetBytes > 0:
	case o.Shape.Layers == 0:
		o.BudgetBytes = math.MaxInt64 / 2 // who only looks removes nothing
	default:
		o.BudgetBytes = DefaultBudget
	}
	if o.Queue <= 0 {
		o.Queue = 8
	}
	if o.Log == nil {
		o.Log = func(Event) {}
	}
	if o.now == nil {
		o.now = func() int64 { return time.Now().Unix() }
	}
	s := &Store{o: o, jobs: make(chan job, o.Queue), hurry: make(chan struct{}), done: make(chan struct{}),
		catalog: newCatalog(nil), pins: map[string]int{}, touched: map[string]bool{}}
	s.idle = sync.NewCond(&s.mu)
	if o.Shape.Layers > 0 {
		if err := o.Shape.Check(); err != nil {
			return nil, fmt.Errorf("kvstore: %w", err)
		}
		s.rows, s.root = newRows(o.Shape), root(o.Identity, o.Shape)
	}
	if err := s.reconcile(); err != nil {
		return nil, err
	}
	go s.write()
	return s, nil
}

// Close writes what is queued, without holding back, and the index. When ctx ends first, the checkpoint being written is still
// finished, and the rest is dropped. Sources must be able to answer meanwhile: close the store before the engine.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.jobs)
	s.hurryUp()
	s.mu.Unlock()
	var err error
	select {
	case <-s.done:
		s.Flush() // damaged files are still being put aside
	case <-ctx.Done():
		s.mu.Lock()
		s.aborted = true
		s.mu.Unlock()
		err = fmt.Errorf("kvstore: close: %w", ctx.Err())
	}
	if e := s.flushIndex(); err == nil {
		err = e
	}
	return err
}

func (s *Store) hurryUp() {
	if !s.hurried {
		s.hurried = true
		close(s.hurry)
	}
}

// Flush waits until everything queued so far, and since, is written, and damaged files are put aside.
func (s *Store) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.waiting > 0 {
		s.idle.Wait()
	}
}

// Stats is a copy of the counters.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Files, st.Bytes, st.BudgetBytes, st.Queue = len(s.catalog.entries), s.catalog.bytes, s.o.BudgetBytes, s.waiting
	for _, l := range s.catalog.ends {
		st.Checkpoints += len(l)
	}
	for _, l := range s.catalog.kvc {
		st.Checkpoints += len(l)
	}
	return st
}

// locked runs f while no other process writes, after catching up with what they wrote. s.mu is not held.
func (s *Store) locked(f func() error) error {
	unlock, err := s.o.Blobs.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	err = s.refresh(true)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt) {
		err = s.rebuild(err.Error())
	}
	if err != nil {
		return err
	}
	return f()
}

// refresh reads the index again if it is not the one that we know. Without the lock only a newer one counts: we may be about
// to replace the one that is there.
func (s *Store) refresh(locked bool) error {
	b, err := s.o.Blobs.Get(indexName)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	generation, err := readGeneration(b)
	s.mu.Lock()
	known := s.generation == generation || !locked && s.generation > generation
	s.mu.Unlock()
	if err != nil || known {
		return err
	}
	if b.Size() > maxIndex {
		return corrupt("index: want at most %d bytes, got %d", maxIndex, b.Size())
	}
	p := make([]byte, b.Size())
	if err := readFull(b, p, 0); err != nil {
		return err
	}
	generation, entries, err := parseIndex(p)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if locked || generation > s.generation {
		s.adopt(generation, entries)
	}
	return nil
}

// adopt replaces the catalog; hits that were not written yet are kept. s.mu is held.
func (s *Store) adopt(generation uint64, entries map[string]*entry) {
	for name := range s.touched {
		was, is := s.catalog.entries[name], entries[name]
		if was == nil || is == nil {
			delete(s.touched, name)
			continue
		}
		is.hits, is.used = max(is.hits, was.hits), max(is.used, was.used)
	}
	s.generation, s.catalog = generation, newCatalog(entries)
}

// putIndex writes the index, under the lock.
func (s *Store) putIndex() error {
	s.mu.Lock()
	s.generation = max(s.generation+1, uint64(time.Now().UnixNano())) // no two processes count alike
	b := encodeIndex(s.generation, s.catalog.entries)
	s.mu.Unlock()
	if err := putBytes(s.o.Blobs, indexName, b); err != nil {
		return err
	}
	s.mu.Lock()
	clear(s.touched)
	s.mu.Unlock()
	return nil
}

// flushIndex writes the index if it lacks hits.
func (s *Store) flushIndex() error {
	s.mu.Lock()
	n := len(s.touched)
	s.mu.Unlock()
	if n == 0 {
		return nil
	}
	return s.locked(s.putIndex)
}

// reconcile makes the index say what is there: files that came without us, or went.
func (s *Store) reconcile() error {
	return s.locked(func() error {
		changed, err := s.survey()
		if err != nil {
			return err
		}
		evicted, err := s.room(0)
		if err == nil && (changed || evicted) {
			err = s.putIndex()
		}
		return err
	})
}

// rebuild makes the index anew.
func (s *Store) rebuild(why string) error {
	s.mu.Lock()
	s.adopt(0, nil)
	s.mu.Unlock()
	if _, err := s.survey(); err != nil {
		return err
	}
	s.mu.Lock()
	n := len(s.catalog.entries)
	s.mu.Unlock()
	if n > 0 {
		s.o.Log(Event{Op: Rebuilt, Why: why})
	}
	return s.putIndex()
}

// survey compares the catalog with the list of files, under the lock, and reads the heads of those that it does not know.
func (s *Store) survey() (changed bool, err error) {
	there := map[string]int64{}
	if err := s.o.Blobs.List(func(name string, bytes int64) { there[name] = bytes }); err != nil {
		return false, err
	}
	s.mu.Lock()
	var gone []*entry
	for _, e := range s.catalog.entries {
		if bytes, ok := there[e.name]; ok && bytes == e.bytes {
			delete(there, e.name)
		} else {
			gone = append(gone, e)
		}
	}
	for _, e := range gone {
		s.catalog.forget(e)
	}
	s.mu.Unlock()
	changed = len(gone) > 0
	for name, bytes := range there {
		if !ours(name) {
			continue
		}
		e, err := s.inspect(name)
		if errors.Is(err, ErrCorrupt) {
			changed = true
			if err := s.quarantine(&entry{name: name, bytes: bytes}, err); err != nil {
				return true, err
			}
			continue
		}
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return changed, err
		}
		changed = true
		s.mu.Lock()
		s.catalog.add(e)
		s.mu.Unlock()
	}
	return changed, nil
}

// ours says whether a file is one of a store's.
func ours(name string) bool {
	for _, ext := range []string{".blk", ".end", ".kv", ".bad"} {
		if strings.HasSuffix(name, ext) {
			return true
		}
	}
	return false
}

// inspect makes an entry from a file.
func (s *Store) inspect(name string) (*entry, error) {
	b, err := s.o.Blobs.Get(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = b.Close() }()
	switch {
	case strings.HasSuffix(name, ".bad"):
		return &entry{name: name, kind: kindBad, bytes: b.Size(), created: s.o.now(), used: s.o.now()}, nil
	case strings.HasSuffix(name, ".kv"):
		k, err := openKVC(b)
		if err != nil {
			return nil, err
		}
		return k.entry(name)
	}
	f, err := readSmall(b, b.Size())
	if err != nil {
		return nil, err
	}
	return entryOf(name, f)
}

// maxQuarantine is the size up to which a damaged file is kept to be looked at.
const maxQuarantine = 64 << 20

// quarantine takes a damaged file out of use, under the lock.
func (s *Store) quarantine(e *entry, why error) error {
	s.mu.Lock()
	s.catalog.forget(e)
	delete(s.touched, e.name)
	s.stats.Bad++
	s.mu.Unlock()
	s.o.Log(Event{Op: Quarantined, Name: e.name, Reason: e.reason, Tokens: e.tokens, Bytes: e.bytes, Err: why})
	if e.bytes <= maxQuarantine && s.hasRoom(e.bytes) {
		if err := s.copyBlob(e.name+".bad", e.name); err == nil {
			s.mu.Lock()
			s.catalog.add(&entry{name: e.name + ".bad", kind: kindBad, tokens: e.tokens, bytes: e.bytes, created: s.o.now(), used: s.o.now()})
			s.mu.Unlock()
		}
	}
	if err := s.o.Blobs.Delete(e.name); err != nil {
		return err
	}
	return s.putIndex()
}

func (s *Store) copyBlob(to, from string) error {
	b, err := s.o.Blobs.Get(from)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	p := make([]byte, b.Size())
	if err := readFull(b, p, 0); err != nil {
		return err
	}
	return putBytes(s.o.Blobs, to, p)
}

// used is what a save of so many bytes would bring the store to: the index is there twice while it is written.
func (c *catalog) used(bytes int64) int64 { return c.bytes + 2*c.indexBytes(1) + bytes }

func (s *Store) hasRoom(bytes int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.catalog.used(bytes) <= s.o.BudgetBytes
}

// room removes files until bytes more fit the budget, under the lock. ErrBudget if they cannot.
func (s *Store) room(bytes int64) (evicting bool, err error) {
	now := s.o.now()
	for ; ; evicting = true {
		s.mu.Lock()
		used := s.catalog.used(bytes)
		limit := s.o.BudgetBytes
		if used <= limit && !(evicting && float64(used) > lowWater*float64(limit)) {
			s.mu.Unlock()
			return evicting, nil
		}
		gone := s.catalog.victim(now, func(name string) bool { return s.pins[name] > 0 })
		if len(gone) > 0 && used <= limit && gone[0].kind == kindBlock && now-gone[0].created < int64(orphanRest/time.Second) {
			gone = nil // may be of a save that is under way: only if it must be
		}
		for _, e := range gone {
			s.catalog.forget(e)
			delete(s.touched, e.name)
			s.stats.Evictions++
		}
		s.mu.Unlock()
		if len(gone) == 0 {
			if used <= limit {
				return evicting, nil
			}
			return evicting, fmt.Errorf("kvstore: %d bytes, and %d in use: %w of %d", bytes, used-bytes, ErrBudget, limit)
		}
		for _, e := range gone {
			if err := s.o.Blobs.Delete(e.name); err != nil {
				return true, err
			}
			s.o.Log(Event{Op: Evicted, Name: e.name, Reason: e.reason, Tokens: e.tokens, Bytes: e.bytes, Hits: e.hits})
		}
	}
}

// pin keeps files from being removed by us until unpin; s.mu is held.
func (s *Store) pin(names []string) {
	for _, n := range names {
		s.pins[n]++
	}
}

func (s *Store) unpin(names []string) {
	for _, n := range names {
		if s.pins[n]--; s.pins[n] <= 0 {
			delete(s.pins, n)
		}
	}
}

// pick chooses among files of one key: our weights, or any if other quantisations will do.
func (s *Store) pick(l []*entry) *entry {
	var other *entry
	for _, e := range l {
		if e.weights == s.o.Identity.Weights {
			return e
		}
		other = e
	}
	if s.o.RejectDifferentQuant {
		return nil
	}
	return other
}

// Wipe removes every file of the store, whoever's it is.
func (s *Store) Wipe() error {
	return s.locked(func() error {
		var names []string
		if err := s.o.Blobs.List(func(name string, _ int64) {
			if ours(name) {
				names = append(names, name)
			}
		}); err != nil {
			return err
		}
		for _, n := range names {
			if err := s.o.Blobs.Delete(n); err != nil {
				return err
			}
		}
		s.mu.Lock()
		s.adopt(0, nil)
		s.mu.Unlock()
		return s.putIndex()
	})
}
