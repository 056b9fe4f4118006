package synth

import (
	"cmp"
	"encoding/binary"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
)

// pieceBytes is about what one goroutine makes at a time.
const pieceBytes = 4 << 20

// Random values are taken from tables of levels, since making each one would be slower than most disks: a uniform
// value needs a multiplication, two conversions and a rounding, a table needs a load from the first cache.
const (
	levelBits = 12
	levelMask = 1<<levelBits - 1
)

// filler makes any part of one tensor's data. off is in bytes, a multiple of unit; parts may be made in any order.
type filler struct {
	unit int // bytes: whole blocks and whole words of the generator
	fill func(dst []byte, off int64)
}

// layerOf splits a tensor's name into its layer, −1 for none, and the rest. A draft head's are as those of a first layer.
func layerOf(name string) (il int, tail string) {
	if tail, ok := strings.CutPrefix(name, "mtp.0."); ok {
		return 0, tail
	}
	rest, ok := strings.CutPrefix(name, "blk.")
	if !ok {
		return -1, name
	}
	num, tail, _ := strings.Cut(rest, ".")
	il, err := strconv.Atoi(num)
	if err != nil {
		return -1, name
	}
	return il, tail
}

// payload makes the data of a tensor while it is written.
func (f Flash) payload(spec model.Spec, typ gguf.Type, bytes int64) gguf.Payload {
	return func(w io.Writer) error {
		if f.Wrote != nil {
			w = &tellingWriter{w, f.Wrote}
		}
		return f.filler(spec, typ).write(w, bytes, max(f.Workers, 1))
	}
}

type tellingWriter struct {
	w    io.Writer
	tell func(int64)
}

func (t *tellingWriter) Write(p []byte) (int, error) {
	n, err := t.w.Write(p)
	t.tell(int64(n))
	return n, err
}

// write makes pieces on several goroutines and writes them in order.
func (f filler) write(w io.Writer, bytes int64, workers int) error {
	piece := int64(max(pieceBytes/f.unit, 1) * f.unit)
	if bytes <= piece {
		p := make([]byte, bytes)
		f.fill(p, 0)
		_, err := w.Write(p)
		return err
	}
	free, order, stop := make(chan []byte, workers+1), make(chan chan []byte, workers+1), make(chan struct{})
	defer close(stop)
	for range workers + 1 {
		free <- make([]byte, piece)
	}
	go func() {
		defer close(order)
		for off := int64(0); off < bytes; off += piece {
			var p []byte
			select {
			case p = <-free:
			case <-stop:
				return
			}
			made := make(chan []byte, 1)
			order <- made // has room: there are no more pieces under way than buffers
			go func() {
				p := p[:min(piece, bytes-off)]
				f.fill(p, off)
				made <- p
			}()
		}
	}()
	for made := range order {
		p := <-made
		if _, err := w.Write(p); err != nil {
			return err
		}
		free <- p[:piece]
	}
	return nil
}

// filler chooses how to make a tensor. Tiny's generator knows the amplitudes; what it does to single layers, to push
// tiny models into rare branches, is left out: here layers share experts.
func (f Flash) filler(spec model.Spec, typ gguf.Type) filler {
	il, tail := layerOf(spec.Name)
	s := f.stream(spec.Name)
	plain := spec
	if plain.Name = tail; il >= 0 {
		plain.Name = "blk.0." + tail
	}
	amp, off := Tiny{Shape: f.Shape, Experts: f.Experts}.amplitude(plain, typ)
	if f.FixedRoute && il >= f.Shape.Hash {
		switch tail {
		case "ffn_gate_inp.weight":
			return filler{8, func(dst []byte, _ int64) { clear(dst) }}
		case "exp_probs_b.bias":
			return filler{4, func(dst []byte, at int64) { copy(dst, ranks(s, f.Shape.Experts)[at:]) }}
		}
	}
	switch typ {
	case gguf.TypeI32:
		return s.hashTable(f.Shape.Experts, spec.Dims[0])
	case gguf.TypeF32:
		return s.floats(amp, off)
	case gguf.TypeF16:
		return s.halves(amp, off)
	case gguf.TypeMXFP4:
		return s.mxfp4(amp)
	}
	return s.blocks(typ, amp)
}

// stream is the generator of a tensor under the file's seed.
func (f Flash) stream(name string) stream { return seed(name) ^ stream(stream(f.Seed).at(0)) }

// ranks is a bias (experts) f32 whose values are all distinct, in a random order: what a router with no opinion chooses by.
func ranks(s stream, experts int) []byte {
	order := make([]int, experts)
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(s.at(uint64(a)), s.at(uint64(b))) })
	out := make([]byte, 4*experts)
	for rank, e := range order {
		v := 0.2 * (2*float64(rank)/float64(experts) - 1)
		binary.LittleEndian.PutUint32(out[4*e:], math.Float32bits(float32(v)))
	}
	return out
}
