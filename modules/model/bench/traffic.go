package bench

import (
	"math"
	"strings"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Traffic counts the bytes that decoding reads, from a model's shape and the types of its tensors (model.md 6.1, 6.2).
// Every byte counts once per step, as if nothing had to be read twice; activations, frontiers and logits, some 10 MB,
// are left out.
type Traffic struct {
	shape model.Shape

	step    int64   // weights that a step reads whole, however many its rows
	row     int64   // weights that each row reads for itself: of the embedding, the position biases and the hash tables
	indexer int64   // weights of a step that reads index rows
	expert  []int64 // one expert of each layer
	fixed   bool    // see NewTraffic
}

// NewTraffic counts over the tensors of a file. fixedRoute says that all rows choose the same experts, but for the hash
// layers (synth.Flash).
func NewTraffic(f *gguf.File, s model.Shape, fixedRoute bool) *Traffic {
	return newTraffic(s, fixedRoute, func(spec model.Spec) (gguf.Type, bool) {
		t, ok := f.Tensor(spec.Name)
		if !ok {
			return 0, false
		}
		return t.Type, true
	})
}

func newTraffic(s model.Shape, fixedRoute bool, typeOf func(model.Spec) (gguf.Type, bool)) *Traffic {
	t := &Traffic{shape: s, expert: make([]int64, s.Layers), fixed: fixedRoute}
	layer := -1
	for _, spec := range model.Inventory(s) {
		typ, ok := typeOf(spec)
		if !ok {
			continue
		}
		size, row := bytesOf(spec, typ)
		if strings.HasSuffix(spec.Name, ".hc_attn_fn.weight") { // each layer's first
			layer++
		}
		switch name := spec.Name; {
		case strings.Contains(name, "_exps."):
			t.expert[layer] += size / int64(s.Experts)
		case name == "token_embd.weight", strings.Contains(name, "_ape."), strings.Contains(name, "ffn_gate_tid2eid."):
			t.row += row
		case strings.Contains(name, ".indexer."):
			t.indexer += size
		default:
			t.step += size
		}
	}
	return t
}

// bytesOf is the size of a tensor and of one of its rows.
func bytesOf(spec model.Spec, typ gguf.Type) (size, row int64) {
	n, err := typ.RowBytes(spec.Dims[0])
	if err != nil {
		return 0, 0 // no file with such a row opens
	}
	size = n
	for _, d := range spec.Dims[1:] {
		size *= int64(d)
	}
	return size, n
}

// Cache is the bytes of cached rows that decoding the n-th token of a sequence reads.
func (t *Traffic) Cache(n int) int64 {
	s, rows, index := &t.shape, 0, 0
	for _, r := range s.Ratio {
		rows += min(s.Window, n)
		switch {
		case r == 4:
			rows += min(s.TopK, n/4)
			if n/4 > s.TopK {
				index += n / 4
			}
		case r != 0:
			rows += n / r
		}
	}
	kv := s.KVExpOffset() + (s.HeadDim-s.RopeDim)/backend.FP8Block // what a row says, without the padding after it
	return int64(rows)*int64(kv) + int64(index)*(backend.IndexRowBytes+backend.IndexExpBytes)
}

// Step is the bytes that one step reads which decodes the n-th token of each of so many sequences. With more than one
// the number of experts is what chance makes it: E(1 − (1 − K/E)^sequences) distinct ones in each layer (model.md 6.3).
func (t *Traffic) Step(n, sequences int) float64 {
	s := &t.shape
	sum := float64(t.step) + float64(t.row)*float64(sequences) + float64(t.Cache(n))*float64(sequences)
	if n/4 > s.TopK {
		sum += float64(t.indexer)
	}
	e, k := float64(s.Experts), float64(s.ActiveExps)
	for il, bytes := range t.expert {
		distinct := e * (1 - math.Pow(1-k/e, float64(sequences)))
		if sequences == 1 || t.fixed && il >= s.Hash {
			distinct = k
		}
		sum += distinct * float64(bytes)
	}
	return sum
}
