package model

import (
	"errors"
	"fmt"
	"math"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Shape and Limits are the backend's: devices are made from them before a model is loaded.
type (
	Shape  = backend.Shape
	Limits = backend.Limits
)

// Architecture is general.architecture of the files this package runs.
const Architecture = "deepseek4"

// ErrNotDS4 is wrapped by errors about a file that is a GGUF file, but not one of this model.
var ErrNotDS4 = errors.New("not a DeepSeek V4 file")

// meta reads keys of one architecture and keeps the first failure.
type meta struct {
	f   *gguf.File
	err error
}

func (m *meta) key(k string) string { return Architecture + "." + k }

func (m *meta) fail(err error) {
	if m.err == nil && err != nil {
		m.err = fmt.Errorf("model: %w", err)
	}
}

func (m *meta) int(k string, dst *int) {
	v, err := gguf.Get[uint32](m.f, m.key(k))
	m.fail(err)
	*dst = int(min(v, math.MaxInt32))
}

func (m *meta) float(k string) float64 {
	v, err := gguf.Get[float64](m.f, m.key(k))
	m.fail(err)
	if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
		m.fail(fmt.Errorf("%s: want a number, got %g", m.key(k), v))
	}
	return v
}

// want requires one value of a key: what the architecture fixes.
func (m *meta) want(k string, want int) {
	var got int
	if m.int(k, &got); m.err == nil && got != want {
		m.fail(fmt.Errorf("%s: want %d, got %d", m.key(k), want, got))
	}
}

// ReadShape takes the hyper-parameters from a file's metadata (model.md 1.3). Any shape that a backend can run is
// accepted; what the architecture fixes is checked. Errors name the key, what it should hold and what it holds.
func ReadShape(f *gguf.File) (Shape, error) {
	arch, err := f.Architecture()
	if err != nil {
		return Shape{}, fmt.Errorf("model: %w: %w", ErrNotDS4, err)
	}
	if arch != Architecture {
		return Shape{}, fmt.Errorf("model: %w: %s: want %q, got %q", ErrNotDS4, gguf.KeyArchitecture, Architecture, arch)
	}
	m, s := &meta{f: f}, Shape{}
	s.Constants()
	for _, k := range []struct {
		key string
		dst *int
	}{
		{"block_count", &s.Layers}, {"embedding_length", &s.Embd}, {"vocab_size", &s.Vocab},
		{"attention.head_count", &s.Heads}, {"attention.key_length", &s.HeadDim}, {"rope.dimension_count", &s.RopeDim},
		{"attention.q_lora_rank", &s.QRank}, {"attention.output_lora_rank", &s.OutRank}, {"attention.output_group_count", &s.Groups},
		{"expert_count", &s.Experts}, {"expert_used_count", &s.ActiveExps}, {"expert_feed_forward_length", &s.ExpertDim},
		{"hash_layer_count", &s.Hash}, {"attention.sliding_window", &s.Window},
		{"attention.indexer.head_count", &s.IndexHeads}, {"attention.indexer.top_k", &s.TopK},
		{"hyper_connection.sinkhorn_iterations", &s.SinkhornRounds},
	} {
		m.int(k.key, k.dst)
	}
	m.want("attention.head_count_kv", 1)
	m.want("attention.value_length", s.HeadDim)
	m.want("attention.indexer.key_length", backend.IndexDim)
	m.want("hyper_connection.count", backend.Streams)
	m.want("expert_shared_count", 1)
	for _, k := range []string{"expert_group_count", "expert_group_used_count"} {
		if _, ok := f.KV(m.key(k)); ok {
			m.want(k, 0)
		}
	}
	norm, err := gguf.Get[bool](f, m.key("expert_weights_norm"))
	m.fail(err)
	if err == nil && !norm {
		m.fail(fmt.Errorf("%s: want true, got false", m.key("expert_weights_norm")))
	}
	m.floats(&s)
	m.ratios(&s)
	if m.err == nil {
		m.fail(s.Check())
	}
	if m.err != nil {
		return Shape{}, m.err
	}
	return s, nil
}

