package dsv4

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// Session is what a payload is made from: what the engine's snapshots give.
type Session struct {
	CtxTokens int // at least the tokens and one more
	Tokens    []int32
	Page      func(i int, dst []byte) error // page i as in memory
	State     []byte                        // ring image, cut to the tokens
	Logits    []float32                     // those after the last token; nil where they are not known: written as zeros
}

// Chunk is the prefill chunk of ds4's defaults, which it wants to find in a payload that it loads.
const chunk = 2048

// Write writes a payload, Bytes long, at the beginning of w.
func Write(w io.WriterAt, s backend.Shape, d Session) error {
	l := newLayout(&s, len(d.Tokens))
	want := 0
	for il := range l.layers {
		want += l.imageBytes(il)
	}
	switch {
	case len(d.Tokens) == 0:
		return fmt.Errorf("dsv4: want tokens, got none")
	case len(d.State) != want:
		return fmt.Errorf("dsv4: ring image of %d tokens: want %d bytes, got %d", l.n, want, len(d.State))
	case d.Logits != nil && len(d.Logits) != s.Vocab:
		return fmt.Errorf("dsv4: logits: want %d, got %d", s.Vocab, len(d.Logits))
	case d.CtxTokens <= l.n:
		return fmt.Errorf("dsv4: context: want more than the %d tokens, got %d", l.n, d.CtxTokens)
	}
	if err := put(w, l.head(d), 0); err != nil {
		return err
	}
	if err := l.writeState(w, d.State); err != nil {
		return err
	}
	page := make([]byte, l.pageBytes())
	for i := 0; i*backend.PageTokens < l.n; i++ {
		if err := d.Page(i, page); err != nil {
			return fmt.Errorf("dsv4: page %d: %w", i, err)
		}
		if err := l.writePage(w, i, page); err != nil {
			return err
		}
	}
	return nil
}

func (l *layout) pageBytes() int {
	n := 0
	for il := range l.layers {
		n += l.s.PagePartBytes(il)
	}
	return n
}

// head is everything before the layers.
func (l *layout) head(d Session) []byte {
	le, s := binary.LittleEndian, l.s
	b := make([]byte, 0, l.counts+8*int64(s.Layers))
	for _, v := range []int{magic, version, d.CtxTokens, min(chunk, d.CtxTokens), rawCapacity(s, d.CtxTokens), s.Window,
		d.CtxTokens/4 + 2, l.n, s.Layers, s.HeadDim, backend.IndexDim, s.Vocab, l.rawRows} {
		b = le.AppendUint32(b, uint32(v))
	}
	for _, t := range d.Tokens {
		b = le.AppendUint32(b, uint32(t))
	}
	for i := range s.Vocab {
		v := float32(0)
		if d.Logits != nil {
			v = d.Logits[i]
		}
		b = le.AppendUint32(b, math.Float32bits(v))
	}
	for il := range l.layers {
		b = le.AppendUint32(b, uint32(l.layers[il].count))
	}
	for il := range l.layers {
		n := l.layers[il].count
		if !s.Indexed(il) {
			n = 0
		}
		b = le.AppendUint32(b, uint32(n))
	}
	return b
}

// rawCapacity is the raw ring of ds4's GPU path at its defaults.
func rawCapacity(s *backend.Shape, ctx int) int {
	need := min(ctx, s.Window+min(chunk, ctx))
	return min(ctx, max(s.Window, min(8192, (need+255)/256*256)))
}

// writeState writes the windows and the compressors' state of all layers.
func (l *layout) writeState(w io.WriterAt, image []byte) error {
	s := l.s
	rows := make([]byte, 4*s.HeadDim*l.rawRows)
	for il := range l.layers {
		y := &l.layers[il]
		for i := range l.rawRows {
			unpackKV(rows[4*s.HeadDim*i:], image[:s.KVRowBytes()], s)
			image = image[s.KVRowBytes():]
		}
		if err := put(w, rows, y.raw); err != nil {
			return err
		}
		if s.Ratio[il] == 0 {
			continue
		}
		if err := l.clearState(w, il); err != nil {
			return err
		}
		for _, f := range l.pieces(il) {
			if err := put(w, image[:4*f.count], f.at); err != nil {
				return err
			}
			image = image[4*f.count:]
		}
	}
	return nil
}

// clearState writes a compressor state of nobody's rows.
func (l *layout) clearState(w io.WriterAt, il int) error {
	y := &l.layers[il]
	for _, t := range []struct {
		at    int64
		width int
		v     float32
	}{{y.kv, y.width, 0}, {y.sc, y.width, none}, {y.indexKV, y.idx, 0}, {y.indexSC, y.idx, none}} {
		b := make([]byte, 4*y.stateRows*t.width)
		for i := 0; i < len(b); i += 4 {
			putF32(b[i:], t.v)
		}
		if err := put(w, b, t.at); err != nil {
			return err
		}
	}
	return nil
}

// writePage writes the rows of one page, each layer's where it belongs.
func (l *layout) writePage(w io.WriterAt, i int, page []byte) error {
	s := l.s
	for il := range l.layers {
		if s.Ratio[il] == 0 {
			continue
		}
		y, part := &l.layers[il], page[:s.PagePartBytes(il)]
		page = page[len(part):]
		first := i * s.PageRows(il)
		count := min(s.PageRows(il), y.count-first)
		if count <= 0 {
			continue
		}
		width := 4 * s.HeadDim
		b := make([]byte, count*width)
		for c := range count {
			unpackKV(b[c*width:], part[c*s.KVRowBytes():][:s.KVRowBytes()], s)
		}
		if err := put(w, b, y.comp+int64(first)*int64(width)); err != nil {
			return err
		}
		if !s.Indexed(il) {
			continue
		}
		width = 4 * backend.IndexDim
		vals, exps := part[s.PageIndexOffset(il):], part[s.PageIndexExpOffset(il):]
		for c := range count {
			unpackIndex(b[c*width:], vals[c*backend.IndexRowBytes:], exps[c*backend.IndexExpBytes:])
		}
		if err := put(w, b[:count*width], y.index+int64(first)*int64(width)); err != nil {
			return err
		}
	}
	return nil
}

func put(w io.WriterAt, p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	if _, err := w.WriteAt(p, off); err != nil {
		return fmt.Errorf("dsv4: %w", err)
	}
	return nil
}
