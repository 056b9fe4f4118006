package synth

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Keys of a synthetic file of the real size. KeySeed marks one, and its value makes the same file again.
const (
	KeySeed       = "ds4.synthetic.seed"
	KeyFixedRoute = "ds4.synthetic.fixed_route"
)

// Flash is a model file of the real width with random weights: the speed of the real file, and text that is noise.
// Activations stay finite and of a sane size, by the amplitudes of model.md 7.3.
type Flash struct {
	Shape   model.Shape   // see FlashShape
	Experts [3]gguf.Type  // types of gate, up and down experts; see Quant
	Seed    uint64        // another seed, other weights
	Workers int           // goroutines that make data; 0: one
	Wrote   func(n int64) // told the bytes of each piece of data written; may be nil

	// ExpertSets is how many layers have routed experts of their own. Layer il of the others points at those of layer
	// il mod ExpertSets, so that a file of all layers fits small disks and memories; a set is far larger than any
	// cache, so it is as fast as the real one. 0, or as many as layers: every layer has its own.
	ExpertSets int

	// FixedRoute makes the choice of experts independent of the input, so that two backends that round differently
	// still choose alike. Hash layers choose by token anyway.
	FixedRoute bool
}

// FlashShape is the shape of the real model cut to its first layers (1 to 43).
func FlashShape(layers int) (model.Shape, error) {
	s := backend.Flash()
	if layers < 1 || layers > s.Layers {
		return s, fmt.Errorf("synth: layers: want 1 to %d, got %d", s.Layers, layers)
	}
	s.Layers, s.Ratio, s.Hash = layers, s.Ratio[:layers], min(s.Hash, layers)
	return s, nil
}

// Quants names the combinations of expert types that Quant knows: the first two as published.
var Quants = []string{"q2", "q4", "mxfp4"}

// Quant returns the types of gate, up and down experts under a name of Quants.
func Quant(name string) ([3]gguf.Type, error) {
	i := slices.Index(Quants, name)
	if i < 0 {
		return [3]gguf.Type{}, fmt.Errorf("synth: quant: want %s, got %q", strings.Join(Quants, " or "), name)
	}
	return [][3]gguf.Type{expertsQ2, expertsQ4, expertsMXFP4}[i], nil
}

// Plan returns a writer for the file. Data is made while it is written, so that memory holds only a few pieces of it.
func (f Flash) Plan() (*gguf.Writer, error) {
	if f.ExpertSets < 0 {
		return nil, fmt.Errorf("synth: expert sets: want 0 or more, got %d", f.ExpertSets)
	}
	if f.ExpertSets == 0 || f.ExpertSets > f.Shape.Layers {
		f.ExpertSets = f.Shape.Layers
	}
	w := gguf.NewWriter()
	if err := f.metadata(w); err != nil {
		return nil, fmt.Errorf("synth: %w", err)
	}
	for _, spec := range model.Inventory(f.Shape) {
		if err := f.tensor(w, spec); err != nil {
			return nil, fmt.Errorf("synth: %w", err)
		}
	}
	return w, nil
}

func (f Flash) metadata(w *gguf.Writer) error {
	v, err := flashVocab(f.Shape.Vocab)
	if err != nil {
		return err
	}
	add := func(key string, value any) {
		if err == nil {
			err = w.Add(key, value)
		}
	}
	add(gguf.KeyArchitecture, model.Architecture)
	add("general.name", f.name())
	add(KeySeed, f.Seed)
	if f.FixedRoute {
		add(KeyFixedRoute, true)
	}
	if err == nil && f.ExpertSets < f.Shape.Layers {
		err = w.ShareOffsets()
	}
	model.Metadata(f.Shape, add)
	add(model.Architecture+".context_length", uint32(1<<20))
	v.metadata(add)
	return err
}

func (f Flash) name() string {
	return fmt.Sprintf("ds4 synthetic (%d layers, experts %v and %v in %d sets; its text is noise)",
		f.Shape.Layers, f.Experts[0], f.Experts[2], f.ExpertSets)
}

func (f Flash) tensor(w *gguf.Writer, spec model.Spec) error {
	t := Tiny{Shape: f.Shape, Experts: f.Experts}
	typ := t.typeOf(spec)
	var dims []uint64
	n := 1
	for _, d := range spec.Dims {
		n *= d
		dims = append(dims, uint64(d))
	}
	bytes, err := typ.RowBytes(n)
	if err != nil {
		return fmt.Errorf("%s: %w", spec.Name, err)
	}
	if owner := f.owner(spec.Name); owner != spec.Name {
		return w.AddShared(spec.Name, typ, dims, owner, 0)
	}
	return w.AddTensor(spec.Name, typ, dims, f.payload(spec, typ, bytes))
}

// owner is the tensor whose data a tensor has: its own name, but for routed experts past the first sets.
func (f Flash) owner(name string) string {
	il, tail := layerOf(name)
	if il < f.ExpertSets || !strings.Contains(tail, "_exps.") {
		return name
	}
	return fmt.Sprintf("blk.%d.%s", il%f.ExpertSets, tail)
}

// IsSynthetic says whether a file is one of Flash's.
func IsSynthetic(f *gguf.File) bool {
	_, ok := f.KV(KeySeed)
	return ok
}

// HasFixedRoute says whether the choice of experts does not depend on the input.
func HasFixedRoute(f *gguf.File) bool {
	fixed, err := gguf.Get[bool](f, KeyFixedRoute)
	return err == nil && fixed
}
