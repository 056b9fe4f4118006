package backend

import (
	"errors"
	"fmt"
)

// Fixed by the architecture of DeepSeek V4; every shape shares them.
const (
	Streams    = 4                           // residual streams of the hyper-connections
	MixWidth   = 2*Streams + Streams*Streams // control values per half layer: pre 4, post 4, comb 4×4
	IndexDim   = 128                         // indexer head width: Hadamard-128, four FP4 blocks of 32
	FP8Block   = 64                          // values that share one exponent in a KV row
	FP4Block   = 32                          // values that share one exponent in an index row
	PageTokens = 2048                        // tokens of one sequence that a page holds
	Slack      = 16                          // ring rows beyond the needed ones: what speculation and rewind live on
)

// Shape holds the hyper-parameters of a model. The zero value is not a shape; see Check.
type Shape struct {
	Layers int   // L
	Ratio  []int // compression ratio by layer: 0, 4 (overlapped windows and an indexer) or another (plain windows)
	Hash   int   // the first Hash layers route by token id

	Embd  int // D, embedding width
	Vocab int // V

	Heads   int // H, query heads that share one latent KV row
	HeadDim int // d, key and value width
	RopeDim int // r, rotary components: the last r of each head
	QRank   int // Rq
	OutRank int // Ro, per group
	Groups  int // G, groups of the output projection
	Window  int // W, visible raw rows, the current one included

	IndexHeads int // H_i
	TopK       int // T_k, compressed rows that the indexer selects

	Experts    int // E
	ActiveExps int // K, routed experts of a token
	ExpertDim  int // F, hidden width of routed and shared experts

	SinkhornRounds int
	RMSEps         float32
	HCEps          float32
	ExpertScale    float32
	Clamp          float32 // SwiGLU clamp

	RopeBase     float64 // layers of ratio 0
	CompressBase float64 // layers of any other ratio
	YarnFactor   float64
	YarnContext  float64
	YarnFast     float64
	YarnSlow     float64
}

// Flash is the shape of DeepSeek V4 Flash.
func Flash() Shape {
	s := Shape{
		Layers: 43, Hash: 3, Embd: 4096, Vocab: 129280,
		Heads: 64, HeadDim: 512, RopeDim: 64, QRank: 1024, OutRank: 1024, Groups: 8, Window: 128,
		IndexHeads: 64, TopK: 512, Experts: 256, ActiveExps: 6, ExpertDim: 2048,
	}
	s.Constants()
	s.Ratio = Ratios(s.Layers)
	return s
}

// Constants sets what all published and all test models share.
func (s *Shape) Constants() {
	s.SinkhornRounds, s.RMSEps, s.HCEps, s.ExpertScale, s.Clamp = 20, 1e-6, 1e-6, 1.5, 10
	s.RopeBase, s.CompressBase = 10000, 160000
	s.YarnFactor, s.YarnContext, s.YarnFast, s.YarnSlow = 16, 65536, 32, 1
}

// Ratios is the fixed pattern of compression ratios: 0, 0, then 4 on even and 128 on odd layers.
func Ratios(layers int) []int {
	r := make([]int, layers)
	for il := 2; il < layers; il++ {
		r[il] = 4
		if il%2 == 1 {
			r[il] = 128
		}
	}
	return r
}

// ErrShape is wrapped by every error of Check.
var ErrShape = errors.New("unsupported shape")

