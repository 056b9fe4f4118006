package kernels

// Arguments of the kernels, field by field as in the sources; the tests compare sizes and offsets.

// Head is the start of the step block; At… are bytes from it.
type Head struct {
	Rows, Spans, Outs, Tops, Biases, Tape, Indexed, Kinds int32
	AtRows, AtSpans, AtOuts, AtTops, AtBias, AtRope       uint32
	Rope                                                  int32
	_                                                     int32
}

// Which tokens a product has.
const (
	CountRows int32 = iota
	CountOuts
)

// Forms of activations.
const (
	FormQ8  int32 = 1
	FormQ8K int32 = 2
)

// State says where a layer's rings and pages lie.
type State struct {
	SlotStride, PageStride              uint64
	Ratio, Ring, CompRing, CompRow      int32
	PageRows, KVRow, KVExp, CompBase    int32
	IndexAt, IndexExpAt, TableStride, _ int32
}

// Matrix is one of a product's.
type Matrix struct{ Type, Rows, First, Stride, APE, Add int32 }

// Product: product_rows, product_tiles, product_floats, attn_out_low, logits_rows.
type Product struct {
	Which, PerRow, Cols, ActCols int32
	Group, Matrices, Ratio, _    int32
	M                            [Matrices]Matrix
}

// Matrices is the most that one product has.
const Matrices = 7

// Order of sums: inputs of a run, and what a tile takes.
const (
	RunInputs   = 512
	TileRows    = 32
	TileTokens  = 32
	FloatTokens = 16 // of product_floats
)

// LanesOf is the number of lanes that share a row of cols inputs.
func LanesOf(cols int) int {
	switch runs := (cols + RunInputs - 1) / RunInputs; {
	case runs > 4:
		return 32
	case runs > 2:
		return 16
	case runs > 1:
		return 8
	}
	return 4
}

// Quantize: quantize.
type Quantize struct {
	Which, PerRow, Cols, Forms int32
	Limit                      float32
	_                          int32
}

// Embed: embed.
type Embed struct{ Width, F32 int32 }

// HC: hc_mix, hc_post, hc_steer. Slice is the components of one threadgroup of hc_mix.
type HC struct {
	Which, Width, Values, F32 int32
	Post, Steer, Tap, _       int32
	SteerScale                float32
	_                         int32
}

// Slice is described with HC.
const Slice = 64

// HCPre: hc_pre.
type HCPre struct {
	Which, Width, Values, Rounds int32
	Forms, Head                  int32
	Eps, HCEps                   float32
}

// Latent: latent_kv.
type Latent struct {
	Rank, Head, Rope, Kind int32
	Forms, InPlace         int32
	Eps                    float32
	_                      int32
	St                     State
}

// Heads: q_heads.
type Heads struct {
	Heads, Head, Rope, Kind int32
	Eps                     float32
	_                       int32
}

// Keep: keep_ring.
type Keep struct {
	SlotStride           uint64
	Base, Ring, RowBytes int32
	_                    int32
}

// Compress: compress.
type Compress struct {
	Width, IndexWidth, Head, Rope int32
	Kind, _                       int32
	Eps                           float32
	_                             int32
	St                            State
}

// Index: index_queries, index_scores, index_select.
type Index struct {
	Heads, TopK, Rope, Kind     int32
	First, Rows, Stride, Padded int32
	WeightScale                 float32
	_                           int32
	St                          State
}

// Attend: attend_tiles, attend_merge, attend_rows.
type Attend struct {
	Heads, Head, Rope, Kind      int32
	Window, TopK, Tiles, Indexed int32
	Scale                        float32
	Forms, Ratio, _              int32
	St                           State
}

// AttendTile is the visible rows of one tile; AttendHeads the heads of one threadgroup.
const (
	AttendTile  = 64
	AttendHeads = 8
)

// Route: route. MaxExperts is what its threadgroup memory holds.
type Route struct {
	Experts, Active, Hash, Bias int32
	Scale                       float32
	_                           int32
}

// MaxExperts is described with Route.
const MaxExperts = 2048

// Experts: all of experts.metal and shared_expert.metal.
type Experts struct {
	Rows, Cols, Active, Type  int32
	Share, Weighted, One, Add int32
	Limit                     float32
	Experts                   int32
}

// Draft: draft_norms, draft_sum.
type Draft struct {
	Width, F32 int32
	Eps        float32
	_          int32
}

// Top: top_parts, top_merge.
type Top struct{ Vocab, MaskWords, Parts, _ int32 }

// TopPart is what top_parts leaves of a piece of the vocabulary.
type TopPart struct {
	MaxRaw, MaxAdj, SumRaw, SumAdj float32
	Allowed, Kept, _, _            int32
	Key                            [128]uint32
	ID                             [128]int32
}

// TopPiece is the tokens of one part; MaxParts the parts that top_merge takes.
const (
	TopPiece = 4096
	MaxParts = 32
)

// LatentRows: latent_rows.
type LatentRows struct {
	L                               Latent
	C                               Compress
	Compress, Jobs, Rows, IndexRows int32
	IndexType, _                    int32
}

// Limits of the joined kernels: what their threadgroup memory holds.
const (
	LatentPiece = 64    // rows of one threadgroup of latent_rows
	MaxRank     = 2048  // of the query latent
	MaxGated    = 12288 // values of all choices' gated products
	MaxShared   = 2048  // of the shared expert's
)

// Query: query_heads.
type Query struct {
	Q         Heads
	I         Index
	Groups, _ int32
}

// Out: attn_out_post.
type Out struct {
	H       HC
	Cols, _ int32
}

// Down: experts_down_post.
type Down struct {
	E Experts
	H HC
}
