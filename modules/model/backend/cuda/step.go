package cuda

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// bounds are what grids are made for: the step's counts, or those of its bucket where a graph is captured.
type bounds struct{ rows, spans, outs, tops int }

// maxBiases is the number of biases that a step block has room for.
const maxBiases = 8192

// blockBytes is the size of the step block for these limits.
func blockBytes(l *backend.Limits) int {
	return 64 + 16*l.Rows + 24*min(l.Rows, l.Seqs) + 4*l.Outs + 20*l.Tops + 12*maxBiases
}

// Begin uploads the step block and decides whether the calls that follow are compared with a recorded tape.
func (b *Backend) Begin(s *backend.Step) {
	s.Check(&b.sh, &b.lim)
	if len(s.Bias) > maxBiases {
		panic(fmt.Sprintf("cuda: want at most %d biases in a step, got %d", maxBiases, len(s.Bias)))
	}
	b.enter()
	b.step, b.made, b.roped, b.due = s, made{}, false, due{}
	b.op = backend.OpError{Op: "begin", Layer: -1}
	if b.load != nil {
		b.check(b.load.empty(b))
		b.check(b.load.close(b))
		b.load = nil
	}
	b.check(b.d.ToDevice(b.scr.step, b.encode(s), b.stream))
	le.PutUint32(b.markWord(), 0) // nothing runs
	b.bound = bounds{len(s.Rows), len(s.Spans), len(s.Outs), len(s.Tops)}
	b.prof.begin(b)
	b.begin(s)
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

// encode writes the step block as kernels/common.cuh declares it.
func (b *Backend) encode(s *backend.Step) []byte {
	p := b.block[:64]
	clear(p)
	section := func(at int, src unsafe.Pointer, n int) {
		le.PutUint32(b.block[at:], uint32(len(p)))
		if n > 0 {
			p = append(p, unsafe.Slice((*byte)(src), n)...)
		}
	}
	section(32, unsafe.Pointer(unsafe.SliceData(s.Rows)), 16*len(s.Rows))
	section(36, unsafe.Pointer(unsafe.SliceData(s.Spans)), 24*len(s.Spans))
	section(40, unsafe.Pointer(unsafe.SliceData(s.Outs)), 4*len(s.Outs))
	section(44, unsafe.Pointer(unsafe.SliceData(s.Tops)), 20*len(s.Tops))
	section(48, unsafe.Pointer(unsafe.SliceData(s.Bias)), 12*len(s.Bias))
	indexed := 0
	if b.indexed(s) {
		indexed = 1
	}
	for i, v := range []int{len(s.Rows), len(s.Spans), len(s.Outs), len(s.Tops), len(s.Bias), int(s.Tape), indexed} {
		le.PutUint32(b.block[4*i:], uint32(v))
	}
	return p
}

// Wait ends the step: what was compared so far is replayed or launched, and everything queued has run when it returns.
func (b *Backend) Wait() error {
	defer b.leave()
	b.finish()
	if b.err == nil {
		b.op = backend.OpError{Op: "step", Layer: -1}
		if err := b.d.Sync(b.stream); err != nil { // a kernel faulted; which one, only Options.Serial tells
			where, layer := b.marked()
			b.op.Layer = layer
			b.fail(fmt.Errorf("%s of %d rows, %s: %w", b.tape.last(), len(b.step.Rows), where, err))
		}
	}
	b.prof.end(b)
	err := b.err
	b.step, b.err = nil, nil
	return err
}

// stopped says that an operation must not run: one before it failed, or the step was stopped.
func (b *Backend) stopped() bool {
	if b.err == nil && b.step.Stop != nil && b.step.Stop.Load() {
		b.fail(backend.ErrCanceled)
	}
	return b.err != nil
}

// state describes layer il's part of rings and pages.
func (b *Backend) state(s backend.State, layer int32) stateArgs {
	il, sh := int(layer), &b.sh
	slots, pages := b.buf(s.Slots), b.buf(s.Pages)
	a := stateArgs{
		slots: slots.base + addr(slots.parts[il]), slotStride: uint64(slots.row), table: b.base(s.Table), tableStride: int32(s.Table.RowBytes / 4),
		ring: int32(sh.RawRing()), kvRow: int32(sh.KVRowBytes()), kvExp: int32(sh.KVExpOffset()), pageRows: 1, ratio: 0,
	}
	if il >= sh.Layers || sh.Ratio[il] == 0 {
		return a
	}
	a.pages, a.pageStride = pages.base+addr(pages.parts[il]), uint64(pages.row)
	a.ratio, a.pageRows = int32(sh.Ratio[il]), int32(sh.PageRows(il))
	a.compRing, a.compRow = int32(sh.CompRing(il)), int32(sh.CompRowFloats(il))
	a.indexAt, a.indexExpAt = int32(sh.PageIndexOffset(il)), int32(sh.PageIndexExpOffset(il))
	return a
}

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

func rsqrt(n int) float32 { return float32(1 / math.Sqrt(float64(n))) }
