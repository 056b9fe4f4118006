package sched_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/sample"
	"github.com/ds4-go/ds4/modules/model/synth"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
	"github.com/ds4-go/ds4/modules/serve/sched"
)

// The tests of this file run the tiny model on the CPU.

const (
	talks, turns = 8, 6
	answer       = 6 // tokens
	turnEnd      = 1
)

// counted is a guide that ends the turn after so many tokens. Where it stops, a stop string took the last three, but for text
// that as many others spell.
type counted struct {
	n    int
	stop bool
}

func (g *counted) Next() sched.Constraint { return sched.Constraint{} }

func (g *counted) Accept(int32) sched.Step {
	g.n++
	return sched.Step{Done: g.n == answer}
}

func (g *counted) Finish(chat.End) ([]chat.Event, sched.Outcome) {
	if !g.stop {
		return nil, sched.Outcome{}
	}
	return nil, sched.Outcome{Result: chat.Result{Stop: "stop"}, Kept: answer - 3, Rest: []int32{2, 3, 4}}
}

// tiny is a scheduler of the tiny model. dir, if given, is where its disk cache is.
type tiny struct {
	*sched.Scheduler
	stored atomic.Int64
}

func newTiny(c sched.Config, dir string) (*tiny, error) {
	if dir == "" {
		return newTinyOn(c, nil, kvstore.Blocks)
	}
	d, err := kvstore.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	return newTinyOn(c, d, kvstore.Blocks)
}

func newTinyOn(c sched.Config, blobs kvstore.Blobs, format kvstore.Format) (*tiny, error) {
	return newTinyWith(c, blobs, format, func(lim *model.Limits, page int64) { lim.PageBytes = 64 * page })
}

// newTinyWith has size change the engine's limits, told what a page takes.
func newTinyWith(c sched.Config, blobs kvstore.Blobs, format kvstore.Format, size func(lim *model.Limits, page int64)) (*tiny, error) {
	f, err := synth.T0().File()
	if err != nil {
		return nil, err
	}
	sh, err := model.ReadShape(f)
	if err != nil {
		return nil, err
	}
	lim := model.Limits{CtxTokens: 2048, Seqs: 4, Slots: 4 + model.SpareSlots, Rows: 64, Outs: 40, Tops: 40}
	size(&lim, model.PageBytes(sh))
	b, err := cpu.New(sh, lim, cpu.Options{Threads: 1})
	if err != nil {
		return nil, err
	}
	w, err := model.Load(f, sh, b, nil)
	if err != nil {
		return nil, err
	}
	if c.Guesses != nil {
		head, err := synth.DraftFile(f, 1)
		if err != nil {
			return nil, err
		}
		if err := w.LoadDraft(head, f, sh, b); err != nil {
			return nil, err
		}
	}
	t := &tiny{}
	e, err := model.New(b, w, sh, lim, model.Options{Reclaim: func() bool { return t.Reclaim() }})
	if err != nil {
		return nil, err
	}
	c.Engine, c.MinSnapshot = sched.Wrap(e), 1
	if blobs != nil {
		id, err := kvstore.Identify(f, "test")
		if err != nil {
			return nil, err
		}
		c.Policy = kvstore.Policy{Min: 8}
		c.Store, err = kvstore.Open(kvstore.Options{Blobs: blobs, Format: format, Identity: id, Shape: sh, CtxTokens: lim.CtxTokens, MinTokens: 8, Queue: 256,
			Log: func(e kvstore.Event) {
				if e.Op == kvstore.Stored {
					t.stored.Add(1)
				}
			}})
		if err != nil {
			return nil, err
		}
	}
	t.Scheduler = sched.New(c)
	return t, nil
}

// message is what the user says in a turn.
func message(talk, turn int) []int32 {
	out := []int32{0}
	for i := range 12 + 3*talk + turn {
		out = append(out, int32(2+(i*7+talk*13+turn*29)%60))
	}
	return out
}

// say runs one turn and returns what was answered.
func (t *tiny) say(history []int32, talk, turn int) ([]int32, sched.Start, error) {
	prompt := append(slices.Clone(history), message(talk, turn)...)
	cuts := []int{len(history)}
	r, err := t.Submit(context.Background(), &sched.Request{
		ID: fmt.Sprintf("%d.%d", talk, turn), Client: fmt.Sprint(talk), Prompt: sched.Prompt{Tokens: prompt, Cuts: cuts}, MaxTokens: 100, Choices: 1, TopLogprobs: -1,
		Sample: []sample.Params{{Temperature: 0.9, Seed: uint64(100*talk + turn)}}, TurnEnd: turnEnd,
		Guide: func(int) sched.Guide { return &counted{stop: talk%3 == 1} },
	})
	if err != nil {
		return nil, sched.Start{}, err
	}
	var start sched.Start
	var tokens []int32
	for {
		b, err := r.Next(context.Background(), nil)
		if errors.Is(err, sched.ErrDone) {
			break
		}
		if err != nil {
			return nil, start, err
		}
		if b.Start != nil {
			start = *b.Start
		}
		for _, d := range b.Deltas {
			if d.End != nil {
				tokens = d.End.Outcome.Turn(d.End.Tokens)
			}
		}
	}
	all := append(append(prompt, tokens...), turnEnd)
	t.Save(all, kvstore.Mark{Reason: kvstore.Continued})
	return all, start, nil
}

