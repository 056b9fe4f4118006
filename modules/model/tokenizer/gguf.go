package tokenizer

import (
	"errors"
	"fmt"

	"github.com/ds4-go/ds4/modules/gguf"
)

// Metadata keys of a model file.
const (
	keyModel  = "tokenizer.ggml.model"
	keyPre    = "tokenizer.ggml.pre"
	keyTokens = "tokenizer.ggml.tokens"
	keyTypes  = "tokenizer.ggml.token_type"
	keyMerges = "tokenizer.ggml.merges"
)

// What the keys must say: byte-level BPE, and the name under which the splitter of this package is known.
const (
	modelName = "gpt2"
	preName   = "joyai-llm"
)

// FromGGUF builds the tokenizer of a model file. The model and pre-tokenizer names are checked where the file has
// them; set o.AnyPre to use this package's splitter whatever the file says. The file may be closed afterwards.
func FromGGUF(f *gguf.File, o Options) (*Tokenizer, error) {
	for _, c := range [...]struct {
		key, want string
		any       bool
	}{{keyModel, modelName, false}, {keyPre, preName, o.AnyPre}} {
		got, err := f.String(c.key)
		if errors.Is(err, gguf.ErrNotFound) || c.any {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("tokenizer: %w", err)
		}
		if got != c.want {
			return nil, fmt.Errorf("tokenizer: %w: %s: want %q, got %q", ErrVocab, c.key, c.want, got)
		}
	}
	v, err := vocabOf(f)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return New(v, o)
}

// vocabOf reads the vocabulary as views of the file.
func vocabOf(f *gguf.File) (v Vocab, err error) {
	tokens, err := f.Array(keyTokens)
	if err != nil {
		return v, err
	}
	seq, err := gguf.Seq[string](tokens)
	if err != nil {
		return v, err
	}
	v.Tokens = make([]string, 0, tokens.Len())
	for _, s := range seq {
		v.Tokens = append(v.Tokens, s)
	}
	if v.Types, err = f.Int32s(keyTypes); err != nil && !errors.Is(err, gguf.ErrNotFound) {
		return v, err
	}
	merges, err := f.Array(keyMerges)
	if err != nil {
		return v, err
	}
	if seq, err = gguf.Seq[string](merges); err != nil {
		return v, err
	}
	v.Merges = func(yield func(string) bool) {
		for _, s := range seq {
			if !yield(s) {
				return
			}
		}
	}
	return v, nil
}
