package sched_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/sample"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
	"github.com/ds4-go/ds4/modules/serve/sched"
	"github.com/ds4-go/ds4/modules/serve/servetest"
)

var tok = servetest.Tokenizer()

// plain is a guide that takes text until the turn ends.
type plain struct {
	b      strings.Builder
	events []chat.Event
	panics int // at this token
	n      int
}

func (g *plain) Next() sched.Constraint { return sched.Constraint{} }

func (g *plain) Accept(id int32) sched.Step {
	if g.n++; g.n == g.panics {
		panic("planted")
	}
	if id == tok.Special().EOS {
		return sched.Step{Part: sched.PartEnd, Done: true}
	}
	g.b.WriteString(tok.Text(id))
	g.events = append(g.events[:0], chat.Event{Kind: chat.Content, Text: tok.Text(id)})
	return sched.Step{Events: g.events}
}

func (g *plain) Finish(chat.End) ([]chat.Event, sched.Outcome) {
	return nil, sched.Outcome{Result: chat.Result{Message: chat.Message{Content: g.b.String()}}}
}

func request(prompt string, most int) *sched.Request {
	return &sched.Request{
		Prompt: sched.Prompt{Tokens: tok.EncodeTemplate(nil, tokenizer.BOS+prompt)}, MaxTokens: most, Choices: 1,
		Sample: []sample.Params{{}}, TopLogprobs: -1, Guide: func(int) sched.Guide { return &plain{} },
	}
}

func collect(t *testing.T, r *sched.Run) (texts []string, start sched.Start, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for {
		b, err := r.Next(ctx, nil)
		if err != nil {
			if errors.Is(err, sched.ErrDone) {
				err = nil
			}
			return texts, start, err
		}
		if b.Start != nil {
			start = *b.Start
		}
		for _, d := range b.Deltas {
			for len(texts) <= d.Choice {
				texts = append(texts, "")
			}
			for _, e := range d.Events {
				texts[d.Choice] += e.Text
			}
			if d.End != nil && d.End.Outcome.Message.Content != texts[d.Choice] {
				t.Errorf("want the events to make %q, got %q", d.End.Outcome.Message.Content, texts[d.Choice])
			}
		}
	}
}

func run(t *testing.T, s *sched.Scheduler, req *sched.Request) (string, sched.Start) {
	t.Helper()
	r, err := s.Submit(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	texts, start, err := collect(t, r)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(texts, "|"), start
}

// newScheduler makes one that leaves nothing behind.
func newScheduler(t *testing.T, e *servetest.Engine, c sched.Config) *sched.Scheduler {
	t.Helper()
	c.Engine = e
	s := sched.New(c)
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if e.Seqs.Load() != 0 || e.PagesUsed.Load() != 0 {
			t.Errorf("want no sequences and pages left, got %d and %d", e.Seqs.Load(), e.PagesUsed.Load())
		}
	})
	return s
}

func TestScript(t *testing.T) {
	e := servetest.NewEngine(tok, servetest.Limits())
	e.Script = func(p string) []string { return []string{"You said ", p[len(tokenizer.BOS):], "."} }
	s := newScheduler(t, e, sched.Config{})
	if got, _ := run(t, s, request("Hello", 100)); got != "You said Hello." {
		t.Errorf("got %q", got)
	}
	if got, _ := run(t, s, request("Hello", 4)); len(got) > 20 || !strings.HasPrefix("You said Hello.", got) {
		t.Errorf("cut: got %q", got)
	}
	if got, _ := run(t, s, request("Hello", 0)); got != "" {
		t.Errorf("nothing: got %q", got)
	}
}

// TestCrowd: the same request gives the same text alone and beside others, with whatever it starts from.
func TestCrowd(t *testing.T) {
	prompts := make([]*sched.Request, 24)
	make1 := func(i int) *sched.Request {
		r := request(strings.Repeat("once upon a time ", i*3)+fmt.Sprint(i), 40+i)
		r.Sample = []sample.Params{{Temperature: 1, MinP: 0.01, Seed: uint64(i), FrequencyPenalty: 0.1 * float32(i%3)}}
		return r
	}
	alone := make([]string, len(prompts))
	for i := range prompts {
		s := newScheduler(t, servetest.NewEngine(tok, servetest.Limits()), sched.Config{SnapshotBytes: -1})
		alone[i], _ = run(t, s, make1(i))
	}
	s := newScheduler(t, servetest.NewEngine(tok, servetest.Limits()), sched.Config{Chunk: 100})
	for range 2 {
		var wg sync.WaitGroup
		for i := range prompts {
			wg.Go(func() {
				if got, _ := run(t, s, make1(i)); got != alone[i] {
					t.Errorf("%d: want %q, got %q", i, alone[i], got)
				}
			})
		}
		wg.Wait()
	}
}

