package dsv4

import (
	"errors"
	"fmt"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// ErrCorrupt is wrapped by every error about a payload's contents.
var ErrCorrupt = errors.New("corrupt payload")

func corrupt(format string, a ...any) error {
	return fmt.Errorf("dsv4: %w: %s", ErrCorrupt, fmt.Sprintf(format, a...))
}

const (
	magic   = 0x34565344 // "DSV4"
	version = 1
	fields  = 13
	none    = -1e30 // score of a row that is not there
)

// layer is where one layer's parts begin in a payload, and how its compressor state is shaped.
type layer struct {
	raw                   int64
	comp, kv, sc          int64 // ratio ≠ 0
	index, indexKV        int64 // ratio 4
	indexSC               int64
	count                 int // compressed rows
	stateRows, width, idx int // rows of the state, widths of the compressor's and the indexer's
}

// layout is where things are in a payload of n tokens.
type layout struct {
	s       *backend.Shape
	n       int
	rawRows int
	logits  int64
	counts  int64
	layers  []layer
	bytes   int64
}

func newLayout(s *backend.Shape, n int) *layout {
	l := &layout{s: s, n: n, rawRows: min(n, s.Window), layers: make([]layer, s.Layers)}
	l.logits = 4*fields + 4*int64(n)
	l.counts = l.logits + 4*int64(s.Vocab)
	at := l.counts + 8*int64(s.Layers)
	take := func(rows, cols int) int64 {
		start := at
		at += 4 * int64(rows) * int64(cols)
		return start
	}
	for il := range l.layers {
		y := &l.layers[il]
		y.raw = take(l.rawRows, s.HeadDim)
		ratio := s.Ratio[il]
		if ratio == 0 {
			continue
		}
		y.count, y.stateRows, y.width, y.idx = n/ratio, ratio, s.CompWidth(il), s.IndexWidth(il)
		if s.Indexed(il) {
			y.stateRows *= 2
		}
		y.comp = take(y.count, s.HeadDim)
		y.kv = take(y.stateRows, y.width)
		y.sc = take(y.stateRows, y.width)
		if s.Indexed(il) {
			y.index = take(y.count, backend.IndexDim)
			y.indexKV = take(y.stateRows, y.idx)
			y.indexSC = take(y.stateRows, y.idx)
		}
	}
	l.bytes = at
	return l
}

// Bytes is the size of a payload of n tokens.
func Bytes(s backend.Shape, n int) int64 { return newLayout(&s, n).bytes }

// piece is a run of f32 that the engine's ring image holds of a compressor's state, in the order of the image: count values at
// an offset of the payload.
type piece struct {
	at    int64
	count int
}

// pieces lists what layer il's part of the image holds after the raw rows: the low halves of the window before (ratio 4), then
// the unfinished window, each position as values, scores, and the indexer's two.
func (l *layout) pieces(il int) []piece {
	y, ratio := &l.layers[il], l.s.Ratio[il]
	if ratio == 0 {
		return nil
	}
	var out []piece
	add := func(row, share int) {
		for _, t := range []struct {
			at    int64
			width int
		}{{y.kv, y.width}, {y.sc, y.width}, {y.indexKV, y.idx}, {y.indexSC, y.idx}} {
			if t.width > 0 {
				out = append(out, piece{t.at + 4*int64(row)*int64(t.width), t.width / share})
			}
		}
	}
	whole := l.n / ratio * ratio
	first := y.stateRows - ratio // of the unfinished window: 4 or 0
	if first > 0 {
		for p := max(0, whole-ratio); p < whole; p++ {
			add(p%ratio, 2)
		}
	}
	for p := whole; p < l.n; p++ {
		add(first+p%ratio, 1)
	}
	return out
}

// imageBytes is the size of layer il's part of the ring image.
func (l *layout) imageBytes(il int) int {
	n := l.rawRows * l.s.KVRowBytes()
	for _, p := range l.pieces(il) {
		n += 4 * p.count
	}
	return n
}
