package gpucmd

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/machine"
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// benchShape is the real model's but for the number of layers, experts and tokens: every width that a kernel sees is real, and
// weights stay under 1 GiB.
func benchShape() backend.Shape {
	s := backend.Flash()
	s.Layers, s.Hash, s.Experts, s.Vocab = 4, 0, 24, 32768
	s.Ratio = backend.Ratios(s.Layers)
	return s
}

const (
	benchRows  = 256  // of the prompt's timing
	benchPos   = 4000 // where the decoded token stands: the indexer selects
	benchBytes = 3 << 30

	// stepLimit is about the longest that a command buffer of a timing may take. The system ends one that keeps the GPU for seconds,
	// and the screen stands still meanwhile.
	stepLimit = 250 * time.Millisecond
)

// bench is a backend with random weights of one layer of each compressed kind, and the buffers of a step.
type bench struct {
	b     backend.Backend
	sh    backend.Shape
	w     map[string]backend.Weight
	bytes map[string]int64
	buf   map[string]backend.Buf
	state backend.State
}

// timings prints how long each operation takes for one row, with the bytes it must move over that time, and for many rows.
func timings(ctx context.Context, p *printer, d device, sh backend.Shape, rows int, ceiling float64, info machine.Info) error {
	if info.MemoryBytes > 0 && info.MemoryBytes < 2*benchBytes {
		return fmt.Errorf("want %s of memory, got %s", cli.Bytes(2*benchBytes), cli.Bytes(info.MemoryBytes))
	}
	lim := backend.Limits{CtxTokens: 8192, Seqs: 1, Slots: 2, Rows: rows, Outs: 1, Tops: 1}
	b, err := d.open(sh, lim)
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	r := &bench{b: b, sh: sh, w: map[string]backend.Weight{}, bytes: map[string]int64{}, buf: map[string]backend.Buf{}}
	if err := r.setup(lim); err != nil {
		return err
	}
	p.raw("%-18s %10s %9s %7s   %12s\n", "operation", "1 row, µs", "GB/s", "of max", fmt.Sprintf("%d rows, µs", rows))
	for _, o := range r.operations() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		one, err := r.time(o, 1)
		if err != nil {
			return err
		}
		n, err := r.bounded(o, rows)
		if err != nil {
			return err
		}
		many, err := r.time(o, n)
		if err != nil {
			return err
		}
		few := ""
		if n < rows {
			few = fmt.Sprintf(" for %d", n)
		}
		rate, share := "", ""
		if n := r.moved(o); n > 0 {
			gbs := float64(n) / one.Seconds() / 1e9
			rate = fmt.Sprintf("%.0f", gbs)
			if ceiling > 0 {
				share = fmt.Sprintf("%.0f%%", 100*gbs/ceiling)
			}
		}
		p.raw("%-18s %10.0f %9s %7s   %12.0f%s\n", o.name, one.Seconds()*1e6, rate, share, many.Seconds()*1e6, few)
	}
	p.raw("\n")
	return nil
}