func TestPrefixes(t *testing.T) {
	e := servetest.NewEngine(tok, servetest.Limits())
	e.Script = func(string) []string { return []string{" abc"} }
	s := newScheduler(t, e, sched.Config{MinSnapshot: 1})
	long := strings.Repeat("x", 100)
	cut := func(r *sched.Request, at ...int) *sched.Request { r.Prompt.Cuts = at; return r }
	if _, st := run(t, s, cut(request(long+"one", 9), 101)); st.Cached != 0 || st.Source != "none" {
		t.Errorf("cold: got %+v", st)
	}
	if _, st := run(t, s, request(long+"two", 9)); st.Cached != 101 || st.Source != "memory" {
		t.Errorf("branch at a cut: want 101 tokens, got %+v", st)
	}
	if _, st := run(t, s, request(long+"one abc and more", 9)); st.Cached != 101+3+4 {
		t.Errorf("next turn: want %d tokens, got %+v", 101+3+4, st)
	}
	if _, st := run(t, s, request(long+"one", 9)); st.Cached != 101 {
		t.Errorf("again: want 101 tokens, got %+v", st)
	}
}

// TestTurnEnd: after a turn, the next one begins behind its end, and at once.
func TestTurnEnd(t *testing.T) {
	e := servetest.NewEngine(tok, servetest.Limits())
	e.Script = func(string) []string { return []string{" xy", "z"} }
	s := newScheduler(t, e, sched.Config{MinSnapshot: 1})
	req := request("question", 50)
	req.TurnEnd = tok.Special().EOS
	for range 50 {
		text, _ := run(t, s, req)
		next := request("question"+text+tokenizer.EOS+"and?", 50)
		next.TurnEnd = req.TurnEnd
		if _, st := run(t, s, next); st.Cached != len(next.Prompt.Tokens)-len("and?") {
			t.Fatalf("want all but the new text known, got %d of %d", st.Cached, len(next.Prompt.Tokens))
		}
	}
	cut := request("question", 3) // too short to end
	cut.TurnEnd = req.TurnEnd
	run(t, s, cut)
}

// TestLongStretch: where a long message changes, what comes before is known up to the end of a page, with and without cuts.
func TestLongStretch(t *testing.T) {
	long := strings.Repeat("x", 7000)
	for _, cuts := range [][]int{nil, {100, 6990}} {
		e := servetest.NewEngine(tok, servetest.Limits())
		e.Script = func(string) []string { return []string{" abc"} }
		s := newScheduler(t, e, sched.Config{})
		for _, c := range []struct{ change, known int }{{7000, 0}, {6500, 3 * backend.PageTokens}, {5000, 2 * backend.PageTokens}, {60, 0}} {
			req := request(long[:c.change]+"yz"+long[c.change:], 9)
			req.Prompt.Cuts = cuts
			if _, st := run(t, s, req); st.Cached != c.known {
				t.Errorf("cuts %v, a change at %d: want %d tokens known, got %d (%s)", cuts, c.change, c.known, st.Cached, st.Why)
			}
		}
	}
}

func TestChoices(t *testing.T) {
	s := newScheduler(t, servetest.NewEngine(tok, servetest.Limits()), sched.Config{})
	r := request("tell", 20)
	r.Choices = 3
	r.Sample = nil
	for i := range 3 {
		r.Sample = append(r.Sample, sample.Params{Temperature: 1, Seed: sample.Stream(7, i)})
	}
	got, _ := run(t, s, r)
	parts := strings.Split(got, "|")
	if len(parts) != 3 || parts[0] == parts[1] || parts[1] == parts[2] {
		t.Errorf("want three texts, got %q", parts)
	}
}

