package cuda

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/cuda/driver"
)

// Options are the choices a caller has. The zero value takes the first card.
type Options struct {
	Device      int      // ordinal
	Library     string   // path of libcuda; "": where systems keep it
	WeightBytes int64    // of the model's file, if known: New refuses what cannot fit before anything is allocated
	NoGraphs    bool     // launch every step directly
	Serial      bool     // wait after every operation, so that a fault of a kernel names it; slow
	Loaders     int      // goroutines that copy weights into pinned memory; 0: one a core, at most 14
	SharedBytes int      // of a block, as if the card had no more: tests of what small cards run; 0: what the card has
	Join        []string // joined launches of few rows: see Joins; nil: all, empty: none. The bits are the same
	Profile     bool     // time every operation: see Backend.Profile and SetProfile; such steps are launched directly
}

// Joins are the launches that steps of up to eight rows may join: the feed-forward half (ffn), HCPost and the next HCPre's mix
// with the product before them (post), the products of attention's first half (front). See ffn.go, hc_post.go, front.go.
func Joins() []string { return []string{"ffn", "post", "front"} }

// Backend implements backend.Backend.
type Backend struct {
	sh  backend.Shape
	lim backend.Limits
	opt Options

	d         *driver.Driver
	dev       driver.Device
	module    driver.Module
	fn        [kCount]driver.Function
	stream    driver.Stream
	dependent bool       // launches may overlap: cards from 9.0 on
	args      [1024]byte // of the largest kernel

	bufs    []buffer
	weights []weight
	shared  map[shared]backend.Weight
	arena   arena
	load    *loader
	reads   reader
	scr     scratch
	rope    ropeArgs

	step  *backend.Step
	block []byte // pinned: the step block, then small reads
	err   error
	op    backend.OpError // being launched
	bound bounds
	made  made
	due   due
	roped bool // the step's rotations were launched
	tape  tape
	prof  profile
}

// made tells whose forms lie in the scratch: ids of buffers, 0 none.
type made struct{ x, latent, o, plan int32 }

// written forgets the forms of a buffer.
func (m *made) written(id int32) {
	for _, p := range []*int32{&m.x, &m.latent, &m.o, &m.plan} {
		if *p == id {
			*p = 0
		}
	}
}

// due is what operations left to the one that usually follows; it is launched on its own where that does not come.
type due struct {
	post    backend.HCPostArgs   // for HCPre
	sum     backend.Buf          // of the routed experts, for SharedExpert
	heads   backend.Buf          // queries neither normed nor rotated, for Attend
	layer   int32                // of heads
	taken   bool                 // Attend read them
	experts backend.ExpertsArgs  // for SharedExpert
	down    ffnDown              // for HCPost and HCPre
	out     backend.AttnOutArgs  // its last product, the same
	qkv     backend.AttnQKVArgs  // for Compress and IndexTopK
	comp    backend.CompressArgs // for IndexTopK
}

type buffer struct {
	name  string
	rows  int
	row   int64
	parts []int64 // offsets
	base  addr
	lazy  *driver.Range // of pages: committed as the table names them
}

type weight struct {
	name       string
	typ        gguf.Type
	rows, cols int
	base       addr
}

