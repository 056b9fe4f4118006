package kvstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ds4-go/ds4/modules/model/dsv4"
)

// Info is what the index knows of a file, for people.
type Info struct {
	Name             string
	Kind             string // block, checkpoint, kvc, bad
	Reason           Reason
	Tokens           int // up to the file's end
	Bytes            int64
	Blocks           int  // that a checkpoint stands on
	Complete         bool // all of them are there
	Created, Used    time.Time
	Hits             uint32
	Bits             uint8
	Model, Weights   Key // whose it is: K(0), and the identity of the weights
	Aliases, ToolIDs int
}

// List is all files: checkpoints and KVC files, those of use last first, then blocks and what is quarantined.
func (s *Store) List() []Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Info
	for _, e := range s.catalog.sorted() {
		list = append(list, s.info(e))
	}
	slices.SortStableFunc(list, func(a, b Info) int {
		if c := rankOf(a.Kind) - rankOf(b.Kind); c != 0 {
			return c
		}
		return b.Used.Compare(a.Used)
	})
	return list
}

func rankOf(kind string) int {
	return slices.Index([]string{kindEnd.String(), kindKVC.String(), kindBlock.String(), kindBad.String()}, kind)
}

// info describes an entry; s.mu is held.
func (s *Store) info(e *entry) Info {
	i := Info{Name: e.name, Kind: e.kind.String(), Reason: e.reason, Tokens: e.tokens, Bytes: e.bytes, Created: time.Unix(e.created, 0),
		Used: time.Unix(e.used, 0), Hits: e.hits, Bits: e.bits, Model: e.base, Weights: e.weights, Aliases: len(e.aliases),
		ToolIDs: len(e.tools), Complete: true}
	if e.kind == kindEnd {
		i.Blocks = e.tokens / pageTokens
		_, i.Complete = s.catalog.chainOf(e.parent, e.base, anyOf)
	}
	return i
}

func anyOf(l []*entry) *entry {
	if len(l) == 0 {
		return nil
	}
	return l[0]
}

// Find is the entry whose name begins so. Errors: none or several do.
func (s *Store) Find(prefix string) (Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.find(prefix)
	if err != nil {
		return Info{}, err
	}
	return s.info(e), nil
}

func (s *Store) find(prefix string) (*entry, error) {
	if e := s.catalog.entries[prefix]; e != nil {
		return e, nil
	}
	var found []*entry
	for _, e := range s.catalog.sorted() {
		if prefix != "" && strings.HasPrefix(e.name, prefix) {
			found = append(found, e)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("kvstore: %s: %w", prefix, ErrNotFound)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("kvstore: %s: want one file, got %d, from %s to %s", prefix, len(found), found[0].name, found[len(found)-1].name)
}

// Details is what a file says itself.
type Details struct {
	Info
	Start                 int // tokens before the file's own
	Key, Parent, Previous Key
	RowBytes, StateBytes  int64
	Logits                int
	Text                  []byte
	Tools                 []Tool
	Tokens                []int32 // the file's own; of a KVC file all, if the store knows the shape
}

// Show reads a file's head.
func (s *Store) Show(name string) (*Details, error) {
	s.mu.Lock()
	e, err := s.find(name)
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	d := &Details{Info: s.info(e)}
	s.mu.Unlock()
	switch e.kind {
	case kindBad:
		return d, nil
	case kindKVC:
		err = s.withKVC(e.name, func(k *kvc) error {
			d.Text = k.text
			d.Tools, err = k.tools()
			if err != nil || s.rows == nil {
				return err
			}
			p, err := k.open(s.o.Shape)
			if err == nil {
				d.Tokens = p.Tokens()
			}
			return err
		})
		return d, err
	}
	f, err := s.readHead(e)
	if err != nil {
		return nil, err
	}
	d.Start, d.Key, d.Parent, d.Previous, d.RowBytes, d.StateBytes, d.Logits = f.start, f.key, f.parent, f.prev, f.nRows, f.nState, f.nLogits
	d.Text, d.Tokens = f.text, f.tokens
	d.Tools, err = parseTools(f.tools)
	return d, err
}

func (s *Store) withKVC(name string, f func(*kvc) error) error {
	b, err := s.o.Blobs.Get(name)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	k, err := openKVC(b)
	if err != nil {
		return err
	}
	return f(k)
}

// Verify reads every file whole and tells what it found, nil for a sound one. With remove, damaged ones are quarantined. The
// error is the context's.
func (s *Store) Verify(ctx context.Context, remove bool, visit func(Info, error)) error {
	s.mu.Lock()
	entries := s.catalog.sorted()
	s.mu.Unlock()
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("kvstore: verify: %w", err)
		}
		s.mu.Lock()
		i := s.info(e)
		s.mu.Unlock()
		err := s.verify(e)
		if visit(i, err); err != nil && remove && e.kind != kindBad {
			s.dismiss(e, err)
		}
	}
	s.Flush()
	return nil
}

func (s *Store) verify(e *entry) error {
	switch e.kind {
	case kindBad:
		return corrupt("was quarantined")
	case kindKVC:
		return s.withKVC(e.name, func(k *kvc) error {
			if _, err := k.entry(e.name); err != nil || s.rows == nil {
				return err
			}
			return s.verifyPayload(k)
		})
	}
	b, err := s.o.Blobs.Get(e.name)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	f, err := readFile(b, b.Size())
	if err != nil {
		return err
	}
	if _, err := entryOf(e.name, f); err != nil {
		return err
	}
	if s.rows != nil && f.base == s.root {
		return f.fits(s.rows)
	}
	return nil
}

