package synth

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
)

// Tiny is a small model with every layer kind and weights from a fixed generator (model.md 7.2, 7.3).
type Tiny struct {
	Name    string
	Shape   model.Shape
	Experts [3]gguf.Type // gate, up, down
}

// expert types of the published files.
var (
	expertsQ2    = [3]gguf.Type{gguf.TypeIQ2_XXS, gguf.TypeIQ2_XXS, gguf.TypeQ2_K}
	expertsMXFP4 = [3]gguf.Type{gguf.TypeMXFP4, gguf.TypeMXFP4, gguf.TypeMXFP4}

	expertsQ4 = [3]gguf.Type{gguf.TypeQ4_K, gguf.TypeQ4_K, gguf.TypeQ4_K}
)

func tinyShape() model.Shape {
	s := model.Shape{Layers: 7, Ratio: []int{0, 0, 4, 128, 4, 128, 4}, Hash: 3, ActiveExps: 6, ExpertDim: 256, RopeDim: 64, OutRank: 32, QRank: 64}
	s.Constants()
	return s
}

// T0 is the least that has every layer kind (2.6 MB): for tests that run thousands of steps. No golden run uses it.
func T0() Tiny {
	s := tinyShape()
	s.Layers, s.Ratio = 5, []int{0, 0, 4, 128, 4}
	s.Embd, s.Vocab, s.Heads, s.HeadDim, s.Groups, s.QRank, s.OutRank = 256, 64, 4, 128, 2, 32, 16
	s.Experts, s.ActiveExps, s.Window, s.IndexHeads, s.TopK = 8, 2, 16, 2, 8
	return Tiny{"T0", s, expertsQ2}
}

// T1 is the smaller of the specification's two (13.3 MB).
func T1() Tiny {
	s := tinyShape()
	s.Embd, s.Vocab, s.Heads, s.HeadDim, s.Groups = 256, 512, 8, 192, 2
	s.Experts, s.Window, s.IndexHeads, s.TopK = 16, 16, 4, 8
	return Tiny{"T1", s, expertsQ2}
}

// T1Q4 is T1 with all routed experts in Q4_K.
func T1Q4() Tiny {
	t := T1()
	t.Name, t.Experts = "T1-q4", expertsQ4
	return t
}

// T1MXFP4 is T1 with all routed experts in MXFP4.
func T1MXFP4() Tiny {
	t := T1()
	t.Name, t.Experts = "T1-mxfp4", expertsMXFP4
	return t
}

// T2 keeps the real head geometry, window and indexer (71.2 MB).
func T2() Tiny {
	s := tinyShape()
	s.Embd, s.Vocab, s.Heads, s.HeadDim, s.Groups = 512, 1024, 64, 512, 8
	s.Experts, s.Window, s.IndexHeads, s.TopK = 32, 128, 64, 32
	return Tiny{"T2", s, expertsQ2}
}

// Prompt is the token sequence of the golden runs.
func Prompt(vocab, n int) []int32 {
	p := make([]int32, n)
	for i := range p {
		p[i] = int32((37*i + 11*(i/7) + 5) % vocab)
	}
	return p
}

// stream is the generator of one tensor: numbers by index, no state.
type stream uint64

func seed(name string) stream {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return stream(h)
}

func (s stream) at(i uint64) uint64 {
	z := uint64(s) + (i+1)*0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// unit is uniform in [0, 1).
func (s stream) unit(i uint64) float64 { return float64(s.at(i)>>40) / (1 << 24) }

// bytes fills dst with the byte stream from off, a multiple of 8.
func (s stream) bytes(dst []byte, off int) {
	var w [8]byte
	for i := 0; i < len(dst); i += 8 {
		binary.LittleEndian.PutUint64(w[:], s.at(uint64(off+i)/8))
		copy(dst[i:], w[:])
	}
}

// Tensors calls put with every tensor of the model, in the order of the inventory.
func (t Tiny) Tensors(put func(tensor gguf.Tensor, data []byte) error) error {
	for _, spec := range model.Inventory(t.Shape) {
		typ := t.typeOf(spec)
		n := 1
		g := gguf.Tensor{Name: spec.Name, Type: typ}
		for _, d := range spec.Dims {
			n *= d
			g.Dims = append(g.Dims, uint64(d))
		}
		size, err := typ.RowBytes(n)
		if err != nil {
			return fmt.Errorf("synth: %s: %w", spec.Name, err)
		}
		data := make([]byte, size)
		t.fill(data, spec, typ)
		g.Bytes = uint64(size)
		if err := put(g, data); err != nil {
			return err
		}
	}
	return nil
}

func (t Tiny) typeOf(s model.Spec) gguf.Type {
	for i, part := range []string{"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"} {
		if strings.Contains(s.Name, part) {
			return t.Experts[i]
		}
	}
	return s.Types[0]
}

func (t Tiny) fill(data []byte, spec model.Spec, typ gguf.Type) {
	s := seed(spec.Name)
	amp, off := t.amplitude(spec, typ)
	switch typ {
	case gguf.TypeI32:
		e := uint64(t.Shape.Experts)
		k := spec.Dims[0]
		for i := 0; i < len(data)/4; i++ {
			id := (s.at(uint64(i/k))%e + 5*uint64(i%k)) % e
			binary.LittleEndian.PutUint32(data[4*i:], uint32(id))
		}
	case gguf.TypeF32:
		for i := 0; i < len(data)/4; i++ {
			binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(float32(off+amp*(2*s.unit(uint64(i))-1))))
		}
	case gguf.TypeF16:
		for i := 0; i < len(data)/2; i++ {
			binary.LittleEndian.PutUint16(data[2*i:], gguf.Float32ToFloat16(float32(off+amp*(2*s.unit(uint64(i))-1))))
		}
	case gguf.TypeMXFP4:
		s.bytes(data, 0)
		exp := 128 + math.Ilogb(amp) // codes are doubled: the scale is 2^(exp−128)
		for b := 0; b < len(data); b += typ.BlockBytes() {
			data[b] = byte(exp + int(data[b]&1))
		}
	default:
		fillBlocks(data, spec.Name, typ, amp)
	}
}

