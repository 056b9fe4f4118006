package main

import (
	"strings"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// revision is demo.Revision: that package cannot be built before its file exists.
const revision = 3

// layouts are the types of gate, up and down experts in the published files.
var layouts = map[string][3]gguf.Type{
	"q2": {gguf.TypeIQ2_XXS, gguf.TypeIQ2_XXS, gguf.TypeQ2_K},
	"q4": {gguf.TypeQ4_K, gguf.TypeQ4_K, gguf.TypeQ4_K},
}

func expertType(name string, e [3]gguf.Type) (gguf.Type, bool) {
	for i, part := range []string{"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"} {
		if strings.Contains(name, part) {
			return e[i], true
		}
	}
	return 0, false
}

func (c *checkpoint) writeBase(path, name string, e [3]gguf.Type) error {
	w := gguf.NewWriter()
	var err error
	add := func(key string, value any) {
		if err == nil {
			err = w.Add(key, value)
		}
	}
	add(gguf.KeyArchitecture, model.Architecture)
	add("general.name", name)
	add(synth.KeyDemo, uint32(revision))
	model.Metadata(c.shape, add)
	add(model.Architecture+".context_length", uint32(4096))
	add("tokenizer.ggml.model", "gpt2")
	add("tokenizer.ggml.pre", "joyai-llm")
	add("tokenizer.ggml.tokens", c.vocab.Tokens)
	add("tokenizer.ggml.token_type", c.vocab.Types)
	add("tokenizer.ggml.merges", c.vocab.Merges)
	add("tokenizer.ggml.bos_token_id", uint32(0))
	add("tokenizer.ggml.eos_token_id", uint32(1))
	add("tokenizer.ggml.padding_token_id", uint32(2))
	add("tokenizer.ggml.add_bos_token", false)
	if err != nil {
		return err
	}
	for _, s := range model.Inventory(c.shape) {
		typ, ok := expertType(s.Name, e)
		if !ok {
			typ = s.Types[0]
		}
		if err := c.add(w, s.Name, typ); err != nil {
			return err
		}
	}
	return w.WriteFile(path)
}

func (c *checkpoint) add(w *gguf.Writer, name string, typ gguf.Type) error {
	dims, data, err := c.tensor(name, typ)
	if err != nil {
		return err
	}
	return w.AddTensor(name, typ, dims, gguf.Bytes(data))
}

// writeDraft writes the MTP block as published ones are: F32 where the model has F16, q8_0 projections.
func (c *checkpoint) writeDraft(path, name string, e [3]gguf.Type) error {
	w := gguf.NewWriter()
	var err error
	add := func(key string, value any) {
		if err == nil {
			err = w.Add(key, value)
		}
	}
	add(gguf.KeyArchitecture, model.DraftArchitecture)
	add("general.name", name+", draft head")
	add(synth.KeyDemo, uint32(revision))
	add(model.DraftArchitecture+".embedding_length", uint32(c.shape.Embd))
	add(model.DraftArchitecture+".vocab_size", uint32(c.shape.Vocab))
	add(model.DraftArchitecture+".expert_count", uint32(c.shape.Experts))
	if err != nil {
		return err
	}
	for _, s := range model.DraftInventory(c.shape) {
		typ, ok := expertType(s.Name, e)
		switch {
		case ok:
		case s.Types[0] == gguf.TypeF16:
			typ = gguf.TypeF32
		default:
			typ = s.Types[0]
		}
		if err := c.add(w, s.Name, typ); err != nil {
			return err
		}
	}
	return w.WriteFile(path)
}