// setup binds random weights and takes buffers.
func (r *bench) setup(lim backend.Limits) error {
	for _, spec := range model.Inventory(r.sh) {
		if len(spec.Name) > 4 && spec.Name[:4] == "blk." && spec.Name[:6] != "blk.2." && spec.Name[:6] != "blk.3." {
			continue
		}
		t := &gguf.Tensor{Name: spec.Name, Type: benchType(spec)}
		rows := 1
		for i, d := range spec.Dims {
			t.Dims = append(t.Dims, uint64(d))
			if i > 0 {
				rows *= d
			}
		}
		row, err := t.Type.RowBytes(spec.Dims[0])
		if err != nil {
			return err
		}
		data := make([]byte, int(row)*rows)
		fill(data, t.Type)
		t.Bytes = uint64(len(data))
		if r.w[spec.Name], err = r.b.Bind(t, data); err != nil {
			return err
		}
		r.bytes[spec.Name] = int64(len(data))
	}
	sh := &r.sh
	f := func(rows, cols int) []backend.Part {
		return []backend.Part{{Type: backend.F32, Rows: int32(rows), Cols: int32(cols)}}
	}
	for _, u := range []struct {
		name  string
		rows  int
		parts []backend.Part
	}{
		{"slots", lim.Slots, sh.SlotParts()}, {"pages", lim.TablePages(), sh.PageParts()}, {"table", 1, f(1, lim.TablePages())},
		{"hc", lim.Rows, f(4, sh.Embd)}, {"x", lim.Rows, f(1, sh.Embd)}, {"mix", lim.Rows, f(1, backend.MixWidth)}, {"qlat", lim.Rows, f(1, sh.QRank)},
		{"q", lim.Rows, f(sh.Heads, sh.HeadDim)}, {"kv", lim.Rows, []backend.Part{{Type: backend.U8, Rows: 1, Cols: int32(sh.KVRowBytes())}}},
		{"sel", lim.Rows, f(1, sh.TopK)}, {"o", lim.Rows, f(sh.Heads, sh.HeadDim)}, {"y", lim.Rows, f(1, sh.Embd)}, {"ids", lim.Rows, f(1, sh.ActiveExps)},
		{"weights", lim.Rows, f(1, sh.ActiveExps)}, {"out_x", lim.Outs, f(1, sh.Embd)}, {"logits", lim.Outs, f(1, sh.Vocab)}, {"masks", 1, f(1, (sh.Vocab+31)/32)},
		{"top", lim.Tops, []backend.Part{{Type: backend.U8, Rows: 1, Cols: backend.TopBytes}}},
	} {
		b, err := r.b.Alloc(u.name, u.rows, u.parts...)
		if err != nil {
			return err
		}
		r.buf[u.name] = b
	}
	r.state = backend.State{Slots: r.buf["slots"], Pages: r.buf["pages"], Table: r.buf["table"]}
	r.inputs(lim)
	return nil
}

// inputs gives every row something to work on.
func (r *bench) inputs(lim backend.Limits) {
	for _, name := range []string{"hc", "x", "q", "o", "y", "qlat", "mix", "out_x"} {
		p := make([]byte, r.buf[name].RowBytes)
		fill(p, gguf.TypeF32)
		for i := range int(r.buf[name].Rows) {
			r.b.Write(r.buf[name], i, p)
		}
	}
	table := make([]byte, 4*lim.TablePages())
	for i := range lim.TablePages() {
		binary.LittleEndian.PutUint32(table[4*i:], uint32(i))
	}
	r.b.Write(r.buf["table"], 0, table)
	for i := range lim.Rows {
		ids, weights, sel := make([]byte, 4*r.sh.ActiveExps), make([]byte, 4*r.sh.ActiveExps), make([]byte, 4*r.sh.TopK)
		for k := range r.sh.ActiveExps {
			binary.LittleEndian.PutUint32(ids[4*k:], uint32((i*r.sh.ActiveExps+k*5)%r.sh.Experts))
			binary.LittleEndian.PutUint32(weights[4*k:], 0x3e800000)
		}
		for k := range r.sh.TopK {
			binary.LittleEndian.PutUint32(sel[4*k:], uint32(k))
		}
		r.b.Write(r.buf["ids"], i, ids)
		r.b.Write(r.buf["weights"], i, weights)
		r.b.Write(r.buf["sel"], i, sel)
	}
}

// benchType is what the smaller published file holds.
func benchType(s model.Spec) gguf.Type {
	switch s.Name[max(0, len(s.Name)-len("ffn_down_exps.weight")):] {
	case "ffn_down_exps.weight":
		return gguf.TypeQ2_K
	}
	return s.Types[0]
}

