package model

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Layer holds one layer's weights under their GGUF names. What a layer of its kind lacks is zero.
type Layer struct {
	HCAttnFn, HCAttnScale, HCAttnBase      backend.Weight
	AttnNorm                               backend.Weight
	AttnQA, AttnQANorm, AttnQB             backend.Weight
	AttnKV, AttnKVANorm                    backend.Weight
	AttnSinks                              backend.Weight
	AttnOutputA, AttnOutputB               backend.Weight
	AttnCompressor, IndexerCompressor      backend.Compressor
	IndexerAttnQB, IndexerProj             backend.Weight
	HCFFNFn, HCFFNScale, HCFFNBase         backend.Weight
	FFNNorm                                backend.Weight
	FFNGateInp, ExpProbsB, FFNGateTid2Eid  backend.Weight
	FFNGateExps, FFNUpExps, FFNDownExps    backend.Weight
	FFNGateShexp, FFNUpShexp, FFNDownShexp backend.Weight

	SteerAttn, SteerFFN backend.Weight // directional steering, (D); zero: none
}

// Weights are a model's tensors, bound to one backend.
type Weights struct {
	TokenEmbd, Output, OutputNorm           backend.Weight
	OutputHCFn, OutputHCScale, OutputHCBase backend.Weight
	Layers                                  []Layer
	Draft                                   *DraftHead // nil: none; see LoadDraft

	Bytes int64 // of all bound tensors
}

// binder binds tensors one by one and remembers the first failure.
type binder struct {
	f        *gguf.File
	b        backend.Backend
	specs    map[string]Spec
	progress func(done, total int64)
	w        *Weights
	total    int64
	err      error
}

// Load binds every tensor of the file. It refuses by name a tensor that is missing or differs from the shape.
// progress, if not nil, is told the bytes bound so far and in all.
func Load(f *gguf.File, s Shape, b backend.Backend, progress func(done, total int64)) (*Weights, error) {
	if bad := CheckFile(f, s); len(bad) > 0 {
		if len(bad) > 1 {
			return nil, fmt.Errorf("%w (and %d more tensors that do not fit)", bad[0], len(bad)-1)
		}
		return nil, bad[0]
	}
	l := &binder{f: f, b: b, specs: map[string]Spec{}, progress: progress, w: &Weights{Layers: make([]Layer, s.Layers)}}
	for _, spec := range Inventory(s) {
		l.specs[spec.Name] = spec
		if t, ok := f.Tensor(spec.Name); ok {
			l.total += int64(t.Bytes)
		}
	}
	w := l.w
	l.bind(&w.TokenEmbd, "token_embd.weight")
	l.bind(&w.OutputNorm, "output_norm.weight")
	l.bind(&w.OutputHCFn, "output_hc_fn.weight")
	l.bind(&w.OutputHCScale, "output_hc_scale.weight")
	l.bind(&w.OutputHCBase, "output_hc_base.weight")
	for il := range w.Layers {
		l.layer(&w.Layers[il], fmt.Sprintf("blk.%d.", il))
		if il < s.Hash {
			l.checkHash(fmt.Sprintf("blk.%d.ffn_gate_tid2eid.weight", il), s)
		}
	}
	l.bind(&w.Output, "output.weight")
	if l.err != nil {
		return nil, l.err
	}
	return w, nil
}

