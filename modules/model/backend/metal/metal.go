package metal

import (
	"errors"
	"fmt"
	"sync"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/metal"
	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Options are the choices a caller has. The zero value takes the system's GPU.
type Options struct {
	Library     string // a stand-in for libobjc and Metal: tests
	WeightBytes int64  // of the model's file, if known: New refuses what cannot fit before anything is allocated
	Serial      bool   // wait after every operation, so that a failure of the device names it; slow
	NoResidency bool   // do not keep the weights wired between steps
}

// Backend implements backend.Backend.
type Backend struct {
	sh  backend.Shape
	lim backend.Limits
	opt Options

	d    *metal.Device
	pipe [kCount]*metal.Pipeline
	cmd  *metal.Commands
	enc  *metal.Encoder
	set  *metal.Residency

	bufs    []buffer
	weights []weight
	regions []region
	mapped  int // weights that lie in a region
	scr     scratch
	block   *metal.Buffer // the step block
	table   *metal.Buffer // IQ2_XXS codebook
	bad     *metal.Buffer // an expert id out of range, told by route

	step  *backend.Step
	err   error
	op    backend.OpError    // being encoded
	post  backend.HCPostArgs // waits for the HCPre after it
	late  late
	made  made
	tops  *buffer // whose records want their sums
	fresh bool    // nothing was dispatched since a barrier
	reads sync.WaitGroup
}

// made tells whose int8 forms lie in the scratch: ids of buffers, 0 none.
type made struct{ x, latent, o, head int32 }

// written forgets the forms of a buffer.
func (m *made) written(id int32) {
	for _, p := range []*int32{&m.x, &m.latent, &m.o, &m.head} {
		if *p == id {
			*p = 0
		}
	}
}

// New takes the GPU. Errors: ErrUnsupported where there is none, or none that the kernels fit; ErrMemory where the model
// cannot fit; a shape or a limit out of range; the compiler's log.
func New(sh backend.Shape, lim backend.Limits, opt Options) (*Backend, error) {
	if err := sh.Check(); err != nil {
		return nil, err
	}
	if err := lim.Check(); err != nil {
		return nil, err
	}
	if err := checkShape(&sh); err != nil {
		return nil, err
	}
	d, err := metal.Open(metal.Options{Library: opt.Library})
	if err != nil {
		return nil, unsupported(err)
	}
	b := &Backend{sh: sh, lim: lim, opt: opt, d: d}
	if err := b.start(); err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

// unsupported turns the binding's sentinel into the seam's.
func unsupported(err error) error {
	if errors.Is(err, metal.ErrUnsupported) {
		return noDevice{err}
	}
	return err
}

type noDevice struct{ error }

func (e noDevice) Is(target error) bool { return target == backend.ErrUnsupported }

func (e noDevice) Unwrap() error { return e.error }

// checkShape names what the kernels cannot do.
func checkShape(s *backend.Shape) error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("metal: %s: %w", fmt.Sprintf(format, a...), backend.ErrUnsupported)
	}
	switch {
	case s.HeadDim%32 != 0 || s.HeadDim > 512 || s.Heads%kernels.AttendHeads != 0:
		return bad("heads: want a multiple of %d, of 32 to 512 components in steps of 32; got %d of %d", kernels.AttendHeads, s.Heads, s.HeadDim)
	case s.RopeDim%4 != 0:
		return bad("rope dim: want a multiple of 4, got %d", s.RopeDim)
	case s.Embd > 8192 || s.QRank > 8192:
		return bad("embedding width and query rank: want at most 8192, got %d and %d", s.Embd, s.QRank)
	case s.Experts > kernels.MaxExperts:
		return bad("experts: want at most %d, got %d", kernels.MaxExperts, s.Experts)
	case s.Vocab > kernels.TopPiece*kernels.MaxParts:
		return bad("vocabulary: want at most %d, got %d", kernels.TopPiece*kernels.MaxParts, s.Vocab)
	}
	return nil
}

// minFamily is the first whose GPUs have simdgroup matrices: Apple7, the M1.
const minFamily = 7

func (b *Backend) start() error {
	info := b.d.Info()
	if info.Family < minFamily {
		return fmt.Errorf("metal: %s: want an Apple GPU of family %d (M1) or later: %w", info.Name, minFamily, backend.ErrUnsupported)
	}
	if err := b.admit(); err != nil {
		return err
	}
	if err := b.compile(); err != nil {
		return err
	}
	if err := b.takeScratch(); err != nil {
		return err
	}
	grid := gguf.IQ2XXSGrid()
	for i, v := range grid {
		for j := range 8 {
			b.table.Bytes()[8*i+j] = byte(v >> (8 * j))
		}
	}
	return nil
}

// Close waits for what runs and gives everything back. The weights' bytes are the caller's.
func (b *Backend) Close() error {
	b.flush()
	b.reads.Wait()
	for i := range b.bufs {
		b.bufs[i].free()
	}
	if b.set != nil {
		b.set.Release()
	}
	for i := range b.regions {
		b.regions[i].buf.Release()
	}
	b.scr.free()
	for _, u := range []*metal.Buffer{b.block, b.table, b.bad} {
		if u != nil {
			u.Release()
		}
	}
	for _, p := range b.pipe {
		if p != nil {
			p.Release()
		}
	}
	b.bufs, b.weights, b.regions, b.set = nil, nil, nil, nil
	b.d.Close()
	return nil
}

// Device describes the GPU.
func (b *Backend) Device() metal.Info { return b.d.Info() }

// Memory lists every use. Weights are the file's own pages.
func (b *Backend) Memory() backend.Memory {
	m := backend.Memory{TotalBytes: int64(b.d.Info().WorkingSetBytes)}
	used := int64(0)
	add := func(name string, n int64) {
		m.Uses = append(m.Uses, backend.Use{Name: name, Bytes: n})
		used += n
	}
	weights := int64(0)
	for i := range b.weights {
		weights += int64(len(b.weights[i].data))
	}
	add("weights", weights)
	for i := range b.bufs {
		add(b.bufs[i].name, b.bufs[i].bytes())
	}
	add("scratch", b.scr.bytes)
	m.FreeBytes = max(0, m.TotalBytes-used)
	return m
}

// fail keeps the first failure of a step.
func (b *Backend) fail(err error) {
	if b.err != nil {
		return
	}
	op := b.op
	op.Err = classify(err)
	b.err = &op
}

func (b *Backend) check(err error) {
	if err != nil {
		b.fail(err)
	}
}

// classify wraps the binding's errors in the seam's sentinels.
func classify(err error) error {
	var e *metal.CommandError
	switch {
	case errors.Is(err, metal.ErrMemory):
		return fmt.Errorf("%w: %w", err, backend.ErrMemory)
	case errors.As(err, &e) && e.Lost():
		return fmt.Errorf("%w: %w", err, backend.ErrDeviceLost)
	}
	return err
}
