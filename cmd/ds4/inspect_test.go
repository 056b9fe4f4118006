package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
)

func TestInspect(t *testing.T) {
	dir := t.TempDir()
	demo := demoBytes(t)
	write(t, dir, "demo.gguf", demo)
	write(t, dir, "cut.gguf", demo[:100000])
	for _, c := range []struct {
		args string
		code int
		want []string
	}{
		{"inspect demo.gguf", 0, []string{"7 layers, width 256", "general.architecture", "blk.*.attn_q_a.weight", "×7"}},
		{"inspect --all demo.gguf", 0, []string{"blk.6.attn_q_a.weight"}},
		{"inspect cut.gguf", 0, []string{"incomplete", "are missing"}},
		{"inspect demo.gguf --check", 0, []string{"the demo model", "demo.gguf: good (layout, shape, tokenizer, tensors)"}},
		{"inspect cut.gguf --check", 1, []string{"wrong:", "cut short"}},
		{"--inspect -m demo.gguf", 0, []string{"experts      6 of 16"}},
		{"doctor --demo", 0, []string{"cpu ", "memory", "backends", "next      ds4 demo"}},
		{"doctor", 0, []string{"ds4flash.gguf: not here", "ds4 fetch q2"}},
		{"doctor -m cut.gguf", 0, []string{"cut short", "ds4 inspect --check cut.gguf"}},
	} {
		r := ds4(t, dir, "", strings.Fields(c.args)...)
		if r.code != c.code {
			t.Errorf("%s: want code %d, got %d: %s", c.args, c.code, r.code, r.errOut)
		}
		for _, w := range c.want {
			if !strings.Contains(r.out, w) {
				t.Errorf("%s: want %q, got\n%s", c.args, w, r.out)
			}
		}
	}
	for _, args := range []string{"inspect --json demo.gguf", "inspect --json --check demo.gguf", "inspect --json cut.gguf", "doctor --json"} {
		r := ds4(t, dir, "", strings.Fields(args)...)
		if v := map[string]any{}; json.Unmarshal([]byte(r.out), &v) != nil || len(v) < 4 || r.code != 0 {
			t.Errorf("%s: want JSON and code 0, got %d and %.200s", args, r.code, r.out)
		}
	}
}

// TestCheckNames: what is wrong with a file is named, all of it.
func TestCheckNames(t *testing.T) {
	dir := t.TempDir()
	other := map[string]bool{"blk.3.attn_norm.weight": true, "output.weight": true, "ds4.demo": true}
	write(t, dir, "bad.gguf", remade(t, func(n string) bool { return !other[n] }, func(w *gguf.Writer) error {
		return w.AddTensor("blk.3.attn_norm.weight", gguf.TypeF16, []uint64{256}, gguf.Bytes(make([]byte, 512)))
	}))
	r := ds4(t, dir, "", "inspect", "--check", "bad.gguf")
	for _, w := range []string{"output.weight: want q8_0", "got nothing", "blk.3.attn_norm.weight: want f32", "got f16",
		"shape of DeepSeek V4 Flash: layers: want 43, got 7"} {
		if !strings.Contains(r.out, w) {
			t.Errorf("want %q, got\n%s", w, r.out)
		}
	}
	if r.code != 1 {
		t.Errorf("want code 1, got %d", r.code)
	}
}
