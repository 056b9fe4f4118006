package backend

// Argument structs, in the order of the layer. Shapes are outermost first; "rows" are the rows of the step, "outs" its
// Outs. Layer selects the part of State, and the rope parameters by its ratio; Layer == Shape.Layers is the draft layer.

// EmbedArgs: HC (rows,4,D) f32 out, every stream a copy of the token's row of Table, or of row From of Given (n,D) f32.
type EmbedArgs struct {
	Table     Weight
	Given, HC Buf
}

// HCPreArgs folds the four streams into the single row that a sublayer reads, and norms it.
//
//	HC  (rows,4,D) f32   in
//	X   (rows,D)   f32   out  after the sublayer's RMSNorm
//	Mix (rows,24)  f32   out  pre 4, post 4, comb 4×4 row-major (source, target); HCPost reads the last two
type HCPreArgs struct {
	Layer                 int32
	Fn, Scale, Base, Norm Weight
	HC, X, Mix            Buf
}

// AttnQKVArgs makes queries and the row's KV, and stores the KV in the raw ring (Slot to Into).
//
//	X    (rows,D)      f32    in
//	QLat (rows,Rq)     f32    out  normed query latent; the indexer reads it
//	Q    (rows,H,d)    f32    out  normed per head, rotated
//	KV   (rows,KVRow)  bytes  out  packed
type AttnQKVArgs struct {
	Layer                       int32
	QA, QANorm, QB, KVW, KVNorm Weight
	X, QLat, Q, KV              Buf
	State                       State
}

// Compressor is the weights of one compressor. APE is (ratio, width) row-major.
type Compressor struct{ KV, Gate, APE, Norm Weight }

// CompressArgs feeds the compressors with X, keeps their inputs in the ring (Slot to Into), and writes every compressed
// row that completes to its page. Index is zero where the layer has no indexer.
type CompressArgs struct {
	Layer       int32
	Attn, Index Compressor
	X           Buf
	State       State
}

// IndexTopKArgs selects the compressed rows that a query attends to.
//
//	QLat (rows,Rq), X (rows,D) f32  in
//	Sel  (rows,TopK) i32            out  ascending; the identity when at most TopK rows are visible
type IndexTopKArgs struct {
	Layer        int32
	QB, Proj     Weight
	QLat, X, Sel Buf
	State        State
}

// AttendArgs is attention over the window and the compressed rows, with sinks.
//
//	Q (rows,H,d) f32, KV (rows,KVRow), Sel (rows,TopK) i32 (Indexed layers)  in
//	O (rows,H,d) f32  out  rotated back
type AttendArgs struct {
	Layer         int32
	Sinks         Weight
	Q, KV, Sel, O Buf
	State         State
}

// AttnOutArgs is the grouped output projection. O (rows,H,d) f32 in, Y (rows,D) f32 out.
type AttnOutArgs struct {
	Layer int32
	A, B  Weight
	O, Y  Buf
}

// HCPostArgs redistributes a sublayer's output to the four streams, in place.
//
//	Mix (rows,24), Y (rows,D) f32  in   Y is steered first where Steer (D) is bound: y −= SteerScale·(y·v)·v
//	HC  (rows,4,D) f32             in and out
//	Tap (rows,4,D) f32             zero, or out: a copy of the streams for a drafter
type HCPostArgs struct {
	Layer           int32
	Steer           Weight
	SteerScale      float32
	HC, Mix, Y, Tap Buf
}

// RouteArgs picks the experts of a row. Hash layers have Table and use Row.Token; others add Bias, if bound, for the
// choice alone.
//
//	X       (rows,D) f32  in
//	IDs     (rows,K) i32  out  descending score, ties to the lower index; table order in hash layers
//	Weights (rows,K) f32  out  normalised, times the expert scale
type RouteArgs struct {
	Layer             int32
	Gate, Bias, Table Weight
	X, IDs, Weights   Buf
}

// ExpertsArgs runs the routed experts and sums them in choice order.
//
//	X (rows,D), IDs (rows,K), Weights (rows,K)  in
//	Y (rows,D)   f32  out
//	H (rows,K,F) f32  zero, or out: the weighted gated products, for an importance matrix
type ExpertsArgs struct {
	Layer                 int32
	Gate, Up, Down        Weight
	X, IDs, Weights, Y, H Buf
}

// SharedExpertArgs adds the shared expert: Y (rows,D) f32 in and out.
type SharedExpertArgs struct {
	Layer          int32
	Gate, Up, Down Weight
	X, Y           Buf
}

// HCHeadArgs folds the streams of the wanted rows and norms them: HC (rows,4,D) f32 in, X (outs,D) f32 out.
type HCHeadArgs struct {
	Fn, Scale, Base, Norm Weight
	HC, X                 Buf
}

// LogitsArgs is the vocabulary projection: X (outs,D) f32 in, Logits (outs,V) f32 out.
type LogitsArgs struct {
	Output    Weight
	X, Logits Buf
}

// TopArgs reduces logits to the candidates that Step.Tops asks for.
//
//	Logits (outs,V) f32        in, left untouched
//	Masks  (n,⌈V/32⌉) u32 bits  in
//	Top    (tops,TopBytes)     out  layout: see TopBytes
type TopArgs struct{ Logits, Masks, Top Buf }

// DraftJoinArgs starts a draft row: the embedding of its token joined with row From of Prev.
//
//	Prev (rows,4,D) f32  in   the base model's streams (Draft) or the draft layer's own (DraftNext)
//	HC   (rows,4,D) f32  out
type DraftJoinArgs struct {
	Table, ENorm, HNorm, EProj, HProj Weight
	Prev, HC                          Buf
}
