package model_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/backend/probe"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// The contract of the seam's addressing: random steps that mix sequences, drafts that are rejected, cancelled steps,
// rewinds, snapshots and branches must give the logits that each sequence's tokens give when they are evaluated from
// nothing, bit for bit. The real rings, pages and operations run; caches start as NaN.

// forest is a set of token streams that share prefixes, with the reference logits of every position from trunk on.
type forest struct {
	streams [][]int32
	fork    []int // stream i shares the first fork[i] tokens with stream i−1
	trunk   int   // tokens that all streams share
	logits  [][][]float32

	pages [][]byte // the trunk's state, for other engines to import
	state []byte
}

const (
	trunkLen  = backend.PageTokens - 70 // streams cross the border of a page, and of a window of 128
	streamLen = backend.PageTokens + 90
)

var grown *forest

// grow makes the forest once: every stream is evaluated from nothing in chunks of 32 rows with all logits wanted.
func grow(t testing.TB) *forest {
	t.Helper()
	if grown != nil {
		return grown
	}
	rng := rand.New(rand.NewPCG(5, 6))
	f := &forest{trunk: trunkLen}
	tiny := synth.T0()
	e := engine(t, tiny, limits(streamLen, 2, 32), cpu.Options{})
	trunk := make([]int32, trunkLen)
	for i := range trunk {
		trunk[i] = int32(rng.IntN(tiny.Shape.Vocab))
	}
	q := newSeq(t, e)
	if _, err := q.Feed(context.Background(), trunk, 0, nil, nil); err != nil {
		t.Fatal(err)
	}
	root, err := q.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	q.Free()
	for i := range root.Pages() {
		f.pages = append(f.pages, make([]byte, model.PageBytes(tiny.Shape)))
		root.ReadPage(i, f.pages[i], nil)
	}
	f.state = root.State()
	for i := range 4 {
		fork, s := trunkLen, slices.Clone(trunk)
		if i > 0 {
			fork = trunkLen + rng.IntN(streamLen-trunkLen-40)
			s = slices.Clone(f.streams[i-1][:fork])
		}
		for len(s) < streamLen {
			s = append(s, int32(rng.IntN(tiny.Shape.Vocab)))
		}
		f.streams, f.fork = append(f.streams, s), append(f.fork, fork)
		f.logits = append(f.logits, reference(t, e, root, s))
	}
	grown = f
	return f
}

