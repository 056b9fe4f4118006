package cuda_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/cuda"
)

// TestSpeed prints the table of docs/cuda.md for the full shape with random weights: DS4_CUDA_SPEED lists what to run (q2,
// q4; contexts as 2k, 32k, 128k; batch; profile). It asserts no time.
func TestSpeed(t *testing.T) {
	want := strings.Split(os.Getenv("DS4_CUDA_SPEED"), ",")
	if want[0] == "" {
		t.Skip("DS4_CUDA_SPEED is not set")
	}
	needCard(t)
	has := func(s string) bool { return slices.Contains(want, s) }
	ctx := 10 << 10
	if has("profile") {
		ctx = 32 << 10
	}
	for n, tokens := range map[string]int{"32k": 34 << 10, "128k": 131 << 10} {
		if has(n) {
			ctx = max(ctx, tokens)
		}
		if has(n) && has("profile") {
			ctx = max(ctx, tokens+14<<10)
		}
	}
	chunk := 2048
	if has("4096") {
		chunk = 4096
	}
	quant := "q2"
	if has("q4") {
		quant = "q4"
	}
	r := openSpeed(t, quant, ctx, chunk, !has("small"))
	if has("batch") { // before the long contexts, which take the time
		r.batch(t, quant, chunk)
	}
	q := r.seq(t)
	for _, stop := range []struct {
		name   string
		tokens int
	}{{"2k", 2 << 10}, {"8k", 8 << 10}, {"32k", 32 << 10}, {"128k", 128 << 10}} {
		if stop.name != "8k" && !has(stop.name) {
			continue
		}
		rate := r.prefill(t, q, stop.tokens, chunk)
		fmt.Printf("speed %s prefill to %-5s %8.0f t/s\n", quant, stop.name, rate)
		fmt.Printf("speed %s decode at  %-5s %8.1f t/s\n", quant, stop.name, r.decode(t, []*model.Seq{q}, 64))
	}
	if has("profile") { // at the longest context
		r.profile(t, q, chunk)
	}
	q.Free()
	for _, u := range r.b.Memory().Uses {
		fmt.Printf("speed memory %-14s %8.3f GiB\n", u.Name, float64(u.Bytes)/(1<<30))
	}
}

// batch decodes up to eight sequences together.
func (r *speedRig) batch(t *testing.T, quant string, chunk int) {
	t.Helper()
	var all []*model.Seq
	for range 8 {
		q := r.seq(t)
		defer q.Free()
		r.prefill(t, q, 2048, chunk)
		all = append(all, q)
	}
	for _, n := range []int{1, 2, 4, 8} {
		fmt.Printf("speed %s decode %d sequences at 2k %8.1f t/s in all\n", quant, n, r.decode(t, all[:n], 48))
	}
}

type speedRig struct {
	b   *cuda.Backend
	e   *model.Engine
	sh  model.Shape
	rng *rand.Rand
}

