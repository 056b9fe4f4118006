package cuda

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"unsafe"

	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// indexRig is random queries and cached rows of two sequences.
type indexRig struct {
	t       *testing.T
	b       *Backend
	step    backend.Step
	score   indexScoreArgs
	visible []int
	stride  int
}

const (
	indexRigHeads    = 60
	indexRigPageRows = 64
	indexRigRatio    = 4
)

func newIndexRig(t *testing.T, tokens [2]int, rows []int32, topk int) *indexRig {
	t.Helper()
	b, err := New(synth.T1().Shape, backend.Limits{CtxTokens: 64, Seqs: 1, Slots: 1, Rows: 8, Outs: 1, Tops: 1}, Options{Library: os.Getenv("DS4_CUDA_LIBRARY")})
	switch {
	case errors.Is(err, backend.ErrUnsupported) && os.Getenv("DS4_CUDA") != "require":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	b.enter()
	t.Cleanup(func() {
		b.leave()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &indexRig{t: t, b: b, stride: (max(tokens[0], tokens[1]))/indexRigRatio + 1}
	at := int32(0)
	for q, n := range rows {
		pos := int32(tokens[q]) - n
		r.step.Spans = append(r.step.Spans, backend.Span{Seq: int32(q), Pos: pos, Row: at, Rows: n})
		for i := range n {
			r.step.Rows = append(r.step.Rows, backend.Row{Pos: pos + i, Span: int32(q)})
			r.visible = append(r.visible, int(pos+i+1)/indexRigRatio)
		}
		at += n
	}
	rng := rand.New(rand.NewPCG(3, 4))
	n := len(r.step.Rows)
	codes, scale, weights := make([]byte, n*indexRigHeads*128), make([]float32, n*indexRigHeads*4), make([]float32, n*indexRigHeads)
	for i := range codes {
		codes[i] = byte([]int8{0, 1, 2, 3, 4, 6, 8, 12, -1, -2, -3, -4, -6, -8, -12, 0}[rng.IntN(16)])
	}
	for i := range scale {
		scale[i] = float32(math.Ldexp(1, rng.IntN(9)-6))
	}
	for i := range weights {
		weights[i] = float32(rng.NormFloat64())
	}
	pages := (r.stride + indexRigPageRows - 1) / indexRigPageRows
	pageBytes := indexRigPageRows * (64 + 4)
	table, cache := make([]int32, 2*pages), make([]byte, 2*pages*pageBytes)
	for i, p := range rng.Perm(len(table)) {
		table[i] = int32(p)
	}
	for i := range cache {
		if cache[i] = byte(rng.Uint32()); i%pageBytes >= indexRigPageRows*64 {
			cache[i] = byte(int8(rng.IntN(9) - 6)) // exponents
		}
	}
	r.score = indexScoreArgs{step: put(r, b.encode(&r.step)), codes: put(r, codes), scale: put(r, scale), weights: put(r, weights),
		st: stateArgs{pages: put(r, cache), table: put(r, table), pageStride: uint64(pageBytes), tableStride: int32(pages), ratio: indexRigRatio,
			pageRows: indexRigPageRows, indexExpAt: indexRigPageRows * 64},
		heads: indexRigHeads, topk: int32(topk), rows: int32(n), stride: int32(r.stride), weightScale: 0.011}
	return r
}

// put uploads to memory that the backend frees when it ends.
func put[T any](r *indexRig, v []T) addr {
	r.t.Helper()
	p := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(v[0])))
	a, err := r.b.d.Alloc(int64(len(p)))
	if err == nil {
		r.b.scr.all = append(r.b.scr.all, a)
		err = r.b.d.ToDevice(a, p, r.b.stream)
	}
	if err == nil {
		err = r.b.d.Sync(r.b.stream)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

func take[T any](r *indexRig, v []T, a addr) []T {
	r.t.Helper()
	p := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(v[0])))
	err := r.b.err
	if err == nil {
		err = r.b.d.ToHost(p, a, r.b.stream)
	}
	if err == nil {
		err = r.b.d.Sync(r.b.stream)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

// scores runs one of the two kernels; what it does not write is NaN.
func (r *indexRig) scores(k kernel, x, y, threads int) []float32 {
	r.t.Helper()
	out := slices.Repeat([]float32{float32(math.NaN())}, len(r.visible)*r.stride)
	r.score.scores = put(r, out)
	launch(r.b, k, x, y, 1, threads, 0, r.score)
	return take(r, out, r.score.scores)
}

// TestIndexScores: many tokens have the bits of few, whatever their sequences and however the blocks share the rows; and they
// are what the sums should be.
func TestIndexScores(t *testing.T) {
	r := newIndexRig(t, [2]int{1300, 900}, []int32{17, 12}, 229)
	few := r.scores(kIndexScores, 3, len(r.visible), 256)
	for _, x := range []int{1, 2} {
		many := r.scores(kIndexScoresMany, x, (len(r.visible)+indexTokens-1)/indexTokens, 32*indexTokens)
		for i := range few {
			if math.Float32bits(few[i]) != math.Float32bits(many[i]) {
				t.Fatalf("%d blocks a group: score %d of row %d: want %g, got %g", x, i%r.stride, i/r.stride, few[i], many[i])
			}
		}
	}
	for row, visible := range r.visible {
		for c := range r.stride {
			switch v, written := few[row*r.stride+c], c < visible && visible > int(r.score.topk); {
			case written == math.IsNaN(float64(v)):
				t.Fatalf("score %d of row %d: want one up to %d, got %g", c, row, visible, v)
			case written && c%37 == 0 && math.Abs(float64(v)-r.want(row, c)) > 1e-4*(1+math.Abs(float64(v))):
				t.Fatalf("score %d of row %d: want %g, got %g", c, row, r.want(row, c), v)
			}
		}
	}
}

// want is a score in f64.
func (r *indexRig) want(row, c int) float64 {
	s, st := &r.score, &r.score.st
	seq := r.step.Spans[r.step.Rows[row].Span].Seq
	page := take(r, make([]int32, 1), st.table+addr(4*(int(seq)*int(st.tableStride)+c/indexRigPageRows)))[0]
	base := st.pages + addr(int(page)*int(st.pageStride))
	code := take(r, make([]byte, 64), base+addr(64*(c%indexRigPageRows)))
	exps := take(r, make([]int8, 4), base+addr(64*indexRigPageRows+4*(c%indexRigPageRows)))
	q := take(r, make([]int8, indexRigHeads*128), s.codes+addr(row*indexRigHeads*128))
	scale := take(r, make([]float32, indexRigHeads*4), s.scale+addr(16*row*indexRigHeads))
	weights := take(r, make([]float32, indexRigHeads), s.weights+addr(4*row*indexRigHeads))
	total := 0.0
	for h := range indexRigHeads {
		dot := 0.0
		for j := range 4 {
			sum := 0
			for e := range 32 {
				v := int(code[16*j+e/2]>>(4*(e%2))) & 15
				k := []int{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}[v]
				sum += k * int(q[h*128+32*j+e])
			}
			dot += float64(sum) * math.Ldexp(float64(scale[4*h+j]), int(exps[j])-1)
		}
		total += max(0, dot) * float64(weights[h]) * float64(s.weightScale)
	}
	return total
}

// TestIndexSelect: the selection is that of a sort, with many equal scores, and with more scores than threads keep.
func TestIndexSelect(t *testing.T) {
	for _, tokens := range []int{4 * 700, 4 * 70001} {
		r := newIndexRig(t, [2]int{tokens, 0}, []int32{2}, 512)
		rng := rand.New(rand.NewPCG(5, 6))
		scores := make([]float32, 2*r.stride)
		for i := range scores {
			scores[i] = float32(math.Round(rng.NormFloat64()*2000) / 1000)
		}
		topk := 512
		sel := put(r, make([]int32, 2*topk))
		launch(r.b, kIndexSelect, 2, 1, 1, 1024, 0, indexSelectArgs{step: r.score.step, scores: put(r, scores), sel: sel, topk: int32(topk), rows: 2,
			stride: int32(r.stride), ratio: indexRigRatio})
		got := take(r, make([]int32, 2*topk), sel)
		for row, visible := range r.visible {
			all := make([]int32, visible)
			for i := range all {
				all[i] = int32(i)
			}
			s := scores[row*r.stride:]
			slices.SortStableFunc(all, func(i, j int32) int {
				switch {
				case s[i] > s[j]:
					return -1
				case s[i] < s[j]:
					return 1
				}
				return 0
			})
			want := slices.Sorted(slices.Values(all[:topk]))
			if !slices.Equal(got[row*topk:][:topk], want) {
				t.Fatalf("%d rows seen: selection %d differs", visible, row)
			}
		}
	}
}