func newSeq(t testing.TB, e *model.Engine) *model.Seq {
	t.Helper()
	q, err := e.NewSeq()
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// reference is the logits of every position of s from the root on.
func reference(t testing.TB, e *model.Engine, root *model.Snapshot, s []int32) [][]float32 {
	t.Helper()
	q, err := e.Restore(root)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Free()
	out := make([][]float32, len(s))
	for at := root.Len(); at < len(s); at += 32 {
		jobs := []model.Job{{Seq: q, Tokens: s[at:min(len(s), at+32)]}}
		for i := range jobs[0].Tokens {
			jobs[0].Wants = append(jobs[0].Wants, model.Want{Row: i})
		}
		if err := e.Run(context.Background(), jobs); err != nil {
			t.Fatal(err)
		}
		for i := range jobs[0].Tokens {
			out[at+i] = jobs[0].Logits(nil, i)
		}
		jobs[0].Keep(len(jobs[0].Tokens))
	}
	return out
}

// walker is a live sequence that follows a stream.
type walker struct {
	q      *model.Seq
	stream int
}

// switchable lists the streams that agree with the first n tokens of stream i.
func (f *forest) switchable(i, n int) []int {
	var out []int
	for j := range f.streams {
		if slices.Equal(f.streams[i][:n], f.streams[j][:n]) {
			out = append(out, j)
		}
	}
	return out
}

// fault is a planted defect: the fuzz must find it.
type fault struct {
	name string
	wrap func(backend.Backend, model.Shape, model.Limits) backend.Backend
	each func(w *walker) // before each step
}

// mixer runs random actions and compares.
type mixer struct {
	t     *testing.T
	f     *forest
	rng   *rand.Rand
	e     *model.Engine
	probe *probe.Backend
	fault fault
	root  *model.Snapshot
	live  []*walker
	snaps []*model.Snapshot
	from  []int // stream of each snapshot
	bad   string

	steps, compared, rejected, canceled, rewinds, restores, branches int
}

func newMixer(t *testing.T, f *forest, seed uint64, fl fault) *mixer {
	t.Helper()
	m := &mixer{t: t, f: f, rng: rand.New(rand.NewPCG(seed, 9)), fault: fl}
	tiny := synth.T0()
	file, err := tiny.File()
	if err != nil {
		t.Fatal(err)
	}
	lim := limits(streamLen, 6, 160)
	var b backend.Backend
	if b, err = cpu.New(tiny.Shape, lim, cpu.Options{Poison: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	if fl.wrap != nil {
		b = fl.wrap(b, tiny.Shape, lim)
	}
	m.probe = probe.Wrap(b)
	w, err := model.Load(file, tiny.Shape, m.probe, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.e, err = model.New(m.probe, w, tiny.Shape, lim, model.Options{}); err != nil {
		t.Fatal(err)
	}
	m.root, err = m.e.Import(f.streams[0][:f.trunk], func(i int, dst []byte) error {
		copy(dst, f.pages[i])
		return nil
	}, f.state)
	if err != nil {
		t.Fatal(err)
	}
	q, err := m.e.Restore(m.root)
	if err != nil {
		t.Fatal(err)
	}
	m.live = []*walker{{q, 0}}
	return m
}

func (m *mixer) act() {
	switch k := m.rng.IntN(12); {
	case k == 0 && len(m.live) < 5:
		if q, err := m.e.Restore(m.root); err == nil {
			m.live = append(m.live, &walker{q, m.rng.IntN(len(m.f.streams))})
		}
	case k == 1 && len(m.live) > 0 && len(m.snaps) < 6:
		w := m.live[m.rng.IntN(len(m.live))]
		s, err := w.q.Snapshot()
		if err != nil {
			m.t.Fatal(err)
		}
		m.snaps, m.from = append(m.snaps, s), append(m.from, w.stream)
	case k == 2 && len(m.snaps) > 0 && len(m.live) < 5:
		i := m.rng.IntN(len(m.snaps))
		if q, err := m.e.Restore(m.snaps[i]); err == nil {
			m.live = append(m.live, &walker{q, m.pick(m.from[i], q.Len())})
			m.restores++
		}
	case k == 3 && len(m.live) > 0:
		w := m.live[m.rng.IntN(len(m.live))]
		n := w.q.Len() - m.rng.IntN(backend.Slack+1)
		if n >= m.f.trunk && w.q.Rewind(n) == nil {
			w.stream = m.pick(w.stream, n)
			m.rewinds++
		}
	case k == 4 && len(m.live) > 2:
		m.live[0].q.Free()
		m.live = m.live[1:]
	case k == 5 && len(m.snaps) > 3:
		m.snaps[0].Free()
		m.snaps, m.from = m.snaps[1:], m.from[1:]
	case k == 6 && len(m.live) > 0 && len(m.live) < 5:
		w := m.live[m.rng.IntN(len(m.live))]
		if q, err := w.q.Branch(); err == nil {
			m.live = append(m.live, &walker{q, m.pick(w.stream, q.Len())})
			m.branches++
		}
	default:
		m.step()
	}
}

func (m *mixer) pick(stream, n int) int {
	l := m.f.switchable(stream, n)
	return l[m.rng.IntN(len(l))]
}

// step evaluates something for some of the sequences: decodes, drafts, chunks; or is cancelled in the middle.
func (m *mixer) step() {
	var jobs []model.Job
	var who []*walker
	rows := 0
	for _, w := range m.live {
		n := []int{0, 1, 1, 2 + m.rng.IntN(backend.Slack), 18 + m.rng.IntN(40)}[m.rng.IntN(5)]
		if n = min(n, streamLen-w.q.Len(), 160-rows); n == 0 {
			continue
		}
		if m.fault.each != nil {
			m.fault.each(w)
		}
		j := model.Job{Seq: w.q, Tokens: m.f.streams[w.stream][w.q.Len():][:n]}
		for i := range n {
			if i == n-1 || m.rng.IntN(9) == 0 && len(j.Wants) < 4 {
				j.Wants = append(j.Wants, model.Want{Row: i})
			}
		}
		jobs, who, rows = append(jobs, j), append(who, w), rows+n
	}
	if len(jobs) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	at := -1
	if m.rng.IntN(8) == 0 {
		at = m.rng.IntN(40)
	}
	m.probe.Before = func(probe.Call) {
		if at--; at == -1 {
			cancel()
			<-ctx.Done()
		}
	}
	m.steps++
	if err := m.e.Run(ctx, jobs); err != nil {
		if !errors.Is(err, model.ErrCanceled) && !errors.Is(err, model.ErrNoSlots) && !errors.Is(err, model.ErrNoPages) {
			m.t.Fatal(err)
		}
		m.canceled++
		return
	}
	for i := range jobs {
		j, w := &jobs[i], who[i]
		n := w.q.Len()
		for k, want := range j.Wants {
			m.compare(j.Logits(nil, k), m.f.logits[w.stream][n+want.Row], n+want.Row)
		}
		keep := len(j.Tokens)
		if m.rng.IntN(2) == 0 {
			keep -= m.rng.IntN(min(keep, backend.Slack) + 1)
		}
		m.rejected += len(j.Tokens) - keep
		j.Keep(keep)
		w.stream = m.pick(w.stream, w.q.Len())
	}
}

func (m *mixer) compare(got, want []float32, pos int) {
	m.compared++
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			if m.bad == "" {
				m.bad = fmt.Sprintf("after %d steps, position %d: logit %d: want %v, got %v", m.steps, pos, i, want[i], got[i])
			}
			return
		}
	}
}

// done frees everything and looks for leaks.
func (m *mixer) done() {
	m.root.Free()
	for _, s := range m.snaps {
		if err := s.Wait(); err != nil {
			m.t.Error(err)
		}
		s.Free()
	}
	for _, w := range m.live {
		w.q.Free()
	}
	if p, s, i := m.e.Leaks(); p+s+i != 0 {
		m.t.Errorf("leaked %d pages, %d slots, %d sequences", p, s, i)
	}
}

func TestMixedSteps(t *testing.T) {
	f := grow(t)
	rounds, acts := 4, 150
	if testing.Short() {
		rounds, acts = 1, 60
	}
	for seed := range uint64(rounds) {
		m := newMixer(t, f, seed, fault{})
		for range acts {
			m.act()
			if m.bad != "" {
				t.Fatalf("seed %d: %s", seed, m.bad)
			}
		}
		m.done()
		t.Logf("seed %d: %d steps (%d cancelled), %d logit rows compared, %d rows rejected, %d rewinds, %d restores, %d branches",
			seed, m.steps, m.canceled, m.compared, m.rejected, m.rewinds, m.restores, m.branches)
	}
}

// TestPlantedFaults breaks one rule at a time and wants the fuzz to notice within the steps that it usually takes.
func TestPlantedFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("the full test looks for planted faults")
	}
	f := grow(t)
	for _, fl := range []fault{
		{name: "pages are not copied on write", wrap: func(b backend.Backend, s model.Shape, l model.Limits) backend.Backend {
			return &dropCopies{Backend: b, pages: model.PagePool(s, l)}
		}},
		{name: "a restored image lacks its newest raw row", wrap: func(b backend.Backend, s model.Shape, l model.Limits) backend.Backend {
			return &spoilImage{Backend: b, sh: s, slots: l.Slots}
		}},
		{name: "the page table is one write behind", wrap: func(b backend.Backend, _ model.Shape, l model.Limits) backend.Backend {
			return &lateTable{Backend: b, pending: map[int][]byte{}, rows: l.Seqs}
		}},
		{name: "long spans are stored in place of nothing", wrap: func(b backend.Backend, _ model.Shape, _ model.Limits) backend.Backend {
			return &sameSlot{Backend: b}
		}},
		{name: "shared pages are written in place", each: func(w *walker) { w.q.ForgetSharing() }},
		{name: "a rewind may go anywhere", each: func(w *walker) { w.q.ForgetHigh() }},
	} {
		t.Run(fl.name, func(t *testing.T) {
			for seed := range uint64(12) {
				m := newMixer(t, f, 100+seed, fl)
				if fl.each != nil && fl.name == "a rewind may go anywhere" {
					m.deepRewinds()
				}
				for range 120 {
					if m.act(); m.bad != "" {
						return
					}
				}
			}
			t.Error("not noticed")
		})
	}
}

