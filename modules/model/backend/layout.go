package backend

// The bytes law: these functions are the only place that says where a cached value lies. All backends use them, so a
// snapshot taken on one is restored on another.
//
// KV row (592 bytes at head dim 512), raw and compressed alike:
//
//	offset               bytes   content
//	0                    d−r     E4M3 codes of the unrotated components
//	d−r                  2r      f16 rotary tail, little-endian
//	d+r                  (d−r)/64  int8 exponents, one per FP8Block
//	…                    –       zero up to a multiple of 16, which keeps 16-byte loads aligned
//
// A reader computes f16round(e4m3 · 2^exponent): exactly the reference's f16 store.
//
// Index row: IndexDim/2 bytes of E2M1 pairs (low nibble first), and apart from them IndexDim/32 int8 exponents; the two
// are split because they are scanned, while KV rows stay whole because they are gathered.
//
// Slot record, one part per layer: the raw ring (Window+Slack KV rows, position p in row p mod R), then the compressor's
// inputs by position (f32): ratio 4 keeps 8+Slack rows of [v c·d][g c·d][index v 256][index g 256] with c = 2, other
// ratios ratio+Slack rows of [v d][g d]. g has its APE added. One more part, of a raw ring alone, serves a draft layer.
//
// Page record, one part per layer: ratio 4: PageTokens/4 KV rows, then as many index rows (values), then their
// exponents; other ratios: PageTokens/ratio KV rows; ratio 0: nothing.

// KVRowBytes is the size of a packed KV row.
func (s *Shape) KVRowBytes() int {
	n := s.HeadDim - s.RopeDim
	return (n + 2*s.RopeDim + n/FP8Block + 15) &^ 15
}

// KVExpOffset is where a packed KV row keeps its exponents.
func (s *Shape) KVExpOffset() int { return s.HeadDim + s.RopeDim }

// Bytes of an index row: values and exponents.
const (
	IndexRowBytes = IndexDim / 2
	IndexExpBytes = IndexDim / FP4Block
)

// RawRing is the number of rows in a raw ring.
func (s *Shape) RawRing() int { return s.Window + Slack }

// CompRing is the number of positions whose compressor inputs layer il keeps; 0 where the ratio is 0.
func (s *Shape) CompRing(il int) int {
	switch r := s.Ratio[il]; r {
	case 0:
		return 0
	case 4:
		return 2*r + Slack
	default:
		return r + Slack
	}
}

// CompWidth is the width of one compressor projection (v or g) of layer il: twice the head where windows overlap.
func (s *Shape) CompWidth(il int) int {
	switch s.Ratio[il] {
	case 0:
		return 0
	case 4:
		return 2 * s.HeadDim
	default:
		return s.HeadDim
	}
}

// IndexWidth is the width of one indexer-compressor projection of layer il, 0 where there is none.
func (s *Shape) IndexWidth(il int) int {
	if s.Indexed(il) {
		return 2 * IndexDim
	}
	return 0
}

// CompRowFloats is the length, in f32, of one position in layer il's compressor ring.
func (s *Shape) CompRowFloats(il int) int { return 2 * (s.CompWidth(il) + s.IndexWidth(il)) }

// SlotPartBytes is the size of layer il's part of a slot record. il == Layers is the draft layer's.
func (s *Shape) SlotPartBytes(il int) int {
	raw := s.RawRing() * s.KVRowBytes()
	if il == s.Layers {
		return raw
	}
	return raw + 4*s.CompRing(il)*s.CompRowFloats(il)
}

// SlotParts are the parts of the slots buffer, the draft layer's last.
func (s *Shape) SlotParts() []Part {
	p := make([]Part, s.Layers+1)
	for il := range p {
		p[il] = Part{Type: U8, Rows: 1, Cols: int32(s.SlotPartBytes(il))}
	}
	return p
}

// PageRows is the number of compressed rows of layer il in one page.
func (s *Shape) PageRows(il int) int {
	if s.Ratio[il] == 0 {
		return 0
	}
	return PageTokens / s.Ratio[il]
}

// PageIndexOffset and PageIndexExpOffset are where a page's part keeps index rows and their exponents (Indexed layers).
func (s *Shape) PageIndexOffset(il int) int { return s.PageRows(il) * s.KVRowBytes() }

// PageIndexExpOffset is described with PageIndexOffset.
func (s *Shape) PageIndexExpOffset(il int) int {
	return s.PageIndexOffset(il) + s.PageRows(il)*IndexRowBytes
}

// PagePartBytes is the size of layer il's part of a page record.
func (s *Shape) PagePartBytes(il int) int {
	n := s.PageRows(il) * s.KVRowBytes()
	if s.Indexed(il) {
		n += s.PageRows(il) * (IndexRowBytes + IndexExpBytes)
	}
	return n
}

// PageParts are the parts of the pages buffer.
func (s *Shape) PageParts() []Part {
	p := make([]Part, s.Layers)
	for il := range p {
		p[il] = Part{Type: U8, Rows: 1, Cols: int32(s.PagePartBytes(il))}
	}
	return p
}

// TablePages is the number of page numbers in a row of the page table.
func (l *Limits) TablePages() int { return (l.CtxTokens + PageTokens - 1) / PageTokens }

// Layout of one Top record, little-endian. TopBytes in all.
const (
	TopCount     = 128 // best candidates kept
	TopLogSumRaw = 0   // f64: log Σ exp of the raw logits
	TopSumAdj    = 8   // f64: Σ exp((l−max)·InvTemp) over the adjusted logits, max being theirs
	TopMaxRaw    = 16  // f32
	TopMaxAdj    = 20  // f32
	TopLen       = 24  // i32: candidates that follow, min(TopCount, vocabulary not masked)
	TopIDs       = 32  // TopCount × (i32 id, f32 adjusted logit), descending, ties to the lower id
	TopBytes     = TopIDs + 8*TopCount
)