// fill writes numbers that no arithmetic trips over: small floats, and halves below 2 wherever a block keeps its scale.
func fill(p []byte, t gguf.Type) {
	x := uint64(88172645463325252)
	for i := range p {
		if i%8 == 0 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
		}
		p[i] = byte(x>>(8*(i%8))) & 0x2f
	}
	if t == gguf.TypeF32 {
		for i := 3; i < len(p); i += 4 {
			p[i] = 0x3d
		}
	}
}

// operation is one call of the seam as it stands in a layer.
type operation struct {
	name    string
	weights []string // whose bytes it must move
	share   float64  // of them; 0: all
	run     func()
}

// moved is the bytes of weights that the operation reads for one row.
func (r *bench) moved(o operation) int64 {
	n := int64(0)
	for _, w := range o.weights {
		n += r.bytes[w]
	}
	if o.share > 0 {
		n = int64(float64(n) * o.share)
	}
	return n
}

func (r *bench) operations() []operation {
	const l = "blk.2."
	w, u := r.w, r.buf
	chosen := float64(r.sh.ActiveExps) / float64(r.sh.Experts)
	return []operation{
		{"hc_pre", []string{l + "hc_attn_fn.weight"}, 0, func() {
			r.b.HCPre(backend.HCPreArgs{Layer: 2, Fn: w[l+"hc_attn_fn.weight"], Scale: w[l+"hc_attn_scale.weight"], Base: w[l+"hc_attn_base.weight"],
				Norm: w[l+"attn_norm.weight"], HC: u["hc"], X: u["x"], Mix: u["mix"]})
		}},
		{"attn_qkv", []string{l + "attn_q_a.weight", l + "attn_q_b.weight", l + "attn_kv.weight"}, 0, func() {
			r.b.AttnQKV(backend.AttnQKVArgs{Layer: 2, QA: w[l+"attn_q_a.weight"], QANorm: w[l+"attn_q_a_norm.weight"], QB: w[l+"attn_q_b.weight"],
				KVW: w[l+"attn_kv.weight"], KVNorm: w[l+"attn_kv_a_norm.weight"], X: u["x"], QLat: u["qlat"], Q: u["q"], KV: u["kv"], State: r.state})
		}},
		{"compress, ratio 4", []string{l + "attn_compressor_kv.weight", l + "attn_compressor_gate.weight", l + "indexer_compressor_kv.weight", l + "indexer_compressor_gate.weight"}, 0,
			func() { r.compress(2) }},
		{"compress, 128", []string{"blk.3.attn_compressor_kv.weight", "blk.3.attn_compressor_gate.weight"}, 0, func() { r.compress(3) }},
		{"index_topk", []string{l + "indexer.attn_q_b.weight", l + "indexer.proj.weight"}, 0, func() {
			r.b.IndexTopK(backend.IndexTopKArgs{Layer: 2, QB: w[l+"indexer.attn_q_b.weight"], Proj: w[l+"indexer.proj.weight"], QLat: u["qlat"], X: u["x"], Sel: u["sel"], State: r.state})
		}},
		{"attend", nil, 0, func() {
			r.b.Attend(backend.AttendArgs{Layer: 2, Sinks: w[l+"attn_sinks.weight"], Q: u["q"], KV: u["kv"], Sel: u["sel"], O: u["o"], State: r.state})
		}},
		{"attn_out", []string{l + "attn_output_a.weight", l + "attn_output_b.weight"}, 0, func() {
			r.b.AttnOut(backend.AttnOutArgs{Layer: 2, A: w[l+"attn_output_a.weight"], B: w[l+"attn_output_b.weight"], O: u["o"], Y: u["y"]})
		}},
		{"hc_post", nil, 0, func() { r.b.HCPost(backend.HCPostArgs{Layer: 2, HC: u["hc"], Mix: u["mix"], Y: u["y"]}) }},
		{"route", []string{l + "ffn_gate_inp.weight"}, 0, func() {
			r.b.Route(backend.RouteArgs{Layer: 2, Gate: w[l+"ffn_gate_inp.weight"], Bias: w[l+"exp_probs_b.bias"], X: u["x"], IDs: u["ids"], Weights: u["weights"]})
		}},
		{"experts", []string{l + "ffn_gate_exps.weight", l + "ffn_up_exps.weight", l + "ffn_down_exps.weight"}, chosen, func() {
			r.b.Experts(backend.ExpertsArgs{Layer: 2, Gate: w[l+"ffn_gate_exps.weight"], Up: w[l+"ffn_up_exps.weight"], Down: w[l+"ffn_down_exps.weight"],
				X: u["x"], IDs: u["ids"], Weights: u["weights"], Y: u["y"]})
		}},
		{"shared_expert", []string{l + "ffn_gate_shexp.weight", l + "ffn_up_shexp.weight", l + "ffn_down_shexp.weight"}, 0, func() {
			r.b.SharedExpert(backend.SharedExpertArgs{Layer: 2, Gate: w[l+"ffn_gate_shexp.weight"], Up: w[l+"ffn_up_shexp.weight"], Down: w[l+"ffn_down_shexp.weight"], X: u["x"], Y: u["y"]})
		}},
		{"logits", []string{"output.weight"}, 0, func() { r.b.Logits(backend.LogitsArgs{Output: w["output.weight"], X: u["out_x"], Logits: u["logits"]}) }},
		{"top", nil, 0, func() { r.b.Top(backend.TopArgs{Logits: u["logits"], Masks: u["masks"], Top: u["top"]}) }},
	}
}