// New takes a card. Errors: ErrUnsupported where there is none (or the program was built without), ErrMemory where the
// model cannot fit, a shape or a limit out of range.
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
	if opt.Join == nil {
		opt.Join = Joins()
	}
	for _, j := range opt.Join {
		if !slices.Contains(Joins(), j) {
			return nil, fmt.Errorf("cuda: joined launches: want some of %s, got %q", strings.Join(Joins(), ", "), j)
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d, err := driver.Open(opt.Library, opt.Device)
	if err != nil {
		return nil, unsupported(err)
	}
	b := &Backend{sh: sh, lim: lim, opt: opt, d: d, dev: d.Device()}
	if opt.SharedBytes > 0 {
		b.dev.SharedBytes = min(b.dev.SharedBytes, opt.SharedBytes)
	}
	if err := b.start(); err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

// unsupported turns the binding's sentinel into the seam's.
func unsupported(err error) error {
	if errors.Is(err, driver.ErrUnsupported) {
		return noCard{fmt.Errorf("cuda: %w", err)}
	}
	return classify(err)
}

type noCard struct{ error }

func (e noCard) Is(target error) bool { return target == backend.ErrUnsupported }

func (e noCard) Unwrap() error { return e.error }

// checkShape names what the kernels cannot do.
func checkShape(s *backend.Shape) error {
	switch {
	case s.HeadDim%64 != 0 || s.HeadDim > 512 || s.RopeDim%8 != 0:
		return fmt.Errorf("cuda: head of %d, %d rotated: want a multiple of 64 up to 512, and of 8: %w", s.HeadDim, s.RopeDim, backend.ErrUnsupported)
	case s.IndexHeads > 64:
		return fmt.Errorf("cuda: indexer heads: want at most 64, got %d: %w", s.IndexHeads, backend.ErrUnsupported)
	case s.Embd > 8192:
		return fmt.Errorf("cuda: embedding width: want at most 8192, got %d: %w", s.Embd, backend.ErrUnsupported)
	case s.OutRank%16 != 0 || s.QRank%32 != 0:
		return fmt.Errorf("cuda: ranks %d and %d: want multiples of 32 and 16: %w", s.QRank, s.OutRank, backend.ErrUnsupported)
	}
	return nil
}

func (b *Backend) start() error {
	if b.dev.Major < 8 {
		return fmt.Errorf("cuda: %s: want compute capability 8.0 or more, got %d.%d: %w", b.dev.Name, b.dev.Major, b.dev.Minor, backend.ErrUnsupported)
	}
	if room := attendRoom(b.sh.HeadDim); b.dev.SharedBytes < room {
		return fmt.Errorf("cuda: %s: want %d bytes of shared memory a block, got %d: %w", b.dev.Name, room, b.dev.SharedBytes, backend.ErrUnsupported)
	}
	free, total, err := b.d.Memory()
	if err != nil {
		return classify(err)
	}
	if err := Admit(b.dev.Name, free, total, b.opt.WeightBytes, b.sh, b.lim); err != nil {
		return err
	}
	b.dependent = b.dev.Major >= 9
	if b.stream, err = b.d.NewStream(); err != nil {
		return classify(err)
	}
	if err := b.loadKernels(); err != nil {
		return err
	}
	b.rope = ropeFor(&b.sh)
	return b.takeScratch()
}

// ropeFor are the constants of both rotations, rounded as the reference rounds them.
func ropeFor(s *backend.Shape) ropeArgs {
	r := ropeArgs{invFactor: float32(1 / s.YarnFactor), pairs: int32(s.RopeDim / 2)}
	for i, base := range []float64{s.RopeBase, s.CompressBase} {
		r.step[i] = float32(math.Pow(float64(float32(base)), float64(float32(-2)/float32(s.RopeDim))))
	}
	dim := func(beta float64) float64 {
		return float64(s.RopeDim) * math.Log(s.YarnContext/(beta*2*math.Pi)) / (2 * math.Log(s.CompressBase))
	}
	r.low = float32(max(0, math.Floor(dim(s.YarnFast))))
	r.high = float32(min(float64(s.RopeDim-1), math.Ceil(dim(s.YarnSlow))))
	return r
}

// enter makes the context current on this thread and keeps the goroutine there until leave.
func (b *Backend) enter() {
	runtime.LockOSThread()
	if err := b.d.Use(); err != nil {
		b.fail(err)
	}
}

func (b *Backend) leave() { runtime.UnlockOSThread() }

// fail keeps the first failure of a step.
func (b *Backend) fail(err error) {
	if b.err != nil {
		return
	}
	op := b.op
	op.Err = classify(err)
	b.err = &op
}

// classify wraps a driver's error in the seam's sentinels, and names the package.
func classify(err error) error {
	var e *driver.Error
	if errors.As(err, &e) {
		return fmt.Errorf("cuda: %w", lacking(err))
	}
	return err
}

// lacking wraps a driver's error in the seam's sentinels.
func lacking(err error) error {
	var e *driver.Error
	switch {
	case !errors.As(err, &e):
	case e.OutOfMemory():
		return fmt.Errorf("%w: %w", err, backend.ErrMemory)
	case e.Lost():
		return fmt.Errorf("%w: %w", err, backend.ErrDeviceLost)
	}
	return err
}

// Alloc takes device memory. Pages are committed as sequences come to use them.
func (b *Backend) Alloc(name string, rows int, parts ...backend.Part) (backend.Buf, error) {
	u := buffer{name: name, rows: rows}
	for _, p := range parts {
		u.parts = append(u.parts, u.row)
		u.row += p.Bytes()
	}
	if rows < 0 || u.row > 0 && int64(rows) > math.MaxInt64/u.row {
		return backend.Buf{}, fmt.Errorf("cuda: %s: %d rows of %d bytes: %w", name, rows, u.row, backend.ErrMemory)
	}
	b.enter()
	defer b.leave()
	n := max(u.row*int64(rows), 256)
	var err error
	if name == pagesName && n > lazyBytes {
		if u.lazy, err = b.d.Reserve(n); err == nil {
			u.base = u.lazy.Base
		}
	} else {
		u.base, err = b.d.Alloc(n)
	}
	if err != nil {
		return backend.Buf{}, fmt.Errorf("cuda: %s: %d rows of %d bytes: %w", name, rows, u.row, lacking(err))
	}
	b.bufs = append(b.bufs, u)
	return backend.Buf{ID: int32(len(b.bufs)), Rows: int32(rows), RowBytes: u.row}, nil
}

// Names of buffers that the engine gives, and the size from which the pages are committed lazily.
const (
	pagesName = "pages"
	tableName = "table"
	lazyBytes = 256 << 20
)

// Memory lists every use; of lazily committed buffers, what is committed.
func (b *Backend) Memory() backend.Memory {
	b.enter()
	defer b.leave()
	m := backend.Memory{}
	m.FreeBytes, m.TotalBytes, _ = b.d.Memory()
	m.Uses = append(m.Uses, backend.Use{Name: "weights", Bytes: b.arena.bytes})
	for i := range b.bufs {
		u := &b.bufs[i]
		n := u.row * int64(u.rows)
		if u.lazy != nil {
			n = u.lazy.Committed
		}
		m.Uses = append(m.Uses, backend.Use{Name: u.name, Bytes: n})
	}
	m.Uses = append(m.Uses, backend.Use{Name: "scratch", Bytes: b.scr.bytes})
	if b.load != nil {
		m.Uses = append(m.Uses, backend.Use{Name: "loader", Bytes: b.load.bytes()})
	}
	return m
}

// Close waits for what is queued and gives everything back.
func (b *Backend) Close() error {
	b.enter()
	defer b.leave()
	var errs []error
	keep := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	b.reads.wait()
	if b.load != nil {
		keep(b.load.close(b))
	}
	if b.stream != 0 {
		keep(b.d.Sync(b.stream))
	}
	keep(b.reads.close(b.d))
	b.prof.close(b.d)
	for i := range b.tape.graphs {
		keep(b.tape.graphs[i].free(b.d))
	}
	for i := range b.bufs {
		if u := &b.bufs[i]; u.lazy != nil {
			keep(b.d.Release(u.lazy))
		} else {
			keep(b.d.Free(u.base))
		}
	}
	keep(b.arena.free(b.d))
	keep(b.scr.free(b.d))
	if b.block != nil {
		keep(b.d.FreePinned(b.block))
	}
	if b.module != 0 {
		keep(b.d.Unload(b.module))
	}
	if b.stream != 0 {
		keep(b.d.FreeStream(b.stream))
	}
	keep(b.d.Close())
	b.bufs, b.weights, b.shared, b.tape, b.scr, b.block, b.load, b.stream, b.module = nil, nil, nil, tape{}, scratch{}, nil, nil, 0, 0
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cuda: close: %w", err)
	}
	return nil
}

// Device names the card.
func (b *Backend) Device() driver.Device { return b.dev }