// layer binds what the inventory has for the prefix; the names are written out so that a search finds them.
func (l *binder) layer(w *Layer, p string) {
	l.bind(&w.HCAttnFn, p+"hc_attn_fn.weight")
	l.bind(&w.HCAttnScale, p+"hc_attn_scale.weight")
	l.bind(&w.HCAttnBase, p+"hc_attn_base.weight")
	l.bind(&w.AttnNorm, p+"attn_norm.weight")
	l.bind(&w.AttnQA, p+"attn_q_a.weight")
	l.bind(&w.AttnQANorm, p+"attn_q_a_norm.weight")
	l.bind(&w.AttnQB, p+"attn_q_b.weight")
	l.bind(&w.AttnKV, p+"attn_kv.weight")
	l.bind(&w.AttnKVANorm, p+"attn_kv_a_norm.weight")
	l.bind(&w.AttnSinks, p+"attn_sinks.weight")
	l.bind(&w.AttnOutputA, p+"attn_output_a.weight")
	l.bind(&w.AttnOutputB, p+"attn_output_b.weight")
	l.bind(&w.AttnCompressor.KV, p+"attn_compressor_kv.weight")
	l.bind(&w.AttnCompressor.Gate, p+"attn_compressor_gate.weight")
	l.bind(&w.AttnCompressor.APE, p+"attn_compressor_ape.weight")
	l.bind(&w.AttnCompressor.Norm, p+"attn_compressor_norm.weight")
	l.bind(&w.IndexerAttnQB, p+"indexer.attn_q_b.weight")
	l.bind(&w.IndexerProj, p+"indexer.proj.weight")
	l.bind(&w.IndexerCompressor.KV, p+"indexer_compressor_kv.weight")
	l.bind(&w.IndexerCompressor.Gate, p+"indexer_compressor_gate.weight")
	l.bind(&w.IndexerCompressor.APE, p+"indexer_compressor_ape.weight")
	l.bind(&w.IndexerCompressor.Norm, p+"indexer_compressor_norm.weight")
	l.bind(&w.HCFFNFn, p+"hc_ffn_fn.weight")
	l.bind(&w.HCFFNScale, p+"hc_ffn_scale.weight")
	l.bind(&w.HCFFNBase, p+"hc_ffn_base.weight")
	l.bind(&w.FFNNorm, p+"ffn_norm.weight")
	l.bind(&w.FFNGateInp, p+"ffn_gate_inp.weight")
	l.bind(&w.ExpProbsB, p+"exp_probs_b.bias")
	l.bind(&w.FFNGateTid2Eid, p+"ffn_gate_tid2eid.weight")
	l.bind(&w.FFNGateExps, p+"ffn_gate_exps.weight")
	l.bind(&w.FFNUpExps, p+"ffn_up_exps.weight")
	l.bind(&w.FFNDownExps, p+"ffn_down_exps.weight")
	l.bind(&w.FFNGateShexp, p+"ffn_gate_shexp.weight")
	l.bind(&w.FFNUpShexp, p+"ffn_up_shexp.weight")
	l.bind(&w.FFNDownShexp, p+"ffn_down_shexp.weight")
}

// bind leaves dst zero where the shape has no such tensor, or the file lacks an optional one.
func (l *binder) bind(dst *backend.Weight, name string) {
	if l.err != nil {
		return
	}
	if _, ok := l.specs[name]; !ok {
		return
	}
	t, ok := l.f.Tensor(name)
	if !ok {
		return // CheckFile let it pass: optional
	}
	data, err := t.Data()
	if err == nil {
		*dst, err = l.b.Bind(t, data)
	}
	if err != nil {
		l.err = fmt.Errorf("model: %w", err)
		return
	}
	l.w.Bytes += int64(t.Bytes)
	if l.progress != nil {
		l.progress(l.w.Bytes, l.total)
	}
}

// checkHash looks at every expert id of a hash table, so that no device meets one out of range.
func (l *binder) checkHash(name string, s Shape) {
	if l.err != nil {
		return
	}
	t, _ := l.f.Tensor(name)
	data, err := t.Data()
	if err != nil {
		l.err = fmt.Errorf("model: %w", err)
		return
	}
	for i := 0; i+4 <= len(data); i += 4 {
		if id := binary.LittleEndian.Uint32(data[i:]); id >= uint32(s.Experts) {
			l.err = fmt.Errorf("model: %s: token %d: want expert ids below %d, got %d", name, i/4/s.ActiveExps, s.Experts, int32(id))
			return
		}
	}
}

// Steer binds one direction per layer, (layers, D) f32 little-endian: outputs of the attention and FFN sublayers lose
// scale times their component along it (Options.SteerAttn, SteerFFN).
func (w *Weights) Steer(b backend.Backend, s Shape, data []byte) error {
	if want := 4 * s.Layers * s.Embd; len(data) != want {
		return fmt.Errorf("model: steering: want %d bytes (%d layers of %d f32), got %d", want, s.Layers, s.Embd, len(data))
	}
	var errs []error
	for il := range w.Layers {
		t := &gguf.Tensor{Name: fmt.Sprintf("steer.%d", il), Type: gguf.TypeF32, Dims: []uint64{uint64(s.Embd)}, Bytes: uint64(4 * s.Embd)}
		v, err := b.Bind(t, data[4*il*s.Embd:4*(il+1)*s.Embd])
		errs = append(errs, err)
		w.Layers[il].SteerAttn, w.Layers[il].SteerFFN = v, v
	}
	return errors.Join(errs...)
}