func (m *meta) floats(s *Shape) {
	s.RopeBase = m.float("rope.freq_base")
	s.CompressBase = m.float("attention.compress_rope_freq_base")
	s.YarnFactor = m.float("rope.scaling.factor")
	s.YarnContext = m.float("rope.scaling.original_context_length")
	s.YarnFast = m.float("rope.scaling.yarn_beta_fast")
	s.YarnSlow = m.float("rope.scaling.yarn_beta_slow")
	s.ExpertScale = float32(m.float("expert_weights_scale"))
	s.RMSEps = float32(m.float("attention.layer_norm_rms_epsilon"))
	s.HCEps = float32(m.float("hyper_connection.epsilon"))
}

// ratios reads what is told per layer. The arrays may go on past the layers: entry 44 of the real file is the MTP block's.
func (m *meta) ratios(s *Shape) {
	key := m.key("attention.compress_ratios")
	r, err := gguf.Values[int32](m.f, key)
	m.fail(err)
	if err == nil && len(r) < s.Layers {
		m.fail(fmt.Errorf("%s: want %d entries or more, got %d", key, s.Layers, len(r)))
	}
	clampKey := m.key("swiglu_clamp_exp")
	c, err := gguf.Values[float64](m.f, clampKey)
	m.fail(err)
	if err == nil && len(c) < s.Layers {
		m.fail(fmt.Errorf("%s: want %d entries or more, got %d", clampKey, s.Layers, len(c)))
	}
	if m.err != nil {
		return
	}
	s.Ratio = make([]int, s.Layers)
	for il := range s.Ratio {
		s.Ratio[il] = int(r[il])
		if c[il] != c[0] || !(c[il] > 0) {
			m.fail(fmt.Errorf("%s: entry %d: want one positive clamp for all layers, got %g and %g", clampKey, il, c[0], c[il]))
		}
	}
	s.Clamp = float32(c[0])
}

// Metadata calls put with every key that ReadShape needs, in a fixed order: for those who write files.
// Values are uint32, float32, bool, []int32 or []float32.
func Metadata(s Shape, put func(key string, value any)) {
	u := func(k string, v int) { put(Architecture+"."+k, uint32(v)) }
	f := func(k string, v float64) { put(Architecture+"."+k, float32(v)) }
	u("block_count", s.Layers)
	u("embedding_length", s.Embd)
	u("vocab_size", s.Vocab)
	u("attention.head_count", s.Heads)
	u("attention.head_count_kv", 1)
	u("attention.key_length", s.HeadDim)
	u("attention.value_length", s.HeadDim)
	u("rope.dimension_count", s.RopeDim)
	u("attention.q_lora_rank", s.QRank)
	u("attention.output_lora_rank", s.OutRank)
	u("attention.output_group_count", s.Groups)
	u("expert_count", s.Experts)
	u("expert_used_count", s.ActiveExps)
	u("expert_feed_forward_length", s.ExpertDim)
	u("expert_shared_count", 1)
	u("hash_layer_count", s.Hash)
	u("attention.sliding_window", s.Window)
	u("attention.indexer.head_count", s.IndexHeads)
	u("attention.indexer.key_length", backend.IndexDim)
	u("attention.indexer.top_k", s.TopK)
	u("hyper_connection.count", backend.Streams)
	u("hyper_connection.sinkhorn_iterations", s.SinkhornRounds)
	ratios, clamp := make([]int32, s.Layers+1), make([]float32, s.Layers)
	for il := range clamp {
		ratios[il], clamp[il] = int32(s.Ratio[il]), s.Clamp
	}
	put(Architecture+".attention.compress_ratios", ratios)
	put(Architecture+".swiglu_clamp_exp", clamp)
	u("rope.scaling.original_context_length", int(s.YarnContext))
	f("rope.freq_base", s.RopeBase)
	f("rope.scaling.factor", s.YarnFactor)
	f("rope.scaling.yarn_beta_fast", s.YarnFast)
	f("rope.scaling.yarn_beta_slow", s.YarnSlow)
	f("attention.compress_rope_freq_base", s.CompressBase)
	f("expert_weights_scale", float64(s.ExpertScale))
	f("attention.layer_norm_rms_epsilon", float64(s.RMSEps))
	f("hyper_connection.epsilon", float64(s.HCEps))
	put(Architecture+".expert_weights_norm", true)
}
