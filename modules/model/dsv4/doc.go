// Package dsv4 converts between the engine's packed caches and the payload that ds4 saves a session in ("DSV4", version 1:
// every cached row in f32, layer after layer).
//
// Open reads a payload through an io.ReaderAt and hands out what the engine's Import wants: tokens, pages, ring image. Write makes a
// payload from the same. Neither holds more than a page at a time, though the two sides store rows in different orders.
//
//	offset  bytes    content
//	0       52       13 u32: "DSV4", version 1, context, prefill chunk, raw ring capacity, raw window, compressed capacity,
//	                 tokens n, layers L, head width d, indexer width, vocabulary V, raw rows = min(n, window)
//	52      4n       tokens, u32
//	…       4V       logits after the last token, f32
//	…       8L       compressed rows by layer, then index rows by layer, u32
//	…                by layer: raw rows, oldest first (d f32 each); where the ratio ρ is not 0: ⌊n/ρ⌋ compressed rows (d),
//	                 compressor values, compressor scores; where it is 4: as many index rows, indexer values, indexer scores
//
// Compressor state is 8 rows of 2d (ratio 4) or ρ rows of d; the indexer's is 8 rows of twice its width. Row p mod ρ (from 4 on, if the
// ratio is 4) belongs to position p; the first four rows of ratio 4 are the window before. Values that can't matter any
// more, of positions that are pooled already, are written as nobody's: value 0, score −10³⁰.
//
// # What is exact
//
// Packed rows to f32 and back: every value that attention reads is the same, bit for bit. The other way, rotary components
// that a GPU left unrounded are rounded to f16, as the engine's own are; everything else must be a value of the packed formats, or
// the payload is refused as corrupt. The same goes for what is not a number. Context, chunk and capacities are not compared: they say how ds4
// was set up, not what the rows mean.
package dsv4
