//go:build linux && amd64 && !cpuonly

package cuda_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/cuda"
	"github.com/ds4-go/ds4/modules/model/backend/cuda/sim"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// faulty builds the stand-in, whose calls fail to order; a card does not.
func faulty(t *testing.T) (*sim.Device, string) {
	t.Helper()
	path, err := sim.Build()
	if errors.Is(err, sim.ErrNoCompiler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	d, err := sim.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return d, path
}

func plan(t *testing.T, d *sim.Device, spec string) {
	t.Helper()
	if err := d.Fault(spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Fault("") }) // of a known form
}

// life is a backend from its start over a prompt and some tokens to its end; it returns the first error and that of Close.
func life(opt cuda.Options) (err, closed error) {
	tiny := synth.T1()
	f, err := tiny.File()
	if err != nil {
		return err, nil
	}
	lim := backend.Limits{CtxTokens: 256, Seqs: 2, Slots: 2 + model.SpareSlots, Rows: 40, Outs: 2, Tops: 2}
	b, err := cuda.New(tiny.Shape, lim, opt)
	if err != nil {
		return err, nil
	}
	err = func() error {
		w, err := model.Load(f, tiny.Shape, b, nil)
		if err != nil {
			return err
		}
		e, err := model.New(b, w, tiny.Shape, lim, model.Options{})
		if err != nil {
			return err
		}
		q, err := e.NewSeq()
		if err != nil {
			return err
		}
		next := synth.Prompt(tiny.Shape.Vocab, 40)
		for range 4 {
			j, err := q.Feed(context.Background(), next, 0, []model.Want{{}}, nil)
			if err != nil {
				return err
			}
			next = []int32{j.Top(0).ID(0)}
		}
		return nil
	}()
	return err, b.Close()
}

// TestAllocationFails: whichever allocation fails, on the card or in pinned memory, the error says that memory ran out and
// what for, and everything is given back.
func TestAllocationFails(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute")
	}
	d, path := faulty(t)
	for _, call := range []string{"cuMemAlloc_v2", "cuMemHostAlloc", "cuStreamCreate", "cuGraphInstantiateWithFlags"} {
		failed := 0
		for n := 1; ; n++ {
			plan(t, d, fmt.Sprintf("%s:%d:2", call, n))
			err, closed := life(cuda.Options{Library: path, Loaders: 1})
			if closed != nil {
				t.Errorf("%s %d: close: %v", call, n, closed)
			}
			if l := d.Live(); l != 0 {
				t.Fatalf("%s %d (%v): %d things were not given back", call, n, err, l)
			}
			if err == nil {
				break
			}
			failed++
			if !errors.Is(err, backend.ErrMemory) || errors.Is(err, backend.ErrDeviceLost) || !strings.Contains(err.Error(), "cuda: ") {
				t.Errorf("%s %d: want an error that says what had no room, got %v", call, n, err)
			}
		}
		t.Logf("%s: failed %d times", call, failed)
		if failed == 0 {
			t.Errorf("%s: never called", call)
		}
	}
}

// TestKernelFaults: a fault ends the request with an error that says so, nothing hangs, and what follows on a new backend is
// well. With Serial the error names operation and layer.
func TestKernelFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute")
	}
	d, path := faulty(t)
	for _, c := range []struct {
		fault  string
		serial bool
		say    string
	}{
		{"attend_wide:2:700", false, "step, layer 1: cuda: operations of 40 rows, in the attention half"},
		{"matmul_f16_many:1:700", false, "step, layer 0: cuda: operations of 40 rows, in the feed-forward half"},
		{"attend_wide:2:700", true, "attend, layer 1"},
		{"route:1:700", true, "route, layer 0"},
		{"attend_tiles:9:719", false, "graph of 1 rows, in the attention half"},
		{"cuGraphLaunch:1:700", false, "graph"},
		{"cuMemcpyHtoDAsync_v2:60:214", false, ""},
		{"cuStreamSynchronize:4:999", false, ""},
	} {
		plan(t, d, c.fault)
		err, _ := life(cuda.Options{Library: path, Serial: c.serial}) // Close has nothing left to give back and may say so
		if !errors.Is(err, backend.ErrDeviceLost) || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: want a lost device and %q, got %v", c.fault, c.say, err)
		}
		if l := d.Live(); l != 0 {
			t.Errorf("%s: %d things were not given back", c.fault, l)
		}
		if err, closed := life(cuda.Options{Library: path}); err != nil || closed != nil {
			t.Fatalf("after %s: %v, %v", c.fault, err, closed)
		}
	}
}

// TestLaunchFails: a launch that is refused names operation and layer, and the next step runs.
func TestLaunchFails(t *testing.T) {
	d, path := faulty(t)
	s := newStory(t, synth.T1(), cuda.Options{Library: path}, false)
	prompt := synth.Prompt(512, 40)
	want := s.tell(s.seq(), prompt, 40, 0)[0]
	q := s.seq()
	plan(t, d, "cuLaunchKernelEx:20:1")
	_, err := q.Feed(context.Background(), prompt, 0, nil, nil)
	var op *backend.OpError
	if !errors.As(err, &op) || op.Layer < 0 || op.Op == "" {
		t.Fatalf("want an error that names operation and layer, got %v", err)
	}
	if got := s.tell(q, prompt, 40, 0)[0]; !slices.Equal(got, want) {
		t.Error("after a refused launch: other logits")
	}
}

// stopping cancels a context in the middle of a step.
type stopping struct {
	*cuda.Backend
	stop context.CancelFunc
	at   int32
}

func (s *stopping) Experts(a backend.ExpertsArgs) {
	s.Backend.Experts(a)
	if a.Layer == s.at {
		s.stop()
		time.Sleep(20 * time.Millisecond) // the step is told by another goroutine; a graph would be through before
	}
}

// TestCanceledInside: a step that is stopped between two of its layers leaves the sequence as it was, for prompts and for tokens.
func TestCanceledInside(t *testing.T) {
	_, path := faulty(t)
	tiny := synth.T1()
	f, err := tiny.File()
	if err != nil {
		t.Fatal(err)
	}
	lim := backend.Limits{CtxTokens: 256, Seqs: 2, Slots: 2 + model.SpareSlots, Rows: 40, Outs: 2, Tops: 2}
	b, err := cuda.New(tiny.Shape, lim, cuda.Options{Library: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	be := &stopping{b, func() {}, -1}
	w, err := model.Load(f, tiny.Shape, be, nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := model.New(be, w, tiny.Shape, lim, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &story{t, e}
	prompt := synth.Prompt(tiny.Shape.Vocab, 40)
	want := s.tell(s.seq(), prompt, 40, 3)
	q := s.seq()
	canceled := func(tokens []int32) {
		t.Helper()
		n := q.Len()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		be.stop, be.at = cancel, 1
		defer func() { be.at = -1 }()
		if _, err := q.Feed(ctx, tokens, 0, nil, nil); !errors.Is(err, backend.ErrCanceled) || q.Len() != n {
			t.Fatalf("want ErrCanceled and %d tokens kept, got %v and %d", n, err, q.Len())
		}
	}
	canceled(prompt)
	got := s.tell(q, prompt, 40, 0)
	for range 3 {
		last := got[len(got)-1]
		next := []int32{int32(slices.Index(last, slices.Max(last)))}
		canceled(next)
		got = append(got, s.run([]*model.Seq{q}, [][]int32{next})[0])
	}
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("step %d: other logits than undisturbed", i)
		}
	}
}
