package backendtest

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// Config says what to test. The zero value of everything but New is a full test.
type Config struct {
	New func(backend.Shape, backend.Limits) (backend.Backend, error)

	Models []synth.Tiny // default: T1, T1-q4, T1 with MXFP4 experts, T2
	Rows   []int        // default: 1, 2, 17, 33, 512
	Ops    []string     // default: all

	// Bound overrides an operation's default bound for a backend with another activation policy: the greatest root mean
	// square error over a row, relative to the row's own root mean square. 0 keeps the default.
	Bound func(op string, rows int) float64
	// Report, if not nil, is told the worst error met of each operation and output.
	Report func(model, op, output string, rows int, worst float64)
	// Oracle is the variant of package cpu to compare with; default "generic", the plain loops.
	Oracle string
	// SkipRowLaw leaves the comparison with rows alone out, for stand-ins that are too slow for it.
	SkipRowLaw bool
}

// Run runs the suite.
func Run(t *testing.T, c Config) {
	if c.Models == nil {
		c.Models = []synth.Tiny{synth.T1(), synth.T1Q4(), synth.T1MXFP4(), synth.T2()}
	}
	if c.Rows == nil {
		c.Rows = []int{1, 2, 17, 33, 512}
	}
	if c.Oracle == "" {
		c.Oracle = "generic"
	}
	for _, m := range c.Models {
		t.Run(m.Name, func(t *testing.T) {
			f, err := m.File()
			if err != nil {
				t.Fatal(err)
			}
			lim := limitsFor(slices.Max(c.Rows))
			got := newRig(t, f, m.Shape, lim, func() (backend.Backend, error) { return c.New(m.Shape, lim) })
			want := newRig(t, f, m.Shape, lim, func() (backend.Backend, error) {
				return cpu.New(m.Shape, lim, cpu.Options{Variant: c.Oracle})
			})
			for _, op := range operations {
				if len(c.Ops) > 0 && !slices.Contains(c.Ops, op.name) {
					continue
				}
				t.Run(op.name, func(t *testing.T) { c.operation(t, m, op, got, want) })
			}
		})
	}
}

// field is a buffer that an operation reads or writes.
type field struct {
	name  string
	gen   func(g *gen, p []byte) // inputs: fills one row
	bound float64                // outputs: default bound
	outs  bool                   // one row per output row, not per row
	tops  bool                   // one row per Top query
	cmp   func(x *comparison, got, want []byte) float64
}

// operation is one method of the seam as the suite drives it.
type operation struct {
	name   string
	layers func(s *backend.Shape) []int // −1: outside the layers
	in     []field
	out    []field
	state  bool                  // reads or writes slots and pages
	adjust func(s *backend.Step) // sets what an operation needs of the rows
	run    func(r *rig, il int)
}

// operations are in the order of the layer; each lives in the file of its name.
var operations = []operation{embed, hcPre, attnQKV, compress, indexTopK, attend, attnOut, hcPost, route, experts, sharedExpert, hcHead, logits, top, draftJoin}

// comparison is what a field's cmp knows of the case.
type comparison struct {
	sh  *backend.Shape
	row backend.Row
	il  int
}

func (c *Config) operation(t *testing.T, m synth.Tiny, op operation, got, want *rig) {
	layers := op.layers(&m.Shape)
	for _, n := range c.Rows {
		for _, il := range layers {
			name := fmt.Sprintf("rows=%d", n)
			if il >= 0 {
				name += fmt.Sprintf("/layer=%d", il)
			}
			t.Run(name, func(t *testing.T) {
				s := stepFor(&m.Shape, n)
				if op.adjust != nil {
					op.adjust(s)
				}
				seed := uint64(n*1000 + il)
				got.prepare(op, s, seed)
				want.prepare(op, s, seed)
				got.step(t, op, s, il)
				want.step(t, op, s, il)
				c.compare(t, m, op, s, il, got, want)
				if !c.SkipRowLaw && n > 1 {
					got.rowLaw(t, op, s, il, seed)
				}
			})
		}
	}
}

// compare checks outputs against the oracle's, guard rows, and state.
func (c *Config) compare(t *testing.T, m synth.Tiny, op operation, s *backend.Step, il int, got, want *rig) {
	t.Helper()
	for _, f := range op.out {
		bound := f.bound
		if c.Bound != nil {
			if b := c.Bound(op.name, len(s.Rows)); b > 0 && bound > 0 {
				bound = b
			}
		}
		worst := 0.0
		for i := range f.count(s) {
			x := &comparison{sh: &m.Shape, il: il}
			if !f.outs && !f.tops {
				x.row = s.Rows[i]
			}
			e := f.compare(x, got.read(f.name, i), want.read(f.name, i))
			if e > bound || math.IsNaN(e) {
				t.Fatalf("%s, row %d: want an error of at most %.3g, got %.3g", f.name, i, bound, e)
			}
			worst = max(worst, e)
		}
		if c.Report != nil {
			c.Report(m.Name, op.name, f.name, len(s.Rows), worst)
		}
		if n := f.count(s); n < int(got.bufs[f.name].Rows) {
			if p := got.read(f.name, n); !untouched(p) {
				t.Fatalf("%s: row %d lies past the step's rows and was written", f.name, n)
			}
		}
	}
	if op.state {
		compareState(t, s, il, got, want)
	}
}

func (f *field) count(s *backend.Step) int {
	switch {
	case f.outs:
		return len(s.Outs)
	case f.tops:
		return len(s.Tops)
	}
	return len(s.Rows)
}

func (f *field) compare(x *comparison, got, want []byte) float64 {
	if f.cmp != nil {
		return f.cmp(x, got, want)
	}
	return rmsError(floats(got), floats(want))
}

// rowLaw runs every span of the step alone, and every row of a stateless operation alone, and wants the same bits.
func (r *rig) rowLaw(t *testing.T, op operation, s *backend.Step, il int, seed uint64) {
	t.Helper()
	all := map[string][][]byte{}
	for _, f := range op.out {
		for i := range f.count(s) {
			all[f.name] = append(all[f.name], r.read(f.name, i))
		}
	}
	for _, part := range alone(s, op.state) {
		if op.adjust != nil {
			op.adjust(part.step)
		}
		r.prepareRows(op, part.step, seed, part.rows)
		r.step(t, op, part.step, il)
		for _, f := range op.out {
			for i, at := range part.index(&f) {
				if p := r.read(f.name, i); !slices.Equal(p, all[f.name][at]) {
					t.Fatalf("%s: row %d differs from the same row in a step of %d", f.name, at, len(s.Rows))
				}
			}
		}
	}
}

// every is a layers function: one layer of each kind.
func every(s *backend.Shape) []int { return kinds(s, func(int) bool { return true }) }

// outside is the layers function of operations outside the layers.
func outside(*backend.Shape) []int { return []int{-1} }

// kinds is the first layer of each kind (ratio, routing) that keep accepts.
func kinds(s *backend.Shape, keep func(il int) bool) []int {
	seen, out := map[[2]int]bool{}, []int(nil)
	for il := range s.Layers {
		k := [2]int{s.Ratio[il], 0}
		if il < s.Hash {
			k[1] = 1
		}
		if keep(il) && !seen[k] {
			seen[k] = true
			out = append(out, il)
		}
	}
	return out
}
