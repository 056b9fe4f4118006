package model

import (
	"fmt"
	"slices"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Kinds of tensors, by what a file may store them as.
var (
	typesF32    = []gguf.Type{gguf.TypeF32}
	typesI32    = []gguf.Type{gguf.TypeI32}
	typesHalf   = []gguf.Type{gguf.TypeF16, gguf.TypeF32} // F16 in published base files, F32 in the MTP file
	typesQ8     = []gguf.Type{gguf.TypeQ8_0}
	typesExpert = []gguf.Type{gguf.TypeIQ2_XXS, gguf.TypeQ2_K, gguf.TypeQ4_K, gguf.TypeMXFP4}
)

// Spec is what the model needs of one tensor. The first of Types is what published files hold.
type Spec struct {
	Name     string
	Types    []gguf.Type
	Dims     []int // ggml order: the input width first
	Optional bool
}

// String gives type and shape, outermost first, as gguf.Tensor does.
func (s Spec) String() string {
	d := slices.Clone(s.Dims)
	slices.Reverse(d)
	out := s.Types[0].String()
	for _, t := range s.Types[1:] {
		out += "|" + t.String()
	}
	return fmt.Sprintf("%s %v", out, d)
}

// Inventory lists every tensor of a model file of this shape, in the order of the layer (model.md 2.1, 2.2).
func Inventory(s Shape) []Spec {
	out := []Spec{
		{Name: "token_embd.weight", Types: typesHalf, Dims: []int{s.Embd, s.Vocab}},
		{Name: "output.weight", Types: typesQ8, Dims: []int{s.Embd, s.Vocab}},
		{Name: "output_norm.weight", Types: typesF32, Dims: []int{s.Embd}},
		{Name: "output_hc_fn.weight", Types: typesHalf, Dims: []int{backend.Streams * s.Embd, backend.Streams}},
		{Name: "output_hc_scale.weight", Types: typesF32, Dims: []int{1}},
		{Name: "output_hc_base.weight", Types: typesF32, Dims: []int{backend.Streams}},
	}
	for il := range s.Layers {
		out = append(out, layerInventory(s, fmt.Sprintf("blk.%d.", il), s.Ratio[il], il < s.Hash)...)
	}
	return out
}

func layerInventory(s Shape, prefix string, ratio int, hash bool) []Spec {
	var out []Spec
	add := func(name string, types []gguf.Type, dims ...int) {
		out = append(out, Spec{Name: prefix + name, Types: types, Dims: dims})
	}
	control := func(half string) {
		add("hc_"+half+"_fn.weight", typesHalf, backend.Streams*s.Embd, backend.MixWidth)
		add("hc_"+half+"_scale.weight", typesF32, 3)
		add("hc_"+half+"_base.weight", typesF32, backend.MixWidth)
	}
	control("attn")
	add("attn_norm.weight", typesF32, s.Embd)
	add("attn_q_a.weight", typesQ8, s.Embd, s.QRank)
	add("attn_q_a_norm.weight", typesF32, s.QRank)
	add("attn_q_b.weight", typesQ8, s.QRank, s.Heads*s.HeadDim)
	add("attn_kv.weight", typesQ8, s.Embd, s.HeadDim)
	add("attn_kv_a_norm.weight", typesF32, s.HeadDim)
	add("attn_sinks.weight", typesF32, s.Heads)
	add("attn_output_a.weight", typesQ8, s.Heads/s.Groups*s.HeadDim, s.Groups*s.OutRank)
	add("attn_output_b.weight", typesQ8, s.Groups*s.OutRank, s.Embd)
	if ratio != 0 {
		width := s.HeadDim
		if ratio == 4 {
			width *= 2
		}
		add("attn_compressor_kv.weight", typesHalf, s.Embd, width)
		add("attn_compressor_gate.weight", typesHalf, s.Embd, width)
		add("attn_compressor_ape.weight", typesHalf, width, ratio)
		add("attn_compressor_norm.weight", typesF32, s.HeadDim)
	}
	if ratio == 4 {
		add("indexer.attn_q_b.weight", typesHalf, s.QRank, s.IndexHeads*backend.IndexDim)
		add("indexer.proj.weight", typesHalf, s.Embd, s.IndexHeads)
		add("indexer_compressor_kv.weight", typesHalf, s.Embd, 2*backend.IndexDim)
		add("indexer_compressor_gate.weight", typesHalf, s.Embd, 2*backend.IndexDim)
		add("indexer_compressor_ape.weight", typesHalf, 2*backend.IndexDim, ratio)
		add("indexer_compressor_norm.weight", typesF32, backend.IndexDim)
	}
	control("ffn")
	add("ffn_norm.weight", typesF32, s.Embd)
	add("ffn_gate_inp.weight", typesHalf, s.Embd, s.Experts)
	if hash {
		add("ffn_gate_tid2eid.weight", typesI32, s.ActiveExps, s.Vocab)
	} else {
		add("exp_probs_b.bias", typesF32, s.Experts)
		out[len(out)-1].Optional = true
	}
	add("ffn_gate_exps.weight", typesExpert, s.Embd, s.ExpertDim, s.Experts)
	add("ffn_up_exps.weight", typesExpert, s.Embd, s.ExpertDim, s.Experts)
	add("ffn_down_exps.weight", typesExpert, s.ExpertDim, s.Embd, s.Experts)
	add("ffn_gate_shexp.weight", typesQ8, s.Embd, s.ExpertDim)
	add("ffn_up_shexp.weight", typesQ8, s.Embd, s.ExpertDim)
	add("ffn_down_shexp.weight", typesQ8, s.ExpertDim, s.Embd)
	return out
}

// Check compares a tensor with what the model needs of it.
func (s Spec) Check(t *gguf.Tensor) error {
	ok := slices.Contains(s.Types, t.Type) && len(t.Dims) == len(s.Dims)
	for i := range s.Dims {
		ok = ok && t.Dims[i] == uint64(s.Dims[i])
	}
	if !ok {
		return fmt.Errorf("model: %s: want %v, got %v", s.Name, s, t)
	}
	return nil
}

// CheckFile lists everything in which a file's tensors differ from what the shape needs: missing, of another type or
// size. Tensors that the model does not use are no fault.
func CheckFile(f *gguf.File, s Shape) []error {
	var bad []error
	for _, spec := range Inventory(s) {
		t, ok := f.Tensor(spec.Name)
		switch {
		case ok:
			if err := spec.Check(t); err != nil {
				bad = append(bad, err)
			}
		case !spec.Optional:
			bad = append(bad, fmt.Errorf("model: %s: want %v, got nothing", spec.Name, spec))
		}
	}
	for il := range s.Layers {
		g, _ := f.Tensor(fmt.Sprintf("blk.%d.ffn_gate_exps.weight", il))
		u, _ := f.Tensor(fmt.Sprintf("blk.%d.ffn_up_exps.weight", il))
		if g != nil && u != nil && g.Type != u.Type {
			bad = append(bad, fmt.Errorf("model: blk.%d: gate and up experts: want one type, got %v and %v", il, g.Type, u.Type))
		}
	}
	return bad
}
