package gguf_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
)

func TestImportanceFile(t *testing.T) {
	list := []gguf.Importance{
		{Name: "blk.0.ffn_gate_exps.weight", Values: []float32{1, 2, 3, 4, 5, 6}},
		{Name: "blk.0.ffn_up_exps.weight.expert.1", Values: []float32{7, 8}},
	}
	var out bytes.Buffer
	if err := gguf.WriteImportance(&out, list, 90042, "prompts.txt"); err != nil {
		t.Fatal(err)
	}
	data := out.Bytes()
	got, err := gguf.ReadImportance(bytes.NewReader(data))
	if err != nil || len(got) != 2 || got[1].Name != list[1].Name || !slices.Equal(got[0].Values, list[0].Values) {
		t.Fatalf("want %v, got %v, %v", list, got, err)
	}
	for _, c := range []struct {
		tensor string
		expert int
		want   []float32
	}{
		{"blk.0.ffn_gate_exps.weight", 2, []float32{5, 6}},
		{"blk.0.ffn_gate_exps.weight", 3, nil},
		{"blk.0.ffn_up_exps.weight", 1, []float32{7, 8}},
		{"blk.0.ffn_up_exps.weight", 0, nil},
	} {
		if v, ok := gguf.FindImportance(got, c.tensor, c.expert, 2); !slices.Equal(v, c.want) || ok != (c.want != nil) {
			t.Errorf("%s, expert %d: want %v, got %v", c.tensor, c.expert, c.want, v)
		}
	}

	// Two calls halve the values.
	calls := 4 + 4 + len(list[0].Name)
	binary.LittleEndian.PutUint32(data[calls:], 2)
	if got, err := gguf.ReadImportance(bytes.NewReader(data)); err != nil || got[0].Values[5] != 3 {
		t.Errorf("two calls: want 3, got %v, %v", got, err)
	}
	entries := len(data) - 8 - len("prompts.txt")
	for n := range entries {
		if _, err := gguf.ReadImportance(bytes.NewReader(data[:n])); !errors.Is(err, gguf.ErrCorrupt) {
			t.Fatalf("cut at %d of %d: want a corrupt file, got %v", n, entries, err)
		}
	}
	binary.LittleEndian.PutUint32(data[calls+8:], math.Float32bits(float32(math.NaN())))
	if _, err := gguf.ReadImportance(bytes.NewReader(data)); !errors.Is(err, gguf.ErrCorrupt) {
		t.Errorf("NaN: want a corrupt file, got %v", err)
	}
}

func FuzzImportance(f *testing.F) {
	var out bytes.Buffer
	if err := gguf.WriteImportance(&out, []gguf.Importance{{Name: "a", Values: []float32{1}}}, 1, "d"); err != nil {
		f.Fatal(err)
	}
	f.Add(out.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := gguf.ReadImportance(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, gguf.ErrCorrupt) {
				t.Errorf("want a corrupt file, got %v", err)
			}
			return
		}
		var out bytes.Buffer
		if err := gguf.WriteImportance(&out, list, 0, ""); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		back, err := gguf.ReadImportance(&out)
		if err != nil || len(back) != len(list) {
			t.Fatalf("want %d entries back, got %d, %v", len(list), len(back), err)
		}
	})
}