func openSpeed(t *testing.T, quant string, ctx, chunk int, full bool) *speedRig {
	t.Helper()
	sh := backend.Flash()
	if !full { // seven layers: enough for a look at single operations
		sh.Layers, sh.Ratio = 7, sh.Ratio[:7]
	}
	lim := backend.Limits{CtxTokens: ctx, Seqs: 8, Slots: 8 + model.SpareSlots, Rows: chunk, Outs: 16, Tops: 16}
	opt := options()
	if strings.Contains(os.Getenv("DS4_CUDA_SPEED"), "narrow") {
		opt.SharedBytes = 160 << 10
	}
	b, err := cuda.New(sh, lim, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	start := time.Now()
	w, err := randomWeights(b, sh, quant)
	if err != nil {
		t.Fatal(err)
	}
	e, err := model.New(b, w, sh, lim, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := &speedRig{b, e, sh, rand.New(rand.NewPCG(1, 2))}
	q := r.seq(t)
	r.run(t, []*model.Seq{q}, [][]int32{{1}})
	fmt.Printf("speed %s load of %.1f GB and first token: %.1f s (%s, %d cores)\n", quant, float64(w.Bytes)/1e9, time.Since(start).Seconds(), b.Device().Name, runtime.NumCPU())
	q.Free()
	return r
}

func (r *speedRig) seq(t *testing.T) *model.Seq {
	t.Helper()
	q, err := r.e.NewSeq()
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// run evaluates and keeps tokens of each sequence and returns the greedy choices.
func (r *speedRig) run(t *testing.T, q []*model.Seq, tokens [][]int32) []int32 {
	t.Helper()
	jobs := make([]model.Job, len(q))
	for i := range q {
		jobs[i] = model.Job{Seq: q[i], Tokens: tokens[i], Wants: []model.Want{{Row: len(tokens[i]) - 1}}}
	}
	if err := r.e.Run(context.Background(), jobs); err != nil {
		t.Fatal(err)
	}
	var out []int32
	for i := range jobs {
		jobs[i].Keep(len(tokens[i]))
		c := jobs[i].Top(0)
		if l := float64(c.Logit(0)); math.IsNaN(l) || math.IsInf(l, 0) {
			t.Fatalf("logit of the best token: %v", l)
		}
		out = append(out, c.ID(0))
	}
	return out
}

func (r *speedRig) tokens(n int) []int32 {
	p := make([]int32, n)
	for i := range p {
		p[i] = int32(r.rng.IntN(r.sh.Vocab))
	}
	return p
}

// prefill brings a sequence to n tokens and returns the rate of the last chunks (at most eight).
func (r *speedRig) prefill(t *testing.T, q *model.Seq, n, chunk int) float64 {
	t.Helper()
	var times []float64
	for q.Len() < n {
		p := r.tokens(min(chunk, n-q.Len()))
		start := time.Now()
		r.run(t, []*model.Seq{q}, [][]int32{p})
		if len(p) == chunk {
			times = append(times, time.Since(start).Seconds())
		}
	}
	times = times[max(0, len(times)-8):]
	sum := 0.0
	for _, s := range times {
		sum += s
	}
	return float64(chunk*len(times)) / sum
}

// decode continues greedily and returns tokens a second, all sequences together: the median step.
func (r *speedRig) decode(t *testing.T, q []*model.Seq, n int) float64 {
	t.Helper()
	next := make([][]int32, len(q))
	for i := range next {
		next[i] = []int32{int32(i + 1)}
	}
	var times []float64
	for i := range n + 4 {
		start := time.Now()
		ids := r.run(t, q, next)
		if i >= 4 {
			times = append(times, time.Since(start).Seconds())
		}
		for j, id := range ids {
			next[j] = []int32{id}
		}
	}
	slices.Sort(times)
	return float64(len(q)) / times[len(times)/2]
}

// profile prints the time per operation of a decode step and of a chunk.
func (r *speedRig) profile(t *testing.T, q *model.Seq, chunk int) {
	t.Helper()
	r.b.SetProfile(true)
	defer r.b.SetProfile(false)
	for _, n := range []int{1, chunk} {
		r.run(t, []*model.Seq{q}, [][]int32{r.tokens(n)})
		r.b.Profile()
		start := time.Now()
		for range 4 {
			r.run(t, []*model.Seq{q}, [][]int32{r.tokens(n)})
		}
		fmt.Printf("speed profile, %d rows at %d: %.3f ms a step\n", n, q.Len(), time.Since(start).Seconds()/4*1e3)
		for _, o := range r.b.Profile() {
			fmt.Printf("speed   %-14s %4d calls %9.4f ms each %9.3f ms a step\n", o.Name, o.Calls/4, o.Milliseconds/float64(o.Calls), o.Milliseconds/4)
		}
	}
}

// randomWeights binds every tensor of the inventory from host memory that tensors of one kind share; on the card each has
// its own.
func randomWeights(b backend.Backend, sh model.Shape, quant string) (*model.Weights, error) {
	s := speedSource{b: b, quant: quant, data: map[string][]byte{}, rng: rand.New(rand.NewPCG(3, 4)), w: map[string]backend.Weight{}, next: 2}
	for _, spec := range model.Inventory(sh) {
		if err := s.bind(spec); err != nil {
			return nil, err
		}
	}
	get := func(n string) backend.Weight { return s.w[n+".weight"] }
	out := &model.Weights{TokenEmbd: get("token_embd"), Output: get("output"), OutputNorm: get("output_norm"), OutputHCFn: get("output_hc_fn"),
		OutputHCScale: get("output_hc_scale"), OutputHCBase: get("output_hc_base"), Layers: make([]model.Layer, sh.Layers), Bytes: s.bytes}
	for il := range out.Layers {
		l := func(n string) backend.Weight { return get(fmt.Sprintf("blk.%d.%s", il, n)) }
		comp := func(p string) backend.Compressor {
			return backend.Compressor{KV: l(p + "_kv"), Gate: l(p + "_gate"), APE: l(p + "_ape"), Norm: l(p + "_norm")}
		}
		out.Layers[il] = model.Layer{
			HCAttnFn: l("hc_attn_fn"), HCAttnScale: l("hc_attn_scale"), HCAttnBase: l("hc_attn_base"), AttnNorm: l("attn_norm"),
			AttnQA: l("attn_q_a"), AttnQANorm: l("attn_q_a_norm"), AttnQB: l("attn_q_b"), AttnKV: l("attn_kv"), AttnKVANorm: l("attn_kv_a_norm"),
			AttnSinks: l("attn_sinks"), AttnOutputA: l("attn_output_a"), AttnOutputB: l("attn_output_b"),
			AttnCompressor: comp("attn_compressor"), IndexerCompressor: comp("indexer_compressor"),
			IndexerAttnQB: l("indexer.attn_q_b"), IndexerProj: l("indexer.proj"),
			HCFFNFn: l("hc_ffn_fn"), HCFFNScale: l("hc_ffn_scale"), HCFFNBase: l("hc_ffn_base"), FFNNorm: l("ffn_norm"),
			FFNGateInp: l("ffn_gate_inp"), ExpProbsB: s.w[fmt.Sprintf("blk.%d.exp_probs_b.bias", il)], FFNGateTid2Eid: l("ffn_gate_tid2eid"),
			FFNGateExps: l("ffn_gate_exps"), FFNUpExps: l("ffn_up_exps"), FFNDownExps: l("ffn_down_exps"),
			FFNGateShexp: l("ffn_gate_shexp"), FFNUpShexp: l("ffn_up_shexp"), FFNDownShexp: l("ffn_down_shexp"),
		}
	}
	return out, nil
}

type speedSource struct {
	b     backend.Backend
	quant string
	data  map[string][]byte
	rng   *rand.Rand
	w     map[string]backend.Weight
	bytes int64
	next  uint64 // identifies a tensor's bytes
}

func (s *speedSource) bind(spec model.Spec) error {
	typ := spec.Types[0]
	if strings.Contains(spec.Name, "_exps") {
		typ = gguf.TypeQ4_K
		if s.quant == "q2" {
			if typ = gguf.TypeIQ2_XXS; strings.Contains(spec.Name, "down") {
				typ = gguf.TypeQ2_K
			}
		}
	}
	n := 1
	t := &gguf.Tensor{Name: spec.Name, Type: typ, Offset: s.next}
	if s.next++; s.quant == "q4" && strings.Contains(spec.Name, "_exps") { // 163 GB do not fit: layers share two sets of experts
		t.Offset = s.next % 2
	}
	for _, d := range spec.Dims {
		n *= d
		t.Dims = append(t.Dims, uint64(d))
	}
	size, err := typ.RowBytes(n)
	if err != nil {
		return err
	}
	t.Bytes = uint64(size)
	_, kind, _ := strings.Cut(strings.TrimPrefix(spec.Name, "blk."), ".")
	key := fmt.Sprint(kind, typ, size)
	if s.data[key] == nil {
		s.data[key] = s.fill(spec, typ, int(size))
	}
	w, err := s.b.Bind(t, s.data[key])
	s.w[spec.Name], s.bytes = w, s.bytes+size
	return err
}

// fill makes the values of one kind of tensor: 8 MiB of random blocks, repeated.
func (s *speedSource) fill(spec model.Spec, typ gguf.Type, size int) []byte {
	p := make([]byte, size)
	k := float64(spec.Dims[0])
	block := typ.BlockBytes()
	piece := min(size, (8<<20)/block*block)
	f32 := func(at int, v float64) {
		x := math.Float32bits(float32(v))
		for i := range 4 {
			p[at+i] = byte(x >> (8 * i))
		}
	}
	f16 := func(at int, v float64) {
		x := gguf.Float32ToFloat16(float32(v))
		p[at], p[at+1] = byte(x), byte(x>>8)
	}
	for at := 0; at < piece; at += block {
		u := func() float64 { return 2*s.rng.Float64() - 1 }
		for i := at; i < at+block && typ != gguf.TypeF32 && typ != gguf.TypeF16; i++ {
			p[i] = byte(s.rng.Uint32())
		}
		switch typ {
		case gguf.TypeF32:
			switch {
			case strings.Contains(spec.Name, "norm"):
				f32(at, 1+u()/4)
			case strings.Contains(spec.Name, "scale"):
				f32(at, 0.5+u()/4)
			default:
				f32(at, u()/4)
			}
		case gguf.TypeI32:
			p[at], p[at+1], p[at+2], p[at+3] = byte(s.rng.IntN(256)), 0, 0, 0
		case gguf.TypeF16:
			amp := math.Sqrt(3 / k)
			if strings.Contains(spec.Name, "token_embd") {
				amp = 1
			}
			f16(at, amp*u())
		case gguf.TypeQ8_0:
			f16(at, 1/(73*math.Sqrt(k)))
		case gguf.TypeIQ2_XXS:
			f16(at, 1/(48*math.Sqrt(k)))
		case gguf.TypeQ2_K:
			f16(at+80, 1/(12*math.Sqrt(k)))
			f16(at+82, 1.5/(12*math.Sqrt(k)))
		case gguf.TypeQ4_K:
			f16(at, 1/(220*math.Sqrt(k)))
			f16(at+2, 7.5/(220*math.Sqrt(k)))
		}
	}
	for at := piece; at < size; at += piece {
		copy(p[at:], p[:min(piece, size-at)])
	}
	return p
}
