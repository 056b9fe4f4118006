package metal

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/ds4-go/ds4/modules/metal"
	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// maxBiases is the number of biases that a step block has room for.
const maxBiases = 8192

// longStep is the row count above which a step is cut at its layers.
const longStep = 64

// ratios are the compression ratios that occur, in order of appearance.
func ratios(sh *backend.Shape) []int {
	var out []int
	for _, r := range sh.Ratio {
		known := r == 0
		for _, o := range out {
			known = known || o == r
		}
		if !known {
			out = append(out, r)
		}
	}
	return out
}

// ropeKinds is the number of rotations of a row: two by position, and one for each ratio by the start of its window.
func ropeKinds(sh *backend.Shape) int { return 2 + len(ratios(sh)) }

// blockBytes is the size of the step block for these limits.
func blockBytes(sh *backend.Shape, l *backend.Limits) int {
	return int(unsafe.Sizeof(kernels.Head{})) + 16*l.Rows + 24*min(l.Rows, l.Seqs) + 4*l.Outs + 20*l.Tops + 12*maxBiases + 4*l.Rows*ropeKinds(sh)*sh.RopeDim + 16
}

// Begin writes the step block.
func (b *Backend) Begin(s *backend.Step) {
	s.Check(&b.sh, &b.lim)
	if len(s.Bias) > maxBiases {
		panic(fmt.Sprintf("metal: want at most %d biases in a step, got %d", maxBiases, len(s.Bias)))
	}
	b.step, b.made, b.post, b.late, b.tops = s, made{}, backend.HCPostArgs{}, late{}, nil
	b.op = backend.OpError{Op: "begin", Layer: -1}
	b.check(b.wrap())
	b.encode(s)
	clear(b.bad.Bytes())
}

// encode writes the step block as kernels/common.metal declares it.
func (b *Backend) encode(s *backend.Step) {
	p := b.block.Bytes()
	h := (*kernels.Head)(unsafe.Pointer(unsafe.SliceData(p)))
	*h = kernels.Head{Rows: int32(len(s.Rows)), Spans: int32(len(s.Spans)), Outs: int32(len(s.Outs)), Tops: int32(len(s.Tops)), Biases: int32(len(s.Bias)),
		Tape: int32(s.Tape), Kinds: int32(ropeKinds(&b.sh)), Rope: int32(b.sh.RopeDim)}
	if b.indexed(s) {
		h.Indexed = 1
	}
	at := int(unsafe.Sizeof(*h))
	section := func(to *uint32, src unsafe.Pointer, n int) {
		*to = uint32(at)
		if n > 0 {
			copy(p[at:], unsafe.Slice((*byte)(src), n))
		}
		at += n
	}
	section(&h.AtRows, unsafe.Pointer(unsafe.SliceData(s.Rows)), 16*len(s.Rows))
	section(&h.AtSpans, unsafe.Pointer(unsafe.SliceData(s.Spans)), 24*len(s.Spans))
	section(&h.AtOuts, unsafe.Pointer(unsafe.SliceData(s.Outs)), 4*len(s.Outs))
	section(&h.AtTops, unsafe.Pointer(unsafe.SliceData(s.Tops)), 20*len(s.Tops))
	section(&h.AtBias, unsafe.Pointer(unsafe.SliceData(s.Bias)), 12*len(s.Bias))
	at = (at + 15) &^ 15
	h.AtRope = uint32(at)
	b.rotations(s, unsafe.Slice((*float32)(unsafe.Pointer(&p[at])), len(s.Rows)*ropeKinds(&b.sh)*b.sh.RopeDim))
}

// rotations writes cos and sin of every row's pairs: both kinds at its position, and for each ratio whose window it completes
// that window's first position. The host has f64, and its range reduction.
func (b *Backend) rotations(s *backend.Step, out []float32) {
	r, all := b.sh.RopeDim, ratios(&b.sh)
	low, high := yarnRange(&b.sh)
	for i := range s.Rows {
		pos := int(s.Rows[i].Pos)
		at := out[i*ropeKinds(&b.sh)*r:]
		rotation(&b.sh, at[:r], false, pos, low, high)
		rotation(&b.sh, at[r:2*r], true, pos, low, high)
		for k, ratio := range all {
			if (pos+1)%ratio == 0 {
				rotation(&b.sh, at[(2+k)*r:(3+k)*r], true, pos+1-ratio, low, high)
			}
		}
	}
}

// rotation follows the reference's order: sequential f32 products of base^(−2/r), blended with the interpolated angle (YaRN)
// where rows are compressed.
func rotation(sh *backend.Shape, dst []float32, compressed bool, pos int, low, high float32) {
	base := sh.RopeBase
	if compressed {
		base = sh.CompressBase
	}
	step := float32(math.Pow(float64(float32(base)), float64(float32(-2)/float32(sh.RopeDim))))
	theta := float32(pos)
	for k := range sh.RopeDim / 2 {
		phi := theta
		if compressed {
			ramp := 1 - min(1, max(0, (float32(k)-low)/max(0.001, high-low)))
			inter := float32(float32(1/sh.YarnFactor) * theta)
			phi = float32(inter*(1-ramp)) + float32(theta*ramp)
		}
		sin, cos := math.Sincos(float64(phi))
		dst[2*k], dst[2*k+1] = float32(cos), float32(sin)
		theta *= step
	}
}

