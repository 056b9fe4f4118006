package kvstore

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Identity says whose caches these are. Files of another Model or Text are never used; files of other Weights are, unless
// Options.RejectDifferentQuant is set: another quantisation of one model computes nearly the same caches.
type Identity struct {
	Model   Key   // the checkpoint, whatever its quantisation
	Text    Key   // tokenizer and template: what a token means
	Weights Key   // this file
	Bits    uint8 // of the routed experts
}

// identityBytes of a tensor's data go into an identity: reading all of it would take minutes, and two checkpoints do not
// share the head of every tensor.
const identityBytes = 4096

// Identify makes the identity of a model file. Tensors that no quantisation touches (f32: norms, scales, sinks) stand for the
// checkpoint, the head of every tensor for the file. template names the chat template and its version.
func Identify(f *gguf.File, template string) (Identity, error) {
	id := Identity{Bits: expertBits(f)}
	whole, plain := sha256.New(), sha256.New()
	for t := range f.Tensors() {
		head := make([]byte, min(identityBytes, t.Bytes))
		if _, err := io.ReadFull(t.Section(), head); err != nil {
			return Identity{}, fmt.Errorf("kvstore: identity: %s: %w", t.Name, err)
		}
		put(whole, t.Name, uint32(t.Type), t.Dims, head)
		if t.Type == gguf.TypeF32 {
			put(plain, t.Name, t.Dims, head)
		}
	}
	text := sha256.New()
	for _, key := range []string{"tokenizer.ggml.model", "tokenizer.ggml.pre"} {
		v, err := gguf.GetOr(f, key, "")
		if err != nil {
			return Identity{}, fmt.Errorf("kvstore: identity: %w", err)
		}
		put(text, v)
	}
	for _, key := range []string{"tokenizer.ggml.tokens", "tokenizer.ggml.merges"} {
		if _, ok := f.KV(key); !ok {
			continue // test models have none
		}
		list, err := gguf.Values[string](f, key)
		if err != nil {
			return Identity{}, fmt.Errorf("kvstore: identity: %w", err)
		}
		put(text, uint64(len(list)))
		for _, s := range list {
			put(text, s)
		}
	}
	put(text, template)
	whole.Sum(id.Weights[:0])
	plain.Sum(id.Model[:0])
	text.Sum(id.Text[:0])
	return id, nil
}

// expertBits is 2 or 4, as KVC files tell the routed experts' types apart.
func expertBits(f *gguf.File) uint8 {
	for t := range f.Tensors() {
		if strings.HasSuffix(t.Name, "ffn_gate_exps.weight") && t.Type != gguf.TypeIQ2_XXS {
			return 4
		}
	}
	return 2
}

// put hashes values so that no two lists of values hash alike.
func put(h hash.Hash, values ...any) {
	for _, v := range values {
		switch v := v.(type) {
		case string:
			put(h, []byte(v))
		case []byte:
			put(h, uint64(len(v)))
			_, _ = h.Write(v)
		default: // fixed size, or a slice of such
			if n, ok := v.([]uint64); ok {
				put(h, uint64(len(n)))
			}
			_ = binary.Write(h, binary.LittleEndian, v)
		}
	}
}

// layoutVersion rises whenever cached bytes change their meaning.
const layoutVersion = 1

// root is K(0): everything that must agree for rows to mean the same. The slack of the rings is not in it.
func root(id Identity, s model.Shape) Key {
	h := sha256.New()
	put(h, "ds4 kv", uint32(layoutVersion), id.Model[:], id.Text[:])
	put(h, uint32(s.Layers), uint32(s.HeadDim), uint32(s.RopeDim), uint32(s.Window), uint32(s.Vocab),
		uint32(backend.PageTokens), uint32(backend.IndexDim))
	for _, r := range s.Ratio {
		put(h, uint32(r))
	}
	var k Key
	h.Sum(k[:0])
	return k
}

// Alias is a hash under which a caller may present a checkpoint's past besides its tokens.
type Alias = Key

// sortedAliases is the list without doubles.
func sortedAliases(a []Alias) []Alias {
	a = slices.Clone(a)
	slices.SortFunc(a, Key.compare)
	return slices.Compact(a)
}