// talk has all conversations for some turns at once, and checks that no more than the new message was evaluated, where
// something may be known.
func (t *tiny) talk(histories [][]int32, from, to int, source func(turn int) string) error {
	errs := make([]error, len(histories))
	var wg sync.WaitGroup
	for i := range histories {
		wg.Go(func() {
			for turn := from; turn < to; turn++ {
				before := len(histories[i])
				all, start, err := t.say(histories[i], i, turn)
				if err != nil {
					errs[i] = fmt.Errorf("talk %d turn %d: %w", i, turn, err)
					return
				}
				histories[i] = all
				if want := source(turn); want != "" && (start.Cached < before || start.Source != want) {
					errs[i] = fmt.Errorf("talk %d turn %d: want %d tokens from %s, got %d from %s (%s)", i, turn, before, want, start.Cached, start.Source, start.Why)
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// alone is every conversation by itself with every cache off.
var alone = sync.OnceValues(func() ([][]int32, error) {
	t, err := newTiny(sched.Config{Sessions: 1, SnapshotBytes: -1}, "")
	if err != nil {
		return nil, err
	}
	h := make([][]int32, talks)
	for i := range h {
		for turn := range turns {
			if h[i], _, err = t.say(h[i], i, turn); err != nil {
				return nil, err
			}
		}
	}
	return h, t.Close(context.Background())
})

func nothingKnown(int) string { return "" }

func fromMemory(turn int) string {
	if turn == 0 {
		return ""
	}
	return "memory"
}

// TestConversations: in a crowd, with caches, at most the new message is evaluated, and what comes out is what comes out
// alone without.
func TestConversations(t *testing.T) {
	want, err := alone()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newTiny(sched.Config{}, "")
	if err != nil {
		t.Fatal(err)
	}
	got := make([][]int32, talks)
	if err := s.talk(got, 0, turns, fromMemory); err != nil {
		t.Error(err)
	}
	same(t, want, got)
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func same(t *testing.T, want, got [][]int32) {
	t.Helper()
	for i := range want {
		if at := mismatch(want[i], got[i]); at >= 0 {
			t.Errorf("talk %d: want %d tokens, got %d, which differ from the %dth on", i, len(want[i]), len(got[i]), at)
		}
	}
}

// mismatch is the first place where two lists differ, or -1.
func mismatch(a, b []int32) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}

const childDir = "SCHED_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Println(halfWay(dir))
		os.Exit(1)
	}
	zerolog.SetGlobalLevel(zerolog.WarnLevel)
	os.Exit(m.Run())
}

// halfWay is the child of TestRestart: it has half of the turns, waits for what is being written, and is killed.
func halfWay(dir string) error {
	s, err := newTiny(sched.Config{}, dir)
	if err != nil {
		return err
	}
	if err := s.talk(make([][]int32, talks), 0, turns/2, nothingKnown); err != nil {
		return err
	}
	for s.stored.Load() < talks*turns/2 {
		time.Sleep(time.Millisecond)
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	if err := self.Kill(); err != nil {
		return err
	}
	time.Sleep(time.Minute)
	return nil
}

// TestRestart: after a process was killed, another one goes on from what it had written, and says the same.
func TestRestart(t *testing.T) {
	want, err := alone()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(exe)
	child.Env = append(os.Environ(), childDir+"="+dir)
	out, err := child.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != -1 { // -1: by a signal
		t.Fatalf("want the child killed, got %v: %s", err, out)
	}
	got := make([][]int32, talks)
	for i := range got { // what the clients have
		got[i] = want[i]
		for turn := turns - 1; turn >= turns/2; turn-- {
			got[i] = got[i][:len(got[i])-len(message(i, turn))-answer-1]
		}
		got[i] = slices.Clip(got[i])
	}
	s, err := newTiny(sched.Config{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	err = s.talk(got, turns/2, turns, func(turn int) string {
		if turn == turns/2 {
			return "disk"
		}
		return "memory"
	})
	if err != nil {
		t.Error(err)
	}
	same(t, want, got)
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
