package backendtest

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
)

const (
	seqs  = 4
	spare = 2
	ctx   = 3 * backend.PageTokens
)

func limitsFor(rows int) backend.Limits {
	rows = max(rows, 8)
	return backend.Limits{CtxTokens: ctx, Seqs: seqs, Slots: seqs + spare, Rows: rows, Outs: min(rows, 40), Tops: 8}
}

// rig is one backend with a model's weights and the buffers that operations hand each other.
type rig struct {
	b     backend.Backend
	sh    backend.Shape
	w     *model.Weights
	draft backend.DraftJoinArgs
	bufs  map[string]backend.Buf
	state backend.State

	slots, pages [][]byte // what fillState writes
}

func newRig(t *testing.T, f *gguf.File, sh backend.Shape, lim backend.Limits, open func() (backend.Backend, error)) *rig {
	t.Helper()
	b, err := open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{b: b, sh: sh, bufs: map[string]backend.Buf{}}
	if r.w, err = model.Load(f, sh, b, nil); err != nil {
		t.Fatal(err)
	}
	part := func(e backend.Elem, rows, cols int) backend.Part {
		return backend.Part{Type: e, Rows: int32(rows), Cols: int32(cols)}
	}
	pages := seqs * lim.TablePages()
	for _, u := range []struct {
		name string
		rows int
		part []backend.Part
	}{
		{"slots", lim.Slots, sh.SlotParts()},
		{"pages", pages, sh.PageParts()},
		{"table", seqs, []backend.Part{part(backend.I32, 1, lim.TablePages())}},
		{"given", lim.Rows, []backend.Part{part(backend.F32, 1, sh.Embd)}},
		{"hc", lim.Rows, []backend.Part{part(backend.F32, backend.Streams, sh.Embd)}},
		{"tap", lim.Rows, []backend.Part{part(backend.F32, backend.Streams, sh.Embd)}},
		{"x", lim.Rows, []backend.Part{part(backend.F32, 1, sh.Embd)}},
		{"mix", lim.Rows, []backend.Part{part(backend.F32, 1, backend.MixWidth)}},
		{"qlat", lim.Rows, []backend.Part{part(backend.F32, 1, sh.QRank)}},
		{"q", lim.Rows, []backend.Part{part(backend.F32, sh.Heads, sh.HeadDim)}},
		{"kv", lim.Rows, []backend.Part{part(backend.U8, 1, sh.KVRowBytes())}},
		{"sel", lim.Rows, []backend.Part{part(backend.I32, 1, sh.TopK)}},
		{"o", lim.Rows, []backend.Part{part(backend.F32, sh.Heads, sh.HeadDim)}},
		{"y", lim.Rows, []backend.Part{part(backend.F32, 1, sh.Embd)}},
		{"ids", lim.Rows, []backend.Part{part(backend.I32, 1, sh.ActiveExps)}},
		{"weights", lim.Rows, []backend.Part{part(backend.F32, 1, sh.ActiveExps)}},
		{"h", lim.Rows, []backend.Part{part(backend.F32, sh.ActiveExps, sh.ExpertDim)}},
		{"out_x", lim.Outs, []backend.Part{part(backend.F32, 1, sh.Embd)}},
		{"logits", lim.Outs, []backend.Part{part(backend.F32, 1, sh.Vocab)}},
		{"masks", lim.Tops, []backend.Part{part(backend.I32, 1, (sh.Vocab+31)/32)}},
		{"top", lim.Tops, []backend.Part{part(backend.U8, 1, backend.TopBytes)}},
	} {
		buf, err := b.Alloc(u.name, u.rows, u.part...)
		if err != nil {
			t.Fatal(err)
		}
		r.bufs[u.name] = buf
	}
	r.state = backend.State{Slots: r.bufs["slots"], Pages: r.bufs["pages"], Table: r.bufs["table"]}
	r.bindDraft(t)
	return r
}

// read is a copy of one row of a buffer.
func (r *rig) read(name string, row int) []byte {
	u := r.bufs[name]
	p := make([]byte, u.RowBytes)
	r.b.Read(p, u, row, nil)
	return p
}

// prepare injects the inputs of all rows, poisons the outputs, and fills the state.
func (r *rig) prepare(op operation, s *backend.Step, seed uint64) {
	rows := make([]int, len(s.Rows))
	for i := range rows {
		rows[i] = i
	}
	r.prepareRows(op, s, seed, rows)
}

// prepareRows does so for a step whose row i has the inputs of row rows[i] of the whole step.
func (r *rig) prepareRows(op operation, s *backend.Step, seed uint64, rows []int) {
	for _, f := range op.out {
		u := r.bufs[f.name]
		bad := make([]byte, u.RowBytes)
		poison(bad)
		for i := range min(int(u.Rows), f.count(s)+1) {
			r.b.Write(u, i, bad)
		}
	}
	for _, f := range op.in {
		u := r.bufs[f.name]
		p := make([]byte, u.RowBytes)
		for i := range f.count(s) {
			at, row := i, backend.Row{}
			if !f.outs && !f.tops {
				at, row = rows[i], s.Rows[i]
			}
			g := newGen(seed, f.name, at)
			g.sh, g.row = &r.sh, row
			f.gen(g, p)
			r.b.Write(u, i, p)
		}
	}
	if op.state {
		r.fillState()
	}
}