func (s *Store) verifyPayload(k *kvc) error {
	p, err := k.open(s.o.Shape)
	if err != nil {
		return err
	}
	if _, err = p.State(); err == nil {
		_, err = p.Logits()
	}
	page := make([]byte, s.rows.page)
	for i := 0; err == nil && i*pageTokens < len(p.Tokens()); i++ {
		err = p.Page(i, page)
	}
	return badPayload(err)
}

// Remove removes a checkpoint, with the blocks that only it needs, a KVC file or a quarantined one. It says how many bytes went. A
// block alone is not removed while something needs it.
func (s *Store) Remove(name string) (bytes int64, err error) {
	err = s.locked(func() error {
		s.mu.Lock()
		e, err := s.find(name)
		var gone []*entry
		if err == nil {
			gone = append(gone, e)
			switch {
			case e.kind == kindEnd:
				gone = append(gone, s.catalog.own(e)...)
			case e.kind == kindBlock && s.catalog.under[e.key]+len(s.catalog.ends[e.key]) > 0:
				err = fmt.Errorf("kvstore: %s: want a checkpoint, got a block that others need", e.name)
			}
		}
		if err != nil {
			s.mu.Unlock()
			return err
		}
		for _, g := range gone {
			s.catalog.forget(g)
			bytes += g.bytes
		}
		s.mu.Unlock()
		for _, g := range gone {
			if err := s.o.Blobs.Delete(g.name); err != nil {
				return err
			}
		}
		return s.putIndex()
	})
	return bytes, err
}

// Export writes a checkpoint as a KVC file, and returns its name. Its text is what was saved with it, else what spell makes of the
// tokens; spell may be nil. The store must know the shape. Logits that were not saved are written as zeros: whoever loads the
// file must evaluate a token before it samples one.
func (s *Store) Export(name string, spell func(tokens []int32) ([]byte, error), to Blobs) (string, error) {
	if s.rows == nil {
		return "", errors.New("kvstore: export: want a shape, got none")
	}
	s.mu.Lock()
	e, err := s.find(name)
	s.mu.Unlock()
	switch {
	case err != nil:
		return "", err
	case e.kind != kindEnd:
		return "", fmt.Errorf("kvstore: %s: want a checkpoint, got a %s", e.name, e.kind)
	case e.base != s.root:
		return "", fmt.Errorf("kvstore: %s: want a checkpoint of model %s, got %s", e.name, s.root, e.base)
	}
	h, err := s.open(candidate{e: e, by: ByAlias}, Query{})
	if err != nil {
		return "", fmt.Errorf("kvstore: %s: %w", e.name, err)
	}
	defer h.Close(Unused)
	text := h.tail.text
	if len(text) == 0 && spell != nil {
		if text, err = spell(h.Tokens); err != nil {
			return "", err
		}
	}
	if len(text) == 0 {
		return "", fmt.Errorf("kvstore: %s: want the text of the tokens, but none was saved", e.name)
	}
	tools, err := parseTools(h.tail.tools)
	if err != nil {
		return "", err
	}
	k := &kvcFile{bits: e.bits, reason: e.reason, created: e.created, text: text, tools: toolsIn(tools, text), session: dsv4.Session{
		CtxTokens: max(s.o.CtxTokens, len(h.Tokens)+1), Tokens: h.Tokens, Page: h.Page, State: s.rows.bare(h.State, len(h.Tokens)), Logits: h.Logits}}
	out := k.entry(s.o.Shape)
	unlock, err := to.Lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	return out.name, to.Put(out.name, out.bytes, func(w io.WriterAt) error { return k.write(w, s.o.Shape) })
}

// Import stores a KVC file as blocks and a checkpoint, before it returns. Its text becomes that of the checkpoint.
func (s *Store) Import(b Blob) (Event, error) {
	ev := Event{Op: Stored}
	if s.rows == nil {
		return ev, errors.New("kvstore: import: want a shape, got none")
	}
	k, err := openKVC(b)
	if err != nil {
		return ev, err
	}
	p, err := k.open(s.o.Shape)
	if err != nil {
		return ev, err
	}
	m := Mark{Reason: k.reason, Text: k.text}
	if m.Tools, err = k.tools(); err != nil {
		return ev, err
	}
	if m.Logits, err = p.Logits(); err != nil {
		return ev, badPayload(err)
	}
	started := time.Now()
	ev.Reason, ev.Tokens = k.reason, k.tokens
	err = badPayload(s.saveBlocks(job{payloadSource{p}, m}, &ev))
	ev.Took = time.Since(started)
	return ev, err
}

// payloadSource is a KVC file's payload to be saved.
type payloadSource struct{ p *dsv4.Payload }

func (s payloadSource) Tokens() []int32                  { return s.p.Tokens() }
func (s payloadSource) ReadPage(i int, dst []byte) error { return s.p.Page(i, dst) }
func (s payloadSource) State() ([]byte, error)           { return s.p.State() }
func (s payloadSource) Free()                            {}
