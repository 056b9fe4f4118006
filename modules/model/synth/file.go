package synth

import (
	"bytes"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
)

// Plan returns a writer with the model's metadata and tensors, to which a caller may add.
func (t Tiny) Plan() (*gguf.Writer, error) {
	w := gguf.NewWriter()
	var err error
	add := func(key string, v any) {
		if err == nil {
			err = w.Add(key, v)
		}
	}
	add(gguf.KeyArchitecture, model.Architecture)
	add("general.name", "ds4 tiny "+t.Name)
	model.Metadata(t.Shape, add)
	if err != nil {
		return nil, err
	}
	err = t.Tensors(func(g gguf.Tensor, data []byte) error {
		return w.AddTensor(g.Name, g.Type, g.Dims, gguf.Bytes(data))
	})
	return w, err
}

// File returns the model as an open file in memory.
func (t Tiny) File() (*gguf.File, error) {
	w, err := t.Plan()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Grow(int(w.Size()))
	if _, err := w.WriteTo(&b); err != nil {
		return nil, err
	}
	return gguf.ParseBytes(b.Bytes())
}
