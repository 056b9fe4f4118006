package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
)

// array is one tensor of a checkpoint: shape outermost first.
type array struct {
	DType   string   `json:"dtype"`
	Shape   []uint64 `json:"shape"`
	Offsets [2]int   `json:"data_offsets"`

	data []byte
}

type vocabulary struct {
	Tokens []string `json:"tokens"`
	Types  []int32  `json:"types"`
	Merges []string `json:"merges"`
}

// checkpoint is what train.py leaves in its folder.
type checkpoint struct {
	shape      model.Shape
	arrays     map[string]array
	vocab      vocabulary
	importance map[string][]float32 // by tensor: a weight for each column of each expert
}

type config struct {
	Layers, Hash, Embd, Vocab, Heads, Groups, Window, Experts, Active int
	Ratio                                                             []int
	HeadDim                                                           int `json:"head_dim"`
	RopeDim                                                           int `json:"rope_dim"`
	QRank                                                             int `json:"q_rank"`
	OutRank                                                           int `json:"out_rank"`
	IndexHeads                                                        int `json:"index_heads"`
	TopK                                                              int `json:"top_k"`
	ExpertDim                                                         int `json:"expert_dim"`
}

func readCheckpoint(dir string) (*checkpoint, error) {
	c := &checkpoint{arrays: map[string]array{}}
	text, err := os.ReadFile(filepath.Join(dir, "vocab.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &c.vocab); err != nil {
		return nil, fmt.Errorf("vocab.json: %w", err)
	}
	var cfg config
	for i := 0; ; i++ {
		name := filepath.Join(dir, fmt.Sprintf("w%d.safetensors", i))
		raw, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) && i > 0 {
			break
		}
		if err == nil {
			err = c.addShard(raw, &cfg)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	s := &c.shape
	*s = model.Shape{Layers: cfg.Layers, Ratio: cfg.Ratio, Hash: cfg.Hash, Embd: cfg.Embd, Vocab: cfg.Vocab, Heads: cfg.Heads,
		HeadDim: cfg.HeadDim, RopeDim: cfg.RopeDim, QRank: cfg.QRank, OutRank: cfg.OutRank, Groups: cfg.Groups, Window: cfg.Window,
		IndexHeads: cfg.IndexHeads, TopK: cfg.TopK, Experts: cfg.Experts, ActiveExps: cfg.Active, ExpertDim: cfg.ExpertDim}
	s.Constants()
	return c, s.Check()
}

// addShard reads one safetensors file: u64 n, n bytes of JSON, arrays.
func (c *checkpoint) addShard(raw []byte, cfg *config) error {
	if len(raw) < 8 {
		return fmt.Errorf("want a safetensors file, got %d bytes", len(raw))
	}
	n := binary.LittleEndian.Uint64(raw)
	if n > uint64(len(raw)-8) {
		return fmt.Errorf("header: want %d bytes, got %d", n, len(raw)-8)
	}
	head := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw[8:8+n], &head); err != nil {
		return err
	}
	data := raw[8+n:]
	for name, text := range head {
		if name == "__metadata__" {
			var m struct {
				Config string `json:"config"`
			}
			if err := json.Unmarshal(text, &m); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(m.Config), cfg); err != nil {
				return err
			}
			continue
		}
		var a array
		if err := json.Unmarshal(text, &a); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if a.Offsets[0] < 0 || a.Offsets[1] < a.Offsets[0] || a.Offsets[1] > len(data) {
			return fmt.Errorf("%s: want offsets within %d bytes, got %v", name, len(data), a.Offsets)
		}
		a.data = data[a.Offsets[0]:a.Offsets[1]]
		c.arrays[name] = a
	}
	return nil
}

// tensor encodes a named array as type typ. It returns the GGUF dimensions, innermost first.
func (c *checkpoint) tensor(name string, typ gguf.Type) (dims []uint64, data []byte, err error) {
	a, ok := c.arrays[name]
	if !ok {
		return nil, nil, fmt.Errorf("%s: not in the checkpoint", name)
	}
	dims = slices.Clone(a.Shape)
	slices.Reverse(dims)
	if typ == gguf.TypeI32 {
		return dims, a.data, nil
	}
	v, err := a.floats()
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	size, err := typ.RowBytes(len(v))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	data = make([]byte, size)
	// One expert at a time: each is a matrix of its own to the quantisers.
	per := len(v)
	if len(dims) == 3 {
		per = int(dims[0] * dims[1])
	}
	cols, important := int(dims[0]), c.importance[name]
	if experts := len(v) / per; important != nil && len(important) != experts*cols {
		return nil, nil, fmt.Errorf("%s: importance: want %d values, got %d", name, experts*cols, len(important))
	}
	for at := 0; at < len(v); at += per {
		var weights []float32
		if important != nil {
			weights = important[at/per*cols:][:cols]
		}
		part := data[at*int(size)/len(v) : (at+per)*int(size)/len(v)]
		if err := gguf.Quantize(typ, part, v[at:at+per], cols, weights); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return dims, data, nil
}

func (a array) floats() ([]float32, error) {
	switch a.DType {
	case "F16":
		v := make([]float32, len(a.data)/2)
		for i := range v {
			v[i] = gguf.Float16ToFloat32(binary.LittleEndian.Uint16(a.data[2*i:]))
		}
		return v, nil
	case "F32":
		v := make([]float32, len(a.data)/4)
		for i := range v {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(a.data[4*i:]))
		}
		return v, nil
	}
	return nil, fmt.Errorf("want dtype F16 or F32, got %q", a.DType)
}