func TestQueue(t *testing.T) {
	e := servetest.NewEngine(tok, model.Limits{CtxTokens: 4096, Seqs: 1, Slots: 5, Rows: 64, Outs: 1, Tops: 1})
	hold := make(chan struct{})
	e.Fail = func([]sched.Job) error { <-hold; return nil }
	s := newScheduler(t, e, sched.Config{Queue: 6})
	var order []string // the engine's goroutine's
	var wg sync.WaitGroup
	submit := func(client, name string) error {
		req := request(name, 2)
		req.Client = client
		req.Guide = func(int) sched.Guide { order = append(order, name); return &plain{} }
		r, err := s.Submit(t.Context(), req)
		if err == nil {
			wg.Go(func() { _, _, _ = collect(t, r) })
		}
		return err
	}
	if err := submit("z", "first"); err != nil {
		t.Fatal(err)
	}
	for s.Stats().Running == 0 && s.Stats().Waiting > 0 {
		time.Sleep(time.Millisecond)
	}
	for i := range 4 {
		if err := submit("a", fmt.Sprintf("a%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []string{"b", "c"} {
		if err := submit(c, c+"0"); err != nil {
			t.Fatal(err)
		}
	}
	if err := submit("d", "d0"); !errors.Is(err, sched.ErrBusy) {
		t.Errorf("want ErrBusy, got %v", err)
	}
	close(hold)
	wg.Wait()
	if slices.Index(order, "b0") > slices.Index(order, "a1") || slices.Index(order, "c0") > slices.Index(order, "a2") {
		t.Errorf("want clients in turn, got %v", order)
	}
}

func TestCancel(t *testing.T) {
	e := servetest.NewEngine(tok, servetest.Limits())
	e.Pace = time.Millisecond
	s := newScheduler(t, e, sched.Config{Sessions: 1, Chunk: 64})
	ctx, cancel := context.WithCancel(t.Context())
	first, err := s.Submit(ctx, request("decode", 10000))
	if err != nil {
		t.Fatal(err)
	}
	ctx2, cancel2 := context.WithCancel(t.Context())
	second, err := s.Submit(ctx2, request("queued", 10))
	if err != nil {
		t.Fatal(err)
	}
	cancel2()
	if _, _, err := collect(t, second); !errors.Is(err, context.Canceled) {
		t.Errorf("queued: want context.Canceled, got %v", err)
	}
	if _, err := first.Next(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, _, err := collect(t, first); !errors.Is(err, context.Canceled) {
		t.Errorf("decode: want context.Canceled, got %v", err)
	}
	// A prompt that is cancelled half way is known half way.
	ctx3, cancel3 := context.WithCancel(t.Context())
	long := strings.Repeat("y", 20000)
	third, err := s.Submit(ctx3, request(long, 10))
	if err != nil {
		t.Fatal(err)
	}
	for {
		b, err := third.Next(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if b.Done > 500 {
			break
		}
	}
	cancel3()
	if _, _, err := collect(t, third); !errors.Is(err, context.Canceled) {
		t.Errorf("prefill: want context.Canceled, got %v", err)
	}
	if _, st := run(t, s, request(long, 3)); st.Cached < 500 {
		t.Errorf("want at least 500 tokens to be known, got %+v", st)
	}
}

func TestPanicStaysInside(t *testing.T) {
	s := newScheduler(t, servetest.NewEngine(tok, servetest.Limits()), sched.Config{})
	bad := request("bad", 50)
	bad.Guide = func(int) sched.Guide { return &plain{panics: 5} }
	good, err := s.Submit(t.Context(), request("good", 200))
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Submit(t.Context(), bad)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := collect(t, r); err == nil || !strings.Contains(err.Error(), "planted") {
		t.Errorf("want the panic as an error, got %v", err)
	}
	if _, _, err := collect(t, good); err != nil {
		t.Errorf("want the other one unharmed, got %v", err)
	}
}

// TestPages: with too few pages, requests wait for each other or are evaluated again, and none comes out otherwise.
func TestPages(t *testing.T) {
	var want [6]string
	req := func(i int) *sched.Request { return request(strings.Repeat(fmt.Sprint(i), 1500), 1200) }
	for i := range want {
		s := newScheduler(t, servetest.NewEngine(tok, servetest.Limits()), sched.Config{})
		want[i], _ = run(t, s, req(i))
	}
	e := servetest.NewEngine(tok, servetest.Limits())
	e.Pages = 5
	s := newScheduler(t, e, sched.Config{})
	var wg sync.WaitGroup
	for i := range want {
		wg.Go(func() {
			if got, _ := run(t, s, req(i)); got != want[i] {
				t.Errorf("%d: want %q, got %q", i, want[i], got)
			}
		})
	}
	wg.Wait()
}

func TestDrain(t *testing.T) {
	e := servetest.NewEngine(tok, servetest.Limits())
	e.Pace = 100 * time.Microsecond
	s := newScheduler(t, e, sched.Config{Sessions: 1})
	running, err := s.Submit(t.Context(), request("running", 300))
	if err != nil {
		t.Fatal(err)
	}
	for s.Stats().Sequences == 0 {
		time.Sleep(time.Millisecond)
	}
	waiting, err := s.Submit(t.Context(), request("waiting", 300))
	if err != nil {
		t.Fatal(err)
	}
	s.Drain(t.Context())
	if _, _, err := collect(t, running); err != nil {
		t.Errorf("running: %v", err)
	}
	if _, _, err := collect(t, waiting); !errors.Is(err, sched.ErrClosed) {
		t.Errorf("waiting: want ErrClosed, got %v", err)
	}
	if _, err := s.Submit(t.Context(), request("late", 1)); !errors.Is(err, sched.ErrClosed) {
		t.Errorf("late: want ErrClosed, got %v", err)
	}
}

// TestSlowReader: who does not read holds nobody up, and is caught up with.
func TestSlowReader(t *testing.T) {
	s := newScheduler(t, servetest.NewEngine(tok, servetest.Limits()), sched.Config{})
	slow, err := s.Submit(t.Context(), request("slow", 4500))
	if err != nil {
		t.Fatal(err)
	}
	quick, _ := run(t, s, request("quick", 4500))
	if len(quick) < 4500 {
		t.Errorf("want 4500 tokens, got %d bytes", len(quick))
	}
	texts, _, err := collect(t, slow)
	if err != nil || len(texts) != 1 || len(texts[0]) < 4500 {
		t.Errorf("slow: %v", err)
	}
}

func TestLogprobs(t *testing.T) {
	e := servetest.NewEngine(tok, servetest.Limits())
	s := newScheduler(t, e, sched.Config{})
	req := request("Hello", 3)
	req.TopLogprobs, req.PromptLogprobs = 2, true
	r, err := s.Submit(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	prompt, tokens := 0, 0
	for {
		b, err := r.Next(t.Context(), nil)
		if errors.Is(err, sched.ErrDone) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		prompt += len(b.Prompt)
		for _, d := range b.Deltas {
			for _, tk := range d.Tokens {
				tokens++
				if len(tk.Top) != 2 || tk.Top[0].ID != tk.ID || tk.Top[0].Logprob != tk.Logprob || tk.Logprob >= 0 {
					t.Errorf("greedy: want the best first, got %+v", tk)
				}
			}
		}
	}
	if want := len(req.Prompt.Tokens) - 1; prompt != want || tokens != 3 {
		t.Errorf("want %d and 3 tokens, got %d and %d", want, prompt, tokens)
	}
}

// busySlots is an engine whose slots are held by snapshots for a while.
type busySlots struct {
	*servetest.Engine
	tries int
}

func (e *busySlots) NewSeq() (sched.Seq, error) {
	if e.tries++; e.tries%4 != 0 {
		return nil, model.ErrNoSlots
	}
	return e.Engine.NewSeq()
}

// TestSlotsComeBack: a request for which there is no slot at the moment waits.
func TestSlotsComeBack(t *testing.T) {
	e := &busySlots{Engine: servetest.NewEngine(tok, servetest.Limits())}
	s := sched.New(sched.Config{Engine: e})
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() { run(t, s, request(fmt.Sprint("say ", i), 5)) })
	}
	wg.Wait()
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// hungUp is a guide whose reader is gone once it is finished.
type hungUp struct {
	plain
	gone func()
}

func (g *hungUp) Finish(end chat.End) ([]chat.Event, sched.Outcome) {
	g.gone()
	return g.plain.Finish(end)
}

// TestCloseOutlivesRequest: the last tokens of a turn are evaluated after its reader has all it wanted, and perhaps hung
// up. The turn is closed all the same, and the next one begins behind it.
func TestCloseOutlivesRequest(t *testing.T) {
	e := servetest.NewEngine(tok, servetest.Limits())
	e.Script = func(string) []string { return []string{"one ", "two"} }
	s := newScheduler(t, e, sched.Config{MinSnapshot: 1})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := request("Say it.", 100)
	first.TurnEnd = tok.Special().EOS
	first.Guide = func(int) sched.Guide { return &hungUp{gone: cancel} }
	r, err := s.Submit(ctx, first)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := collect(t, r); err != nil {
		t.Fatal(err)
	}
	whole := append(slices.Clone(first.Prompt.Tokens), servetest.Pieces(tok, []string{"one ", "two"})...)
	whole = append(whole, first.TurnEnd)
	second := request("", 100)
	second.Prompt.Tokens = append(slices.Clone(whole), tok.Encode(nil, "Again.")...)
	if _, start := run(t, s, second); start.Cached != len(whole) {
		t.Errorf("want the %d tokens of the turn and its end known, got %d", len(whole), start.Cached)
	}
}
