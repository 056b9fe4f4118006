package metal_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/metal/standin"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// TestDispatches keeps the budget of a decoded token: one command buffer, one encoder, at most 15 dispatches a layer. Outside the
// layers are embed, the first hc_mix, hc_mix and hc_pre of the head, logits, top_parts and top_merge.
func TestDispatches(t *testing.T) {
	needGPU(t)
	tiny := synth.T1()
	e := gpu(t, tiny, limits(256, 1, 40))
	q := sequence(t, e)
	prompt := synth.Prompt(tiny.Shape.Vocab, 48)
	logits(t, q, prompt[:40], 0) // the indexer selects from here on
	for _, id := range prompt[40:] {
		if err := standin.Reset(); err != nil {
			t.Fatal(err)
		}
		logits(t, q, []int32{id}, 0)
		total, counts, err := standin.Counts()
		if err != nil {
			t.Fatal(err)
		}
		want := uint64(7)
		for _, ratio := range tiny.Shape.Ratio {
			want += 13
			if ratio == 4 {
				want += 2 // index_scores, index_select
			}
		}
		if total.CommandBuffers != 1 || total.Encoders != 1 || total.Dispatches != want {
			t.Errorf("token %d: want 1 command buffer, 1 encoder and %d dispatches, got %+v: %v", q.Len()-1, want, total, counts)
		}
	}
}

// necessary are the weights that each kernel of a decoded token must read once: names of a layer's tensors, or of the model's.
var necessary = map[string]string{
	"embed":         `^token_embd\.weight$`,
	"hc_mix":        `^blk\.0\.hc_attn_fn|^output_hc_fn`,
	"hc_pre":        `hc_.*_(scale|base)|^blk.*\.(attn|ffn)_norm|^output_norm`,
	"product_rows":  `attn_q_a\.weight|attn_kv\.weight|compressor_(kv|gate|ape)|indexer\.proj|ffn_gate_inp|ffn_(gate|up)_shexp`,
	"latent_rows":   `attn_q_b\.weight|indexer\.attn_q_b|attn_q_a_norm|attn_kv_a_norm|compressor_norm`,
	"attn_out_low":  `attn_output_a`,
	"attn_out_post": `attn_output_b|hc_ffn_fn`,
	"route":         `exp_probs_b`,
	"gate_up":       `ffn_(gate|up)_exps`,
	"down_post":     `ffn_down_(exps|shexp)|^blk\.[1-9]+\.hc_attn_fn`,
	"logits_rows":   `^output\.weight$`,
}

// share is the part of a tensor that one token needs.
func share(t *gguf.Tensor, sh *synth.Tiny) float64 {
	switch {
	case strings.HasSuffix(t.Name, "_exps.weight"):
		return float64(sh.Shape.ActiveExps) / float64(sh.Shape.Experts)
	case t.Name == "token_embd.weight":
		return 1 / float64(sh.Shape.Vocab)
	case strings.Contains(t.Name, "compressor_ape"):
		return 1 / float64(t.Dims[1])
	}
	return 1
}

// TestBytes counts what a decoded token reads and writes, in sectors of 32 bytes: weights by each threadgroup, everything else once
// a dispatch. It keeps the weights below 1.15 times what is necessary, for every kernel that has more than a hundredth of them, and
// all bytes together as well: at these widths, a quarter of the real ones, where activations count four times as much.
func TestBytes(t *testing.T) {
	needGPU(t)
	tiny := synth.T1()
	tiny.Name = "T1-wide"
	s := &tiny.Shape
	s.Layers, s.Ratio = 5, []int{0, 0, 4, 128, 4}
	s.Embd, s.Vocab, s.Heads, s.HeadDim, s.Groups, s.QRank, s.OutRank, s.ExpertDim = 1024, 2048, 16, 512, 2, 512, 256, 512
	s.TopK = 1
	prompt := synth.Prompt(s.Vocab, 12)
	first := sequence(t, engine(t, tiny, limits(256, 1, 11), func(s model.Shape, l model.Limits) (backend.Backend, error) { return cpu.New(s, l, cpu.Options{}) }))
	logits(t, first, prompt[:11], 0)
	snap, err := first.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Free()
	if err := standin.Set("trace", 1); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = standin.Set("trace", 0) }()
	q := carry(t, snap, gpu(t, tiny, limits(256, 1, 11))) // a token whose windows close, and for which the indexer selects
	if err := standin.Reset(); err != nil {
		t.Fatal(err)
	}
	logits(t, q, prompt[11:], 0)
	_, counts, err := standin.Counts()
	if err != nil {
		t.Fatal(err)
	}
	must, sum := map[string]float64{}, 0.0
	for u := range files[tiny.Name].Tensors() {
		for k, names := range necessary {
			if regexp.MustCompile(names).MatchString(u.Name) {
				must[k] += float64(u.Bytes) * share(u, &tiny)
				sum += float64(u.Bytes) * share(u, &tiny)
			}
		}
	}
	var names []string
	for k := range counts {
		names = append(names, k)
	}
	slices.Sort(names)
	moved, all := map[string]float64{}, 0.0
	for _, k := range names {
		c := counts[k]
		of := k
		for _, family := range []string{"gate_up", "down_post"} {
			if strings.Contains(k, family) {
				of = family
			}
		}
		moved[of] += float64(c.Wrapped)
		all += float64(c.Wrapped + c.ReadBytes + c.WroteBytes)
		t.Logf("%-28s %3d dispatches, weights %8d bytes, %.2f of what is necessary; read %6d, wrote %6d", k, c.Dispatches, c.Wrapped, float64(c.Wrapped)/max(1, must[of]), c.ReadBytes, c.WroteBytes)
	}
	t.Logf("all: %.0f bytes, %.3f of the %.0f of weights", all, all/sum, sum)
	for k, n := range moved {
		if n > sum/100 && n > 1.15*must[k] {
			t.Errorf("%s: want at most 1.15 of %.0f bytes of weights, got %.0f", k, must[k], n)
		}
	}
	if all > 1.15*sum {
		t.Errorf("all: want at most 1.15 of %.0f bytes, got %.0f", sum, all)
	}
}
