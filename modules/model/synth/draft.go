package synth

import (
	"bytes"
	"fmt"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
)

// DraftPlan plans a draft head for a model file, with random weights: the layout of the published one (model.md 2.5), the
// shape of the model, and experts in Q4_K. Its guesses are noise. Data is made while it is written.
func DraftPlan(base *gguf.File, seed uint64) (*gguf.Writer, error) {
	s, err := model.ReadShape(base)
	if err != nil {
		return nil, fmt.Errorf("synth: draft head: %w", err)
	}
	f := Flash{Shape: s, Experts: expertsQ4, Seed: seed, ExpertSets: s.Layers}
	w := gguf.NewWriter()
	add := func(key string, v any) {
		if err == nil {
			err = w.Add(key, v)
		}
	}
	add(gguf.KeyArchitecture, model.DraftArchitecture)
	add("general.name", "ds4 synthetic draft head (its guesses are noise)")
	if name, e := base.String(model.DraftCheckpoint); e == nil {
		add(model.DraftCheckpoint, name)
	}
	add(model.DraftArchitecture+".embedding_length", uint32(s.Embd))
	add(model.DraftArchitecture+".vocab_size", uint32(s.Vocab))
	add(model.DraftArchitecture+".expert_count", uint32(s.Experts))
	if err != nil {
		return nil, fmt.Errorf("synth: draft head: %w", err)
	}
	for _, spec := range model.DraftInventory(s) {
		if spec.Types[0] == gguf.TypeF16 {
			spec.Types = []gguf.Type{gguf.TypeF32} // as published
		}
		if err := f.tensor(w, spec); err != nil {
			return nil, fmt.Errorf("synth: draft head: %w", err)
		}
	}
	return w, nil
}

// DraftFile is a draft head for a model, as an open file in memory.
func DraftFile(base *gguf.File, seed uint64) (*gguf.File, error) {
	w, err := DraftPlan(base, seed)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		return nil, err
	}
	return gguf.ParseBytes(b.Bytes())
}
