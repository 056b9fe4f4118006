package dsv4

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// Payload is an open payload. Its methods may be called from any goroutine.
type Payload struct {
	r      io.ReaderAt
	l      *layout
	ctx    int
	tokens []int32
}

// Open checks the head of a payload of the given size against the shape. Errors wrap ErrCorrupt unless reading failed.
func Open(r io.ReaderAt, bytes int64, s backend.Shape) (*Payload, error) {
	head := make([]byte, 4*fields)
	if err := read(r, head, 0); err != nil {
		return nil, err
	}
	u := func(i int) int { return int(binary.LittleEndian.Uint32(head[4*i:])) }
	n := u(7)
	for _, f := range []struct {
		name      string
		got, want int
	}{
		{"magic", u(0), magic}, {"version", u(1), version}, {"window", u(5), s.Window}, {"layers", u(8), s.Layers},
		{"head width", u(9), s.HeadDim}, {"indexer width", u(10), backend.IndexDim}, {"vocabulary", u(11), s.Vocab},
		{"raw rows", u(12), min(n, s.Window)},
	} {
		if f.got != f.want {
			return nil, corrupt("%s: want %d, got %d", f.name, f.want, f.got)
		}
	}
	if n < 1 || n > 1<<24 {
		return nil, corrupt("tokens: want 1 to %d, got %d", 1<<24, n)
	}
	s.Ratio = slices.Clone(s.Ratio)
	p := &Payload{r: r, l: newLayout(&s, n), ctx: u(2)}
	if p.l.bytes != bytes {
		return nil, corrupt("%d tokens: want %d bytes, got %d", n, p.l.bytes, bytes)
	}
	return p, p.readHead()
}

// readHead reads tokens and row counts.
func (p *Payload) readHead() error {
	l := p.l
	b := make([]byte, 4*l.n)
	if err := read(p.r, b, 4*fields); err != nil {
		return err
	}
	p.tokens = make([]int32, l.n)
	for i := range p.tokens {
		t := binary.LittleEndian.Uint32(b[4*i:])
		if int64(t) >= int64(l.s.Vocab) {
			return corrupt("token %d: want below %d, got %d", i, l.s.Vocab, t)
		}
		p.tokens[i] = int32(t)
	}
	counts := make([]byte, 8*l.s.Layers)
	if err := read(p.r, counts, l.counts); err != nil {
		return err
	}
	for il := range l.layers {
		comp, index := l.layers[il].count, 0
		if l.s.Indexed(il) {
			index = comp
		}
		le := binary.LittleEndian
		gotComp, gotIndex := le.Uint32(counts[4*il:]), le.Uint32(counts[4*(l.s.Layers+il):])
		if int64(gotComp) != int64(comp) || int64(gotIndex) != int64(index) {
			return corrupt("layer %d: compressed and index rows: want %d and %d, got %d and %d", il, comp, index, gotComp, gotIndex)
		}
	}
	return nil
}

// Tokens are the session's tokens.
func (p *Payload) Tokens() []int32 { return p.tokens }

// CtxTokens is the context of the session that was saved.
func (p *Payload) CtxTokens() int { return p.ctx }

// Logits are those after the last token (vocabulary f32).
func (p *Payload) Logits() ([]float32, error) {
	b := make([]byte, 4*p.l.s.Vocab)
	if err := read(p.r, b, p.l.logits); err != nil {
		return nil, err
	}
	v := make([]float32, p.l.s.Vocab)
	for i := range v {
		if v[i] = getF32(b[4*i:]); !finite(v[i]) {
			return nil, corrupt("logit %d: want a finite value, got %g", i, v[i])
		}
	}
	return v, nil
}

// Page packs page i of the sequence into dst, the size of a page in memory. Rows past the end become zero.
func (p *Payload) Page(i int, dst []byte) error {
	l, s := p.l, p.l.s
	clear(dst)
	for il := range l.layers {
		if s.Ratio[il] == 0 {
			continue
		}
		y, part := &l.layers[il], dst[:s.PagePartBytes(il)]
		dst = dst[len(part):]
		first := i * s.PageRows(il)
		count := min(s.PageRows(il), y.count-first)
		if count <= 0 {
			continue
		}
		if err := p.packRows(part, y.comp, first, count); err != nil {
			return fmt.Errorf("layer %d: %w", il, err)
		}
		if !s.Indexed(il) {
			continue
		}
		if err := p.packIndexRows(part[s.PageIndexOffset(il):], part[s.PageIndexExpOffset(il):], y.index, first, count); err != nil {
			return fmt.Errorf("layer %d: index: %w", il, err)
		}
	}
	return nil
}

// packRows packs count KV rows, from row first of those at an offset.
func (p *Payload) packRows(dst []byte, at int64, first, count int) error {
	s := p.l.s
	width := 4 * s.HeadDim
	b := make([]byte, count*width)
	if err := read(p.r, b, at+int64(first)*int64(width)); err != nil {
		return err
	}
	for c := range count {
		if err := packKV(dst[c*s.KVRowBytes():][:s.KVRowBytes()], b[c*width:][:width], s); err != nil {
			return fmt.Errorf("row %d: %w", first+c, err)
		}
	}
	return nil
}

func (p *Payload) packIndexRows(vals, exps []byte, at int64, first, count int) error {
	const width = 4 * backend.IndexDim
	b := make([]byte, count*width)
	if err := read(p.r, b, at+int64(first)*width); err != nil {
		return err
	}
	for c := range count {
		v, e := vals[c*backend.IndexRowBytes:][:backend.IndexRowBytes], exps[c*backend.IndexExpBytes:][:backend.IndexExpBytes]
		if err := packIndex(v, e, b[c*width:][:width]); err != nil {
			return fmt.Errorf("row %d: %w", first+c, err)
		}
	}
	return nil
}

// State is the ring image, as the engine's snapshots cut it.
func (p *Payload) State() ([]byte, error) {
	l, s := p.l, p.l.s
	total := 0
	for il := range l.layers {
		total += l.imageBytes(il)
	}
	image := make([]byte, total)
	dst := image
	for il := range l.layers {
		raw := l.rawRows * s.KVRowBytes()
		if err := p.packRows(dst[:raw], l.layers[il].raw, 0, l.rawRows); err != nil {
			return nil, fmt.Errorf("layer %d: window: %w", il, err)
		}
		dst = dst[raw:]
		for _, f := range l.pieces(il) {
			if err := read(p.r, dst[:4*f.count], f.at); err != nil {
				return nil, err
			}
			for i := range f.count {
				if v := getF32(dst[4*i:]); !finite(v) {
					return nil, corrupt("layer %d: compressor state: want finite values, got %g", il, v)
				}
			}
			dst = dst[4*f.count:]
		}
	}
	return image, nil
}

func read(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || err == io.EOF:
		return corrupt("want %d bytes at %d, got %d", len(p), off, n)
	}
	return fmt.Errorf("dsv4: %w", err)
}
