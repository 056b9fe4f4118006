package cuda_test

import (
	"cmp"
	"context"
	"os"
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/cuda"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// looking reads something after operations that leave work to the next one, so that each is launched on its own.
type looking struct{ *cuda.Backend }

func (l looking) look(u backend.Buf) { l.Read(make([]byte, 4), u, 0, nil) }

func (l looking) AttnQKV(a backend.AttnQKVArgs)           { l.Backend.AttnQKV(a); l.look(a.Q) }
func (l looking) Compress(a backend.CompressArgs)         { l.Backend.Compress(a); l.look(a.X) }
func (l looking) AttnOut(a backend.AttnOutArgs)           { l.Backend.AttnOut(a); l.look(a.Y) }
func (l looking) HCPost(a backend.HCPostArgs)             { l.Backend.HCPost(a); l.look(a.HC) }
func (l looking) Experts(a backend.ExpertsArgs)           { l.Backend.Experts(a); l.look(a.Y) }
func (l looking) SharedExpert(a backend.SharedExpertArgs) { l.Backend.SharedExpert(a); l.look(a.Y) }

// story is an engine on one kind of backend.
type story struct {
	t *testing.T
	e *model.Engine
}

func newStory(t *testing.T, m synth.Tiny, opt cuda.Options, look bool) *story {
	t.Helper()
	f, err := m.File()
	if err != nil {
		t.Fatal(err)
	}
	lim := backend.Limits{CtxTokens: 1024, Seqs: 4, Slots: 4 + model.SpareSlots, Rows: 256, Outs: 8, Tops: 8}
	opt.Library = cmp.Or(opt.Library, os.Getenv("DS4_CUDA_LIBRARY"))
	if opt.Join == nil {
		opt.Join = options().Join
	}
	b, err := cuda.New(m.Shape, lim, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	var be backend.Backend = b
	if look {
		be = looking{b}
	}
	w, err := model.Load(f, m.Shape, be, nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := model.New(be, w, m.Shape, lim, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &story{t, e}
}

func (s *story) seq() *model.Seq {
	s.t.Helper()
	q, err := s.e.NewSeq()
	if err != nil {
		s.t.Fatal(err)
	}
	return q
}

// run evaluates tokens of each sequence and returns the last rows' logits.
func (s *story) run(q []*model.Seq, tokens [][]int32) [][]float32 {
	s.t.Helper()
	jobs := make([]model.Job, len(q))
	for i := range q {
		jobs[i] = model.Job{Seq: q[i], Tokens: tokens[i], Wants: []model.Want{{Row: len(tokens[i]) - 1}}}
	}
	if err := s.e.Run(context.Background(), jobs); err != nil {
		s.t.Fatal(err)
	}
	var out [][]float32
	for i := range jobs {
		out = append(out, jobs[i].Logits(nil, 0))
		jobs[i].Keep(len(tokens[i]))
	}
	return out
}

// tell prefills in chunks and then decodes greedily; it returns all logits on the way.
func (s *story) tell(q *model.Seq, prompt []int32, chunk, steps int) [][]float32 {
	s.t.Helper()
	var out [][]float32
	for at := 0; at < len(prompt); at += chunk {
		l := s.run([]*model.Seq{q}, [][]int32{prompt[at:min(len(prompt), at+chunk)]})
		if at+chunk >= len(prompt) {
			out = append(out, l[0])
		}
	}
	for range steps {
		last := out[len(out)-1]
		out = append(out, s.run([]*model.Seq{q}, [][]int32{{int32(slices.Index(last, slices.Max(last)))}})[0])
	}
	return out
}

// TestPaths: the same text by every path has the same bits.
func TestPaths(t *testing.T) {
	needCard(t)
	m := synth.T1()
	steps, long := 9, 150
	if simulated() {
		steps, long = 3, 40
	}
	prompt := synth.Prompt(m.Shape.Vocab, long)
	base := newStory(t, m, cuda.Options{}, false)
	want := base.tell(base.seq(), prompt, 256, steps)
	same := func(t *testing.T, got [][]float32) {
		t.Helper()
		for i := range want {
			if !slices.Equal(got[i], want[i]) {
				t.Fatalf("step %d: logits differ", i)
			}
		}
	}
	chunks := []int{1, 5, 16, 64, 149}
	if simulated() {
		chunks = []int{16}
	}
	for _, chunk := range chunks {
		q := base.seq()
		same(t, base.tell(q, prompt, chunk, steps))
		q.Free()
	}
	t.Run("launches", func(t *testing.T) {
		s := newStory(t, m, cuda.Options{NoGraphs: true}, false)
		same(t, s.tell(s.seq(), prompt, 70, steps))
	})
	t.Run("small card", func(t *testing.T) {
		s := newStory(t, m, cuda.Options{SharedBytes: 99 << 10}, false)
		same(t, s.tell(s.seq(), prompt, 150, steps))
	})
	t.Run("alone", func(t *testing.T) {
		s := newStory(t, m, cuda.Options{}, true)
		same(t, s.tell(s.seq(), prompt, 150, steps))
	})
	for name, join := range map[string][]string{"front": {"front"}, "plain": {}} {
		t.Run(name, func(t *testing.T) {
			s := newStory(t, m, cuda.Options{Join: join}, false)
			q, other := s.seq(), s.seq()
			got := s.tell(q, prompt, 150, steps-1)
			last := got[len(got)-1]
			next := int32(slices.Index(last, slices.Max(last)))
			same(t, append(got, s.run([]*model.Seq{other, q}, [][]int32{{7}, {next}})[1])) // two rows
		})
	}
	t.Run("restored", func(t *testing.T) {
		q := base.seq()
		base.tell(q, prompt[:long-1], long-1, 0)
		snap, err := q.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		q.Free()
		r, err := base.e.Restore(snap)
		if err != nil {
			t.Fatal(err)
		}
		same(t, base.tell(r, prompt[long-1:], 1, steps))
		r.Free()
		snap.Free()
	})
	t.Run("beside others", func(t *testing.T) {
		q, other := base.seq(), base.seq()
		got := base.run([]*model.Seq{other, q}, [][]int32{synth.Prompt(m.Shape.Vocab, 60), prompt})[1:]
		for range steps {
			last := got[len(got)-1]
			next := int32(slices.Index(last, slices.Max(last)))
			got = append(got, base.run([]*model.Seq{other, q}, [][]int32{{7}, {next}})[1])
		}
		same(t, got)
	})
}

// TestCanceled: a stopped step leaves the sequence as it was.
func TestCanceled(t *testing.T) {
	needCard(t)
	s := newStory(t, synth.T1(), cuda.Options{}, false)
	prompt := synth.Prompt(512, 40)
	want := s.tell(s.seq(), prompt, 40, 0)[0]
	q := s.seq()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.e.Run(ctx, []model.Job{{Seq: q, Tokens: prompt}}); err == nil {
		t.Fatal("want an error")
	}
	if got := s.tell(q, prompt, 40, 0)[0]; !slices.Equal(got, want) {
		t.Fatal("logits differ after a canceled step")
	}
}