// yarnRange is the pair indices between which YaRN blends.
func yarnRange(sh *backend.Shape) (low, high float32) {
	dim := func(beta float64) float64 {
		return float64(sh.RopeDim) * math.Log(sh.YarnContext/(beta*2*math.Pi)) / (2 * math.Log(sh.CompressBase))
	}
	return float32(max(0, math.Floor(dim(sh.YarnFast)))), float32(min(float64(sh.RopeDim-1), math.Ceil(dim(sh.YarnSlow))))
}

// indexed says whether some row sees more compressed rows than the indexer lets through.
func (b *Backend) indexed(s *backend.Step) bool {
	for i := range s.Spans {
		if int(s.Spans[i].Pos+s.Spans[i].Rows)/4 > b.sh.TopK {
			return true
		}
	}
	return false
}

// moved says whether some span leaves its slot for a spare one.
func moved(s *backend.Step) bool {
	for i := range s.Spans {
		if s.Spans[i].Into != s.Spans[i].Slot {
			return true
		}
	}
	return false
}

// Wait ends the step: everything encoded has run when it returns.
func (b *Backend) Wait() error {
	if b.err == nil {
		b.op = backend.OpError{Op: "wait", Layer: -1}
	}
	b.flush()
	err := b.err
	b.step, b.err = nil, nil
	return err
}

// begin is every operation's way in: it says whether the operation must run, and lets what waits go first.
func (b *Backend) begin(op string, layer int32) bool {
	if b.err == nil && b.opt.Serial {
		b.flush()
	}
	b.op = backend.OpError{Op: op, Layer: int(layer)}
	if b.err == nil && b.step.Stop != nil && b.step.Stop.Load() {
		b.fail(backend.ErrCanceled)
	}
	if b.err == nil {
		b.settle(op)
	}
	return b.err == nil
}

// flush runs what is encoded and waits for it.
func (b *Backend) flush() {
	if b.step != nil && b.err == nil {
		b.settle("")
	}
	if b.cmd == nil {
		return
	}
	c := b.cmd
	b.enc.End()
	b.cmd, b.enc = nil, nil
	if b.err != nil {
		c.Discard()
		return
	}
	c.Commit()
	if err := c.Wait(); err != nil {
		b.fail(err)
		return
	}
	if id := b.badExpert(); id != nil {
		b.op.Op = "route"
		b.fail(id)
		return
	}
	b.finishTops()
}

// barrier orders what comes after what was dispatched.
func (b *Backend) barrier() {
	if b.enc != nil && !b.fresh {
		b.enc.Barrier()
		b.fresh = true
	}
}

// launch encodes one dispatch: arguments at index 0, then buffers from 1 on.
func launch[A any](b *Backend, k kernel, groups, threads metal.Size, a *A, refs ...ref) {
	if b.err != nil {
		return
	}
	if b.cmd == nil {
		c, err := b.d.Commands()
		if err != nil {
			b.fail(err)
			return
		}
		b.cmd, b.enc, b.fresh = c, c.Compute(true), true
	}
	if int(threads.W) > b.pipe[k].MaxThreads {
		b.fail(fmt.Errorf("kernel %s: want %d threads in a threadgroup, the device has %d", k, threads.W, b.pipe[k].MaxThreads))
		return
	}
	b.enc.Pipeline(b.pipe[k])
	metal.Args(b.enc, 0, a)
	for i, r := range refs {
		b.enc.Buffer(i+1, r.buf, r.off)
	}
	b.enc.Dispatch(groups, threads)
	b.fresh = false
}

// stepRef is where the step block lies.
func (b *Backend) stepRef() ref { return ref{b.block, 0} }

func size(w, h, d int) metal.Size { return metal.Size{W: uint64(w), H: uint64(h), D: uint64(d)} }

func line(w int) metal.Size { return metal.Size{W: uint64(w)} }

func (b *Backend) ratio(layer int32) int {
	if int(layer) >= b.sh.Layers { // the draft layer
		return 0
	}
	return b.sh.Ratio[layer]
}

// ropeKind is the kind of rotation of a layer: 0 where nothing is compressed.
func (b *Backend) ropeKind(layer int32) int32 {
	if b.ratio(layer) == 0 {
		return 0
	}
	return 1
}

// state describes layer il's part of rings and pages, and where they lie.
func (b *Backend) state(s backend.State, layer int32) (a kernels.State, slots, pages, table ref) {
	il, sh := int(layer), &b.sh
	a = kernels.State{SlotStride: uint64(s.Slots.RowBytes), Ring: int32(sh.RawRing()), KVRow: int32(sh.KVRowBytes()), KVExp: int32(sh.KVExpOffset()),
		CompBase: int32(sh.RawRing() * sh.KVRowBytes()), PageRows: 1, CompRing: 1, Ratio: 1, TableStride: int32(s.Table.RowBytes / 4)}
	slots, pages, table = b.part(s.Slots, layer), b.stepRef(), b.whole(s.Table)
	if il >= sh.Layers || sh.Ratio[il] == 0 {
		return a, slots, pages, table
	}
	pages = b.part(s.Pages, layer)
	a.PageStride, a.Ratio, a.PageRows = uint64(s.Pages.RowBytes), int32(sh.Ratio[il]), int32(sh.PageRows(il))
	a.CompRing, a.CompRow = int32(sh.CompRing(il)), int32(sh.CompRowFloats(il))
	a.IndexAt, a.IndexExpAt = int32(sh.PageIndexOffset(il)), int32(sh.PageIndexExpOffset(il))
	return a, slots, pages, table
}

func rsqrt(n int) float32 { return float32(1 / math.Sqrt(float64(n))) }

func flag(v bool) int32 {
	if v {
		return 1
	}
	return 0
}

func ceil(n, by int) int { return (n + by - 1) / by }