// deepRewinds rewinds a sequence further than its rings reach, which the engine refuses unless it forgot how far it wrote.
func (m *mixer) deepRewinds() {
	w := m.live[0]
	w.q.Free()
	q, err := m.e.Restore(m.root)
	if err != nil {
		m.t.Fatal(err)
	}
	w.q, w.stream = q, 0
	n := q.Len()
	for at := n; at < n+60; at += 15 {
		if _, err := q.Feed(context.Background(), m.f.streams[0][at:at+15], 0, nil, nil); err != nil {
			m.t.Fatal(err)
		}
	}
	if q.Rewind(n+5) == nil {
		m.t.Fatal("a rewind of 55 tokens was allowed")
	}
	q.ForgetHigh()
	for q.Len() > n+5 {
		q.ForgetHigh()
		if err := q.Rewind(max(n+5, q.Len()-backend.Slack)); err != nil {
			m.t.Fatal(err)
		}
	}
}

// dropCopies loses copies of pages.
type dropCopies struct {
	backend.Backend
	pages int
}

func (d *dropCopies) Copy(dst backend.Buf, dstRow int, src backend.Buf, srcRow int) {
	if int(dst.Rows) != d.pages {
		d.Backend.Copy(dst, dstRow, src, srcRow)
	}
}

// spoilImage damages one raw row of every image that is written to a slot.
type spoilImage struct {
	backend.Backend
	sh    model.Shape
	slots int
}

