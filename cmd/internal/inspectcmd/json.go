package inspectcmd

import (
	"encoding/json"
	"io"
	"math"

	"github.com/ds4-go/ds4/modules/gguf"
)

// maxListed is the longest metadata array whose values are printed.
const maxListed = 256

type fileJSON struct {
	File       string       `json:"file"`
	Bytes      int64        `json:"bytes"`
	Version    int          `json:"version"`
	Alignment  int64        `json:"alignment"`
	DataOffset int64        `json:"data_offset"`
	Missing    int64        `json:"missing_bytes"`
	Metadata   []kvJSON     `json:"metadata"`
	Tensors    []tensorJSON `json:"tensors"`
	Check      *findings    `json:"check,omitempty"`
}

type kvJSON struct {
	Key   string `json:"key"`
	Kind  string `json:"kind"`
	Count int    `json:"count,omitempty"` // of an array
	Value any    `json:"value,omitempty"` // none for a long array
}

type tensorJSON struct {
	Name   string   `json:"name"`
	Type   string   `json:"type"`
	Shape  []uint64 `json:"shape"` // outermost first
	Offset int64    `json:"offset"`
	Bytes  uint64   `json:"bytes"`
}

func writeJSON(w io.Writer, f *gguf.File, path string, found *findings) error {
	out := fileJSON{File: path, Bytes: f.Size(), Version: f.Version(), Alignment: f.Alignment(), DataOffset: f.DataOffset(),
		Missing: missing(f), Metadata: []kvJSON{}, Tensors: []tensorJSON{}, Check: found}
	for kv := range f.KVs() {
		v, err := valueOf(kv)
		if err != nil {
			return err
		}
		out.Metadata = append(out.Metadata, v)
	}
	for t := range f.Tensors() {
		out.Tensors = append(out.Tensors, tensorJSON{t.Name, t.TypeName(), t.Shape(), t.FileOffset(), t.Bytes})
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

func valueOf(kv *gguf.KV) (out kvJSON, err error) {
	out = kvJSON{Key: kv.Key, Kind: kv.Kind.String()}
	switch kv.Kind {
	case gguf.KindString:
		out.Value, err = gguf.Value[string](kv)
	case gguf.KindBool:
		out.Value, err = gguf.Value[bool](kv)
	case gguf.KindUint64:
		out.Value, err = gguf.Value[uint64](kv)
	case gguf.KindFloat32, gguf.KindFloat64:
		var v float64
		v, err = gguf.Value[float64](kv)
		out.Value = number(v)
	case gguf.KindArray:
		out.Kind, out.Count = "array of "+kv.Elem.String(), kv.Len
		if kv.Len <= maxListed {
			out.Value, err = listOf(kv)
		}
	default:
		out.Value, err = gguf.Value[int64](kv)
	}
	return out, err
}

// number is what JSON can hold: it has no NaN and no infinity.
func number(v float64) any {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return v
}

func listOf(kv *gguf.KV) (any, error) {
	a, err := kv.Array()
	if err != nil {
		return nil, err
	}
	switch kv.Elem {
	case gguf.KindString:
		return gguf.Slice[string](a)
	case gguf.KindBool:
		return gguf.Slice[bool](a)
	case gguf.KindUint64:
		return gguf.Slice[uint64](a)
	case gguf.KindArray:
		return nil, nil
	case gguf.KindFloat32, gguf.KindFloat64:
		v, err := gguf.Slice[float64](a)
		out := make([]any, len(v))
		for i := range v {
			out[i] = number(v[i])
		}
		return out, err
	}
	return gguf.Slice[int64](a)
}
