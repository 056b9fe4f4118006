package model_test

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/null"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// edit is a change to the tiny file's plan: a key or tensor left out, or replaced.
type edit struct {
	drop string
	key  string
	val  any
	typ  gguf.Type
	dims []uint64
	data []byte
}

// t0 is made once.
var t0 = sync.OnceValue(func() (all []tensor) {
	_ = synth.T0().Tensors(func(g gguf.Tensor, data []byte) error {
		all = append(all, tensor{g, data})
		return nil
	})
	return all
})

type tensor struct {
	gguf.Tensor
	data []byte
}

// edited writes T0 with a change. A tensor named by drop comes back with typ and dims where these are given.
func edited(t *testing.T, c edit) *gguf.File {
	t.Helper()
	tiny := synth.T0()
	w := gguf.NewWriter()
	add := func(k string, v any) {
		if err := w.Add(k, v); err != nil {
			t.Fatal(err)
		}
	}
	arch := any(model.Architecture)
	if c.key == gguf.KeyArchitecture {
		arch = c.val
	}
	add(gguf.KeyArchitecture, arch)
	model.Metadata(tiny.Shape, func(k string, v any) {
		switch k {
		case model.Architecture + "." + c.drop:
		case model.Architecture + "." + c.key:
			add(k, c.val)
		default:
			add(k, v)
		}
	})
	var err error
	for _, g := range t0() {
		if g.Name == c.drop {
			if c.dims == nil {
				continue
			}
			g.Type, g.Dims = c.typ, c.dims
			n, err := g.Type.RowBytes(int(g.Elements()))
			if err != nil {
				t.Fatal(err)
			}
			if g.data = make([]byte, n); c.data != nil {
				g.data = c.data
			}
		}
		if err = w.AddTensor(g.Name, g.Type, g.Dims, gguf.Bytes(g.data)); err != nil {
			break
		}
	}
	if err == nil && c.key == "unused" {
		err = w.AddTensor("extra.weight", gguf.TypeQ6_K, []uint64{256}, gguf.Bytes(make([]byte, 210)))
	}
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.ParseBytes(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// load reads shape and weights the way a program does.
func load(f *gguf.File) error {
	sh, err := model.ReadShape(f)
	if err != nil {
		return err
	}
	b, err := null.New(sh, limits(16, 1, 4))
	if err != nil {
		return err
	}
	_, err = model.Load(f, sh, b, nil)
	return err
}

// TestLoadRefuses changes one thing of a good file at a time: the error must name it.
func TestLoadRefuses(t *testing.T) {
	if err := load(edited(t, edit{})); err != nil {
		t.Fatalf("the unchanged file: %v", err)
	}
	if err := load(edited(t, edit{key: "unused"})); err != nil {
		t.Fatalf("a tensor of an unknown kind that nobody needs: %v", err)
	}
	if err := load(edited(t, edit{drop: "blk.3.exp_probs_b.bias"})); err != nil {
		t.Fatalf("without an optional router bias: %v", err)
	}
	keys := 0
	model.Metadata(synth.T0().Shape, func(k string, _ any) {
		if keys++; testing.Short() && keys%9 != 0 {
			return
		}
		k = strings.TrimPrefix(k, model.Architecture+".")
		for what, c := range map[string]edit{"missing": {drop: k}, "a string": {key: k, val: "many"}} {
			if err := load(edited(t, c)); err == nil || !strings.Contains(err.Error(), k) {
				t.Errorf("%s %s: got %v", k, what, err)
			}
		}
	})
	for _, c := range []struct {
		key string
		val any
	}{
		{"attention.head_count_kv", uint32(2)}, {"attention.value_length", uint32(64)}, {"attention.indexer.key_length", uint32(64)},
		{"hyper_connection.count", uint32(2)}, {"expert_shared_count", uint32(0)}, {"expert_weights_norm", false},
		{"attention.compress_ratios", []int32{0, 0, 4}}, {"swiglu_clamp_exp", []float32{10, 10}},
		{"swiglu_clamp_exp", []float32{10, 10, 9, 10, 10}},
	} {
		if err := load(edited(t, edit{key: c.key, val: c.val})); err == nil || !strings.Contains(err.Error(), c.key) {
			t.Errorf("%s = %v: got %v", c.key, c.val, err)
		}
	}
	for _, c := range []struct {
		key string
		val any
	}{
		{"attention.compress_ratios", []int32{0, 0, -4, 128, 4}}, {"embedding_length", uint32(100)}, {"block_count", uint32(1 << 30)},
		{"attention.head_count", uint32(0)}, {"rope.dimension_count", uint32(63)}, {"expert_used_count", uint32(99)},
		{"attention.sliding_window", uint32(1 << 31)}, {"rope.freq_base", float32(0)}, {"expert_weights_scale", float32(-1)},
	} {
		if err := load(edited(t, edit{key: c.key, val: c.val})); err == nil {
			t.Errorf("%s = %v was accepted", c.key, c.val)
		}
	}
	if err := load(edited(t, edit{key: gguf.KeyArchitecture, val: "llama"})); !errors.Is(err, model.ErrNotDS4) {
		t.Errorf("another architecture: want ErrNotDS4, got %v", err)
	}
}

// TestLoadRefusesTensors does so with every tensor: left out, of another type, of another size.
func TestLoadRefusesTensors(t *testing.T) {
	sh := synth.T0().Shape
	for i, s := range model.Inventory(sh) {
		if testing.Short() && i%17 != 0 {
			continue
		}
		dims := make([]uint64, len(s.Dims))
		for i, d := range s.Dims {
			dims[i] = uint64(d)
		}
		wrong := append([]uint64(nil), dims...)
		wrong[len(wrong)-1]++
		for what, c := range map[string]edit{
			"missing":         {drop: s.Name},
			"of another type": {drop: s.Name, typ: gguf.TypeBF16, dims: dims},
			"one row more":    {drop: s.Name, typ: gguf.TypeI8, dims: wrong},
		} {
			err := load(edited(t, c))
			if s.Optional && what == "missing" {
				continue
			}
			if err == nil || !strings.Contains(err.Error(), s.Name) {
				t.Errorf("%s %s: got %v", s.Name, what, err)
			}
		}
	}
	table := make([]byte, 4*sh.ActiveExps*sh.Vocab)
	table[4*sh.ActiveExps*7] = byte(sh.Experts)
	name := "blk.1.ffn_gate_tid2eid.weight"
	err := load(edited(t, edit{drop: name, typ: gguf.TypeI32, dims: []uint64{uint64(sh.ActiveExps), uint64(sh.Vocab)}, data: table}))
	if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "token 7") {
		t.Errorf("an expert id out of range: got %v", err)
	}
	gate := "blk.2.ffn_gate_exps.weight"
	err = load(edited(t, edit{drop: gate, typ: gguf.TypeQ4_K, dims: []uint64{uint64(sh.Embd), uint64(sh.ExpertDim), uint64(sh.Experts)}}))
	if err == nil || !strings.Contains(err.Error(), "blk.2") {
		t.Errorf("gate and up experts of different types: got %v", err)
	}
}