// fillState writes rings, pages and tables.
func (r *rig) fillState() {
	if r.slots == nil {
		r.makeState()
	}
	for i, p := range r.slots {
		r.b.Write(r.state.Slots, i, p)
	}
	for i, p := range r.pages {
		r.b.Write(r.state.Pages, i, p)
	}
	n := int(r.state.Table.RowBytes) / 4
	for q := range seqs {
		row := make([]byte, 4*n)
		for i := range n {
			binary.LittleEndian.PutUint32(row[4*i:], uint32(pageOf(q, i)))
		}
		r.b.Write(r.state.Table, q, row)
	}
}

// makeState makes rings and pages that any layer may read: valid packed rows, plain floats.
func (r *rig) makeState() {
	for i := range int(r.state.Slots.Rows) {
		slot := make([]byte, r.state.Slots.RowBytes)
		g, at := newGen(1, "slot", i), 0
		g.sh = &r.sh
		for il := range r.sh.Layers + 1 {
			raw := r.sh.RawRing() * r.sh.KVRowBytes()
			g.kvRows(slot[at:at+raw], raw/r.sh.KVRowBytes())
			n := r.sh.SlotPartBytes(il)
			normal(g, slot[at+raw:at+n])
			at += n
		}
		r.slots = append(r.slots, slot)
	}
	for i := range int(r.state.Pages.Rows) {
		page := make([]byte, r.state.Pages.RowBytes)
		g, at := newGen(1, "page", i), 0
		g.sh = &r.sh
		for il := range r.sh.Layers {
			g.pagePart(page[at:at+r.sh.PagePartBytes(il)], il)
			at += r.sh.PagePartBytes(il)
		}
		r.pages = append(r.pages, page)
	}
}

// pageOf scatters the pages of sequences over the pool.
func pageOf(seq, i int) int { return i*seqs + (seq*3+i)%seqs }

func (r *rig) step(t *testing.T, op operation, s *backend.Step, il int) {
	t.Helper()
	r.b.Begin(s)
	op.run(r, il)
	if err := r.b.Wait(); err != nil {
		t.Fatal(err)
	}
}

// gen makes inputs: the same for a row wherever it stands in a step.
type gen struct {
	*rand.Rand
	sh  *backend.Shape
	row backend.Row
}

func newGen(seed uint64, name string, row int) *gen {
	h := uint64(14695981039346656037)
	for _, c := range []byte(name) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return &gen{Rand: rand.New(rand.NewPCG(seed, h+uint64(row)))}
}

// normal fills p with normally distributed f32.
func normal(g *gen, p []byte) {
	for i := range floats(p) {
		floats(p)[i] = float32(g.NormFloat64())
	}
}

// scaled is normal times a factor.
func scaled(f float32) func(*gen, []byte) {
	return func(g *gen, p []byte) {
		normal(g, p)
		for i := range floats(p) {
			floats(p)[i] *= f
		}
	}
}

// kvRows fills p with n valid packed KV rows.
func (g *gen) kvRows(p []byte, n int) {
	size, nope := g.sh.KVRowBytes(), g.sh.HeadDim-g.sh.RopeDim
	for i := range n {
		row := p[i*size : (i+1)*size]
		clear(row)
		for j := range nope {
			row[j] = byte(g.IntN(0x60)) | byte(g.IntN(2))<<7
		}
		for j := range g.sh.RopeDim {
			binary.LittleEndian.PutUint16(row[nope+2*j:], gguf.Float32ToFloat16(float32(g.NormFloat64())))
		}
		for j := range nope / backend.FP8Block {
			row[g.sh.KVExpOffset()+j] = byte(int8(g.IntN(4) - 6))
		}
	}
}

// pagePart fills one layer's part of a page.
func (g *gen) pagePart(p []byte, il int) {
	rows := g.sh.PageRows(il)
	g.kvRows(p, rows)
	if !g.sh.Indexed(il) {
		return
	}
	for i := g.sh.PageIndexOffset(il); i < g.sh.PageIndexExpOffset(il); i++ {
		p[i] = byte(g.IntN(256))
	}
	for i := g.sh.PageIndexExpOffset(il); i < len(p); i++ {
		p[i] = byte(int8(g.IntN(4) - 3))
	}
}

// poison is a pattern that reads as NaN in every float type.
func poison(p []byte) {
	for i := range p {
		p[i] = 0xff
	}
}

func untouched(p []byte) bool { return !slices.ContainsFunc(p, func(c byte) bool { return c != 0xff }) }

func floats(p []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(p))), len(p)/4)
}

func ints(p []byte) []int32 {
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(p))), len(p)/4)
}

// rmsError is the root mean square of the differences over that of want. Anything that is not finite is an infinite error.
func rmsError(got, want []float32) float64 {
	d, w := 0.0, 0.0
	for i := range want {
		e := float64(got[i]) - float64(want[i])
		d += e * e
		w += float64(want[i]) * float64(want[i])
	}
	switch {
	case math.IsNaN(d) || math.IsInf(d, 0) || math.IsNaN(w):
		return math.Inf(1)
	case d == 0:
		return 0
	case w == 0:
		return math.Inf(1)
	}
	return math.Sqrt(d / w)
}