func (r *bench) compress(il int32) {
	p := fmt.Sprintf("blk.%d.", il)
	c := func(name string) backend.Compressor {
		return backend.Compressor{KV: r.w[p+name+"_kv.weight"], Gate: r.w[p+name+"_gate.weight"], APE: r.w[p+name+"_ape.weight"], Norm: r.w[p+name+"_norm.weight"]}
	}
	r.b.Compress(backend.CompressArgs{Layer: il, Attn: c("attn_compressor"), Index: c("indexer_compressor"), X: r.buf["x"], State: r.state})
}

// bounded is the row count to time: all of them, unless an eighth of them says that they would take longer than a step may.
func (r *bench) bounded(o operation, rows int) (int, error) {
	few := max(1, rows/8)
	took, err := r.steps(o, few, 1, 1)
	if took*time.Duration(rows/few) > stepLimit {
		return few, err
	}
	return rows, err
}

// time is how long an operation takes: the shortest of a few steps that repeat it, less a step that does it once. It is repeated as
// often as a step may be long.
func (r *bench) time(o operation, rows int) (time.Duration, error) {
	const tries = 4
	once, err := r.steps(o, rows, 1, tries)
	if err != nil {
		return 0, err
	}
	repeat := 24
	if rows > 1 {
		repeat = 3
	}
	repeat = max(1, min(repeat, int(stepLimit/max(once, time.Microsecond))-1))
	all, err := r.steps(o, rows, 1+repeat, tries)
	return max(all-once, time.Microsecond) / time.Duration(repeat), err
}

// steps is the shortest of some steps that do an operation n times, a command buffer each.
func (r *bench) steps(o operation, rows, n, tries int) (time.Duration, error) {
	s := &backend.Step{Spans: []backend.Span{{Pos: benchPos, Rows: int32(rows)}}, Outs: []int32{int32(rows - 1)}, Tops: []backend.Top{{Mask: -1, InvTemp: 1}}}
	if rows > backend.Slack+1 {
		s.Spans[0].Into = 1
	}
	for i := range int32(rows) {
		s.Rows = append(s.Rows, backend.Row{Token: 1, Pos: benchPos + i, From: -1})
	}
	best := time.Duration(1<<62 - 1)
	for range tries {
		start := time.Now()
		r.b.Begin(s)
		for range n {
			o.run()
		}
		if err := r.b.Wait(); err != nil {
			return 0, err
		}
		best = min(best, time.Since(start))
	}
	return best, nil
}
