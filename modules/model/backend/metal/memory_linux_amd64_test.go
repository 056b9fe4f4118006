package metal_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/metal/standin"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/metal"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// set changes the stand-in for one test.
func set(t *testing.T, name string, v, back int64) {
	t.Helper()
	if err := standin.Set(name, v); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := standin.Set(name, back); err != nil {
			t.Error(err)
		}
	})
}

// TestFree: what the system says of free memory reaches admission.
func TestFree(t *testing.T) {
	needGPU(t)
	const gib = 1 << 30
	set(t, "available", 6*gib, 64*gib)
	tiny := synth.T1()
	for _, c := range []struct {
		weights int64
		ok      bool
	}{{3 * gib, true}, {5 * gib, false}} {
		b, err := metal.New(tiny.Shape, limits(256, 1, 8), metal.Options{Library: library(t), WeightBytes: c.weights})
		if err == nil {
			err = b.Close()
		}
		if c.ok != (err == nil) || err != nil && (!errors.Is(err, backend.ErrMemory) || !strings.Contains(err.Error(), "close other programs")) {
			t.Errorf("weights of %d GiB where 6 are free: %v", c.weights/gib, err)
		}
	}
}

// TestBuffers: weights that no single buffer can hold are wrapped in several, and give the same bits; a tensor that fits none is
// refused by its name.
func TestBuffers(t *testing.T) {
	needGPU(t)
	tiny := synth.T1()
	prompt := synth.Prompt(tiny.Shape.Vocab, 5)
	want := logits(t, sequence(t, gpu(t, tiny, limits(64, 1, 8))), prompt, 0)
	const most, usual = 5 << 20, 4 << 30 // the state's longest buffer fits, all weights do not
	set(t, "max_buffer", most, usual)
	if got := logits(t, sequence(t, gpu(t, tiny, limits(64, 1, 8))), prompt, 0); !slices.Equal(got, want) {
		t.Error("in several buffers: other logits than in one")
	}
	b, err := open(t, tiny.Shape, limits(64, 1, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	long := &gguf.Tensor{Name: "too.long", Type: gguf.TypeF32, Dims: []uint64{1 << 10, most >> 12}}
	if _, err := b.Bind(long, make([]byte, most)); !errors.Is(err, backend.ErrMemory) || !strings.Contains(err.Error(), long.Name) {
		t.Errorf("%s: want ErrMemory, got %v", long.Name, err)
	}
}