// Check says whether a backend can run the shape: the constraints of the block formats and of the caches.
func (s *Shape) Check() error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("backend: %w: %s", ErrShape, fmt.Sprintf(format, a...))
	}
	for _, p := range []struct {
		name   string
		v, max int
	}{
		{"layers", s.Layers, 1 << 10}, {"embedding width", s.Embd, 1 << 16}, {"vocabulary", s.Vocab, 1 << 24},
		{"heads", s.Heads, 1 << 10}, {"head dim", s.HeadDim, 1 << 12}, {"rope dim", s.RopeDim, s.HeadDim},
		{"query rank", s.QRank, 1 << 16}, {"output rank", s.OutRank, 1 << 16}, {"output groups", s.Groups, s.Heads},
		{"window", s.Window, PageTokens}, {"indexer heads", s.IndexHeads, 1 << 10}, {"indexer top-k", s.TopK, 1 << 12},
		{"experts", s.Experts, 1 << 12}, {"active experts", s.ActiveExps, min(s.Experts, 64)},
		{"expert width", s.ExpertDim, 1 << 16}, {"sinkhorn rounds", s.SinkhornRounds, 1 << 10},
	} {
		if p.v < 1 || p.v > p.max {
			return bad("%s: want 1 to %d, got %d", p.name, p.max, p.v)
		}
	}
	if len(s.Ratio) != s.Layers {
		return bad("compression ratios: want %d, got %d", s.Layers, len(s.Ratio))
	}
	for il, r := range s.Ratio {
		if r != 0 && (r < 2 || PageTokens%r != 0) {
			return bad("layer %d: compression ratio: want 0 or a divisor of %d above 1, got %d", il, PageTokens, r)
		}
	}
	switch {
	case s.Hash < 0 || s.Hash > s.Layers:
		return bad("hash layers: want 0 to %d, got %d", s.Layers, s.Hash)
	case s.Embd%256 != 0 || s.ExpertDim%256 != 0:
		return bad("embedding and expert width: want multiples of 256, got %d and %d", s.Embd, s.ExpertDim)
	case s.QRank%32 != 0 || s.Heads%s.Groups != 0 || s.Groups*s.OutRank%32 != 0 || s.Heads/s.Groups*s.HeadDim%32 != 0:
		return bad("attention: query rank %d, heads %d × %d, groups %d × %d: every input of a q8_0 matrix must be a multiple of 32",
			s.QRank, s.Heads, s.HeadDim, s.Groups, s.OutRank)
	case s.RopeDim%2 != 0 || s.RopeDim > IndexDim || (s.HeadDim-s.RopeDim)%FP8Block != 0:
		return bad("rope dim %d of head dim %d: want even, at most %d, and the rest a multiple of %d", s.RopeDim, s.HeadDim, IndexDim, FP8Block)
	case !(s.RMSEps > 0 && s.HCEps >= 0 && s.ExpertScale > 0 && s.Clamp > 0):
		return bad("epsilons, expert scale and clamp: want positive, got %g, %g, %g, %g", s.RMSEps, s.HCEps, s.ExpertScale, s.Clamp)
	case !(s.RopeBase > 1 && s.CompressBase > 1 && s.YarnFactor >= 1 && s.YarnContext > 0 && s.YarnFast > 0 && s.YarnSlow > 0):
		return bad("rope: bases %g and %g, factor %g, context %g, betas %g and %g", s.RopeBase, s.CompressBase, s.YarnFactor, s.YarnContext, s.YarnFast, s.YarnSlow)
	}
	return nil
}

// Indexed says whether layer il has overlapped windows and an indexer.
func (s *Shape) Indexed(il int) bool { return s.Ratio[il] == 4 }

// Limits are the sizes a backend is made for. Buffers and scratch are taken once, so addresses never change.
type Limits struct {
	CtxTokens int   // longest sequence
	Seqs      int   // live sequences: rows of the page table
	Slots     int   // ring records: Seqs and the spare ones that long spans and snapshots use
	Rows      int   // rows of one step
	Outs      int   // rows of one step whose logits are wanted
	Tops      int   // Top queries of one step
	PageBytes int64 // upper bound of the page pool; 0: what Seqs and Slots ask for
}

// Check returns an error that names the limit out of range.
func (l *Limits) Check() error {
	for _, p := range []struct {
		name        string
		v, min, max int
	}{
		{"context", l.CtxTokens, 1, 1 << 24}, {"sequences", l.Seqs, 1, 1 << 12}, {"slots", l.Slots, l.Seqs, 1 << 13},
		{"rows", l.Rows, 1, 1 << 15}, {"outs", l.Outs, 1, l.Rows}, {"tops", l.Tops, 1, 2 * l.Rows},
	} {
		if p.v < p.min || p.v > p.max {
			return fmt.Errorf("backend: limits: %s: want %d to %d, got %d", p.name, p.min, p.max, p.v)
		}
	}
	return nil
}