func (s *spoilImage) Write(dst backend.Buf, row int, p []byte) {
	if int(dst.Rows) == s.slots && len(p) > 1<<16 {
		p = slices.Clone(p)
		clear(p[(trunkLen-1)%s.sh.RawRing()*s.sh.KVRowBytes():][:s.sh.KVRowBytes()])
	}
	s.Backend.Write(dst, row, p)
}

// lateTable keeps back every second write of a table row.
type lateTable struct {
	backend.Backend
	pending map[int][]byte
	rows    int
}

func (l *lateTable) Write(dst backend.Buf, row int, p []byte) {
	if int(dst.Rows) == l.rows && len(p) <= 64 {
		old := l.pending[row]
		l.pending[row] = slices.Clone(p)
		if old != nil && binary.LittleEndian.Uint32(old) != binary.LittleEndian.Uint32(p) {
			p = old
		}
	}
	l.Backend.Write(dst, row, p)
}

// sameSlot reads the rings of a long span from the slot that it writes.
type sameSlot struct{ backend.Backend }

func (s *sameSlot) Begin(st *backend.Step) {
	c := *st
	c.Spans = slices.Clone(st.Spans)
	for i := range c.Spans {
		if p := &c.Spans[i]; p.Slot != p.Into && p.Pos > 0 {
			p.Slot, p.Into = p.Into, p.Slot
		}
	}
	s.Backend.Begin(&c)
}
