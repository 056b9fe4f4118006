package model

import (
	"fmt"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// DraftArchitecture is general.architecture of a draft head's file.
const DraftArchitecture = "deepseek4_mtp_support"

// draftPrefix is what all its tensors' names begin with.
const draftPrefix = "mtp.0."

// DraftHead is the model's own drafter: a layer of ratio 0 with top-k routing, and its joint and head. It has no vocabulary
// of its own.
type DraftHead struct {
	ENorm, HNorm, EProj, HProj        backend.Weight
	HCHeadFn, HCHeadScale, HCHeadBase backend.Weight
	Norm                              backend.Weight
	Layer                             Layer
	Bytes                             int64 // of all bound tensors
}

// DraftInventory lists every tensor of a draft head's file for a model of this shape (model.md 2.5): 32 of them.
func DraftInventory(s Shape) []Spec {
	spec := func(name string, types []gguf.Type, dims ...int) Spec {
		return Spec{Name: draftPrefix + name, Types: types, Dims: dims}
	}
	out := []Spec{
		spec("e_proj.weight", typesQ8, s.Embd, s.Embd),
		spec("h_proj.weight", typesQ8, s.Embd, s.Embd),
		spec("enorm.weight", typesF32, s.Embd),
		spec("hnorm.weight", typesF32, s.Embd),
		spec("norm.weight", typesF32, s.Embd),
		spec("hc_head_fn.weight", typesHalf, backend.Streams*s.Embd, backend.Streams),
		spec("hc_head_scale.weight", typesF32, 1),
		spec("hc_head_base.weight", typesF32, backend.Streams),
	}
	for _, l := range layerInventory(s, draftPrefix, 0, false) {
		l.Optional = false // the bias too
		out = append(out, l)
	}
	return out
}

// CheckDraftFile lists everything in which a draft head's file does not fit the model whose file base is: another
// architecture, hyper-parameters or a checkpoint's name that differ, and tensors that are missing, unknown, or of another
// type or size.
func CheckDraftFile(f, base *gguf.File, s Shape) []error {
	var bad []error
	fail := func(format string, a ...any) { bad = append(bad, fmt.Errorf("model: "+format, a...)) }
	if arch, err := f.Architecture(); err != nil || arch != DraftArchitecture {
		fail("%w: %s: want %q, got %q", ErrNotDS4, gguf.KeyArchitecture, DraftArchitecture, arch)
		return bad
	}
	for _, err := range draftMetadata(f, base) {
		fail("%w", err)
	}
	specs := map[string]bool{}
	for _, spec := range DraftInventory(s) {
		specs[spec.Name] = true
		t, ok := f.Tensor(spec.Name)
		if !ok {
			fail("%s: want %v, got nothing", spec.Name, spec)
		} else if err := spec.Check(t); err != nil {
			bad = append(bad, err)
		}
	}
	for t := range f.TensorsByOffset() {
		if !specs[t.Name] {
			fail("%s: want the %d tensors of a draft head, got this one too", t.Name, len(specs))
		}
	}
	g, _ := f.Tensor(draftPrefix + "ffn_gate_exps.weight")
	u, _ := f.Tensor(draftPrefix + "ffn_up_exps.weight")
	if g != nil && u != nil && g.Type != u.Type {
		fail("%sffn: gate and up experts: want one type, got %v and %v", draftPrefix, g.Type, u.Type)
	}
	return bad
}

// draftKeys are hyper-parameters that a draft head shares with its model, and what marks synthetic files that belong together.
var draftKeys = []string{
	"embedding_length", "vocab_size", "attention.head_count", "attention.key_length", "rope.dimension_count", "attention.q_lora_rank",
	"attention.output_lora_rank", "attention.output_group_count", "attention.sliding_window", "expert_count", "expert_used_count",
	"expert_feed_forward_length", "hyper_connection.count", "rope.freq_base", "expert_weights_scale",
}

// draftMetadata compares what the draft file says of the model it was made for with the model. Published files say little:
// what they leave out is not compared.
func draftMetadata(f, base *gguf.File) []error {
	var bad []error
	compare := func(key, baseKey string) {
		got, ok := f.KV(key)
		want, known := base.KV(baseKey)
		if ok && known && want.String() != got.String() {
			bad = append(bad, fmt.Errorf("%s: want %v as the model has, got %v", key, want, got))
		}
	}
	for _, k := range draftKeys {
		compare(DraftArchitecture+"."+k, Architecture+"."+k)
		compare(Architecture+"."+k, Architecture+"."+k)
	}
	compare(DraftCheckpoint, DraftCheckpoint)
	return bad
}

// DraftCheckpoint is a key under which a draft head's file and its model's name the checkpoint that both are from.
const DraftCheckpoint = "ds4.checkpoint"

// LoadDraft binds a draft head to the backend that the weights are bound to, and adds it to them, before New. base is the
// model's own file. It refuses by name whatever does not fit.
func (w *Weights) LoadDraft(f, base *gguf.File, s Shape, b backend.Backend) error {
	if bad := CheckDraftFile(f, base, s); len(bad) > 0 {
		if len(bad) > 1 {
			return fmt.Errorf("%w (and %d more faults)", bad[0], len(bad)-1)
		}
		return bad[0]
	}
	l := &binder{f: f, b: b, specs: map[string]Spec{}, w: &Weights{}}
	for _, spec := range DraftInventory(s) {
		l.specs[spec.Name] = spec
	}
	d := &DraftHead{}
	l.bind(&d.ENorm, draftPrefix+"enorm.weight")
	l.bind(&d.HNorm, draftPrefix+"hnorm.weight")
	l.bind(&d.EProj, draftPrefix+"e_proj.weight")
	l.bind(&d.HProj, draftPrefix+"h_proj.weight")
	l.layer(&d.Layer, draftPrefix)
	l.bind(&d.HCHeadFn, draftPrefix+"hc_head_fn.weight")
	l.bind(&d.HCHeadScale, draftPrefix+"hc_head_scale.weight")
	l.bind(&d.HCHeadBase, draftPrefix+"hc_head_base.weight")
	l.bind(&d.Norm, draftPrefix+"norm.weight")
	if l.err != nil {
		return l.err
	}
	d.Bytes = l.w.Bytes
	w.Draft = d
	return nil
}
