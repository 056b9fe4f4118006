package sched_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ds4-go/ds4/modules/model/sample"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
	"github.com/ds4-go/ds4/modules/serve/sched"
)

// The tests of this file find the tiny model's checkpoints on disk otherwise than by their tokens. The text of a token is a
// letter, of which there are half as many: a client's encoder always takes the lower one, the model does not.

const letters = 32

func textOf(tokens []int32) []byte {
	out := make([]byte, len(tokens))
	for i, id := range tokens {
		out[i] = 'A' + byte(id%letters)
	}
	return out
}

func encoded(tokens []int32) []int32 {
	out := make([]int32, len(tokens))
	for i, id := range tokens {
		out[i] = id % letters
	}
	return out
}

// answered runs one request to its end.
func (t *tiny) answered(ctx context.Context, p sched.Prompt) (tokens []int32, start sched.Start, err error) {
	r, err := t.Submit(ctx, &sched.Request{Prompt: p, MaxTokens: 100, Choices: 1, TopLogprobs: -1, Sample: []sample.Params{{}}, TurnEnd: turnEnd,
		Guide: func(int) sched.Guide { return &counted{} }})
	if err != nil {
		return nil, start, err
	}
	for {
		b, err := r.Next(context.Background(), nil)
		if err != nil {
			if errors.Is(err, sched.ErrDone) {
				err = nil
			}
			return tokens, start, err
		}
		if b.Start != nil {
			start = *b.Start
		}
		for _, d := range b.Deltas {
			if d.End != nil {
				tokens = d.End.Tokens
			}
		}
	}
}

// stored has one turn, stores it, and returns what stands on disk then and what the next turn is answered.
func stored(t *testing.T, blobs kvstore.Blobs, format kvstore.Format, alias kvstore.Alias) (past, question, answer []int32) {
	t.Helper()
	s, err := newTinyOn(sched.Config{Decode: textOf}, blobs, format)
	if err != nil {
		t.Fatal(err)
	}
	prompt := message(3, 0)
	for i := range prompt {
		prompt[i] |= letters // what no encoder writes
	}
	tokens, _, err := s.answered(t.Context(), sched.Prompt{Tokens: prompt})
	if err != nil {
		t.Fatal(err)
	}
	past = append(append(prompt, tokens...), turnEnd)
	s.Save(past, kvstore.Mark{Reason: kvstore.Continued, Aliases: []kvstore.Alias{alias}})
	question = encoded(message(4, 1))
	answer, start, err := s.answered(t.Context(), sched.Prompt{Tokens: append(slices.Clone(past), question...)})
	if err != nil || start.Source != "memory" || start.Cached != len(past) {
		t.Fatalf("want the turn known, got %+v: %v", start, err)
	}
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	return past, question, answer
}

// TestDiskByAlias: a client's prompt, which its encoder cuts otherwise than the model did, goes on from the checkpoint that is
// stored under the hash of its beginning, or under its text, and is answered as it would have been without a restart.
func TestDiskByAlias(t *testing.T) {
	alias := kvstore.Alias(sha256.Sum256([]byte("the turn")))
	for _, c := range []struct {
		name   string
		format kvstore.Format
		text   bool
	}{{"alias", kvstore.Blocks, false}, {"text", kvstore.V1, true}} {
		t.Run(c.name, func(t *testing.T) {
			dir, err := kvstore.OpenDir(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			past, question, want := stored(t, dir, c.format, alias)
			s, err := newTinyOn(sched.Config{Decode: textOf}, dir, c.format)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.Close(context.Background()); err != nil {
					t.Error(err)
				}
			}()
			p := sched.Prompt{Tokens: append(encoded(past), question...)}
			var learnt atomic.Pointer[[]int32]
			if c.text {
				p.Text = string(textOf(p.Tokens))
				p.Rest = func(bytes int) []int32 { return p.Tokens[bytes:] }
			} else {
				p.Points = []sched.Point{{Alias: alias, Tokens: len(past)}}
				p.Learn = func(at sched.Point, tokens []int32) {
					if at == p.Points[0] {
						learnt.Store(&tokens)
					}
				}
			}
			got, start, err := s.answered(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if start.Source != "disk" || start.Cached < len(past) || !slices.Equal(start.Prompt[:len(past)], past) {
				t.Errorf("want %d tokens from disk, got %d from %s: %s", len(past), start.Cached, start.Source, start.Why)
			}
			if !slices.Equal(got, want) {
				t.Errorf("want the answer %v, got %v", want, got)
			}
			if !c.text && (learnt.Load() == nil || !slices.Equal(*learnt.Load(), past)) {
				t.Error("want the checkpoint's tokens learnt for the alias")
			}
			// Neither the hash nor the text of another beginning finds it.
			p.Tokens = append([]int32{5}, p.Tokens...)
			p.Points, p.Text = []sched.Point{{Alias: sha256.Sum256([]byte("another")), Tokens: len(past) + 1}}, ""
			if c.text {
				p.Text = string(textOf(p.Tokens))
			}
			if _, start, err := s.answered(t.Context(), p); err != nil || start.Cached != 0 {
				t.Errorf("another beginning: want nothing known, got %+v: %v", start, err)
			}
		})
	}
}

// slowBlobs hold reads up while they are told to.
type slowBlobs struct {
	kvstore.Blobs
	held    atomic.Bool
	reading chan struct{} // a read began, and waits for a value
	goOn    chan struct{}
}

type slowBlob struct {
	kvstore.Blob
	s *slowBlobs
}

func (s *slowBlobs) Get(name string) (kvstore.Blob, error) {
	b, err := s.Blobs.Get(name)
	if err != nil {
		return nil, err
	}
	return slowBlob{b, s}, nil
}

func (b slowBlob) ReadAt(p []byte, off int64) (int, error) {
	if b.s.held.Load() {
		b.s.reading <- struct{}{}
		<-b.s.goOn
	}
	return b.Blob.ReadAt(p, off)
}

// TestCancelWhileReading: a request whose checkpoint is being read from disk ends when its client goes, however long the disk
// takes; what is read then belongs to nobody, and is there for the next one.
func TestCancelWhileReading(t *testing.T) {
	dir, err := kvstore.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	past, question, want := stored(t, dir, kvstore.Blocks, kvstore.Alias{1})
	slow := &slowBlobs{Blobs: dir, reading: make(chan struct{}), goOn: make(chan struct{})}
	s, err := newTinyOn(sched.Config{Decode: textOf}, slow, kvstore.Blocks)
	if err != nil {
		t.Fatal(err)
	}
	slow.held.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error)
	p := sched.Prompt{Tokens: append(slices.Clone(past), question...)}
	go func() {
		_, _, err := s.answered(ctx, p)
		ended <- err
	}()
	<-slow.reading
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) { // the disk has not answered yet
		t.Errorf("want context.Canceled, got %v", err)
	}
	for s.Stats().Running > 0 {
		time.Sleep(time.Millisecond)
	}
	slow.held.Store(false)
	slow.goOn <- struct{}{}
	got, start, err := s.answered(t.Context(), p)
	if err != nil || start.Source != "disk" || start.Cached != len(past) || !slices.Equal(got, want) {
		t.Errorf("want %v from disk, got %v and %+v: %v", want, got, start, err)
	}
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if st := s.Stats(); st.Sequences != 0 || st.Running != 0 {
		t.Errorf("want nothing left, got %+v", st)
	}
}