// blockFields says where a block type keeps its scales and its random payload.
var blockFields = map[gguf.Type]struct {
	d, dmin, payload, payloadBytes int // dmin −1: none
	ratio                          float64
}{
	gguf.TypeQ8_0:    {0, -1, 2, 32, 0},
	gguf.TypeIQ2_XXS: {0, -1, 2, 64, 0},
	gguf.TypeQ2_K:    {80, 82, 0, 80, 1.5},
	gguf.TypeQ4_K:    {0, 2, 4, 140, 7.5},
}

func fillBlocks(data []byte, name string, typ gguf.Type, amp float64) {
	f, size := blockFields[typ], typ.BlockBytes()
	s, scale := seed(name), seed(name+"#d")
	stream := make([]byte, len(data)/size*f.payloadBytes)
	s.bytes(stream, 0)
	for b := 0; b < len(data)/size; b++ {
		blk := data[b*size : (b+1)*size]
		d := amp * (0.5 + scale.unit(uint64(b)))
		binary.LittleEndian.PutUint16(blk[f.d:], half(d))
		if f.dmin >= 0 {
			binary.LittleEndian.PutUint16(blk[f.dmin:], half(f.ratio*d))
		}
		payload := blk[f.payload:][:f.payloadBytes]
		copy(payload, stream[b*f.payloadBytes:])
		if typ == gguf.TypeQ8_0 {
			for i, c := range payload {
				if c == 0x80 {
					payload[i] = 0x81
				}
			}
		}
	}
}

// half rounds an f64 to f16 once; by way of f32 it would be rounded twice, and now and then differently.
func half(v float64) uint16 {
	_, e := math.Frexp(v)
	quantum := math.Ldexp(1, max(e-11, -24)) // f16 has 11 significant bits, and nothing finer than 2^-24
	return gguf.Float32ToFloat16(float32(math.RoundToEven(v/quantum) * quantum))
}

// amplitude is the table of model.md 7.3.
func (t Tiny) amplitude(spec model.Spec, typ gguf.Type) (amp, off float64) {
	name, il := spec.Name, -1
	if rest, ok := strings.CutPrefix(name, "blk."); ok {
		num, tail, _ := strings.Cut(rest, ".")
		il, _ = strconv.Atoi(num)
		name = tail
	}
	n := math.Sqrt(float64(spec.Dims[0]))
	factor := 1.0
	if il == 1 { // exercises the clamps without dominating the residual
		switch {
		case strings.HasPrefix(name, "ffn_gate_exps"), strings.HasPrefix(name, "ffn_up_exps"), strings.HasSuffix(name, "gate_shexp.weight"), strings.HasSuffix(name, "up_shexp.weight"):
			factor = 6
		case strings.HasPrefix(name, "ffn_down_"):
			factor = 1.0 / 32
		}
	}
	switch typ {
	case gguf.TypeQ8_0:
		return factor * (1 / (73 * n)), 0
	case gguf.TypeIQ2_XXS:
		return factor * (1 / (48 * n)), 0
	case gguf.TypeQ2_K:
		return factor * (1 / (12 * n)), 0
	case gguf.TypeQ4_K:
		return factor * (1 / (220 * n)), 0
	case gguf.TypeMXFP4:
		return factor * (1 / (6 * n)), 0
	}
	switch {
	case name == "token_embd.weight", name == "attn_sinks.weight":
		return 1, 0
	case strings.Contains(name, "hc_") && strings.Contains(name, "_fn."):
		return 0.05, 0
	case strings.Contains(name, "hc_") && strings.Contains(name, "_scale."):
		return 0.25, 0.5
	case strings.Contains(name, "hc_") && strings.Contains(name, "_base."):
		return 0.5, 0
	case strings.Contains(name, "norm."):
		return 0.25, 1
	case strings.Contains(name, "_ape."):
		return 0.5, 0
	case name == "ffn_gate_inp.weight" && il == 4:
		return 12 * math.Sqrt(3/float64(spec.Dims[0])), 0
	case name == "exp_probs_b.bias":
		return 0.2, 0
	}
	return math.Sqrt(3 / float64(spec.Dims[0])), 0 // router, compressor and indexer projections
}
