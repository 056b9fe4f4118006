package cuda

import (
	"slices"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// The feed-forward half of up to eight rows in two launches (kernels/ffn.cu): Experts waits for SharedExpert, and what both
// have left, the products with the down matrices, waits for HCPost and the HCPre after it. Whoever else comes gets the
// launches of the single operations, with the same bits.

// Steps whose sums the kernels keep, and what HCPost needs in them: kernels/ffn.cu, kernels/hc.cuh.
const (
	upBatch    = 8
	downBatch  = 4
	tailBytes  = 4*24*64 + 8*4*128 + 8*96
	ffnStage   = 16 * 4352
	tableBytes = 32 << 10
)

// ffnKernel is the kernel of a type: for one row or few.
func ffnKernel(t gguf.Type, down, few bool) kernel {
	return kFFN + kernel(4*slices.Index(expertTypes[:], t)+2*int(flag(down))+int(flag(few)))
}

// ffnSteps are the steps of the shared expert's two jobs, of k inputs.
func ffnSteps(k int) int { return (2 + 4096/k - 1) / (4096 / k) }

// ffnUpRoom and ffnDownRoom are a block's dynamic shared memory.
func (b *Backend) ffnUpRoom(few bool) int {
	s := ffnSteps(b.sh.Embd)
	if few {
		return s * (ffnStage + 16*512)
	}
	return s*(ffnStage+16*64) + 2*upBatch*16*64
}

func (b *Backend) ffnDownRoom(t gguf.Type, few bool) int {
	f, k, s, depth := b.sh.ExpertDim, b.sh.ActiveExps, ffnSteps(b.sh.ExpertDim), 4
	if tileBytes(t) > 2000 {
		depth = 3
	}
	if few {
		return s*(ffnStage+16*512) + (depth-1)*16*int(tileBytes(t)) + tailBytes + downBatch*16*512 + 128*rowTokens*(k+1)
	}
	return s*(ffnStage+16*64) + depth*16*int(tileBytes(t)) + tailBytes + 2*downBatch*16*64 + 128*(k+1) + (k+1)*(f+f/8)
}

// ffnFits says whether the kernels can do the shape on this card.
func (b *Backend) ffnFits(t gguf.Type, down bool) bool {
	runs := func(n int) bool { return n%256 == 0 && n <= 4096 && 4096%n == 0 }
	room := max(b.ffnUpRoom(false), b.ffnUpRoom(true))
	if down {
		room = max(b.ffnDownRoom(t, false), b.ffnDownRoom(t, true))
	}
	if t == gguf.TypeIQ2_XXS {
		room += tableBytes
	}
	return runs(b.sh.Embd) && runs(b.sh.ExpertDim) && room+1024 <= b.dev.SharedBytes
}

// ffnWaits says whether Experts may wait for SharedExpert.
func (b *Backend) ffnWaits(a *backend.ExpertsArgs) bool {
	return b.bound.rows <= rowTokens && a.H.ID == 0 && b.made.plan == a.IDs.ID && a.Gate.Type == a.Up.Type && b.joins("ffn") &&
		b.ffnFits(a.Gate.Type, false) && b.ffnFits(a.Down.Type, true)
}

// launchWaitingExperts runs experts that wait, alone.
func (b *Backend) launchWaitingExperts() {
	a := b.due.experts
	if a.Y.ID != 0 {
		b.due.experts = backend.ExpertsArgs{}
		b.expertsAlone(a)
	}
}

// ffnUp is the first launch; the second one waits.
func (b *Backend) ffnUp(a backend.ExpertsArgs, sa backend.SharedExpertArgs) {
	s, sh, rows := &b.scr, &b.sh, b.bound.rows
	x := b.formsX(a.X, countRows)
	p := ffnUpArgs{step: s.step, gate: b.vector(a.Gate), up: b.vector(a.Up), sharedGate: b.vector(sa.Gate), sharedUp: b.vector(sa.Up), q8: x.q8, q8d: x.q8d,
		weights: b.base(a.Weights), h: s.gated, list: s.list, items: s.items, counts: s.counts, table: s.table, m: int32(sh.ExpertDim), k: int32(sh.Embd),
		active: int32(sh.ActiveExps), clamp: sh.Clamp}
	p.q, p.d = ints8(a.Gate.Type, x)
	few := rows > 1
	launch(b, ffnKernel(a.Gate.Type, false, few), sh.ExpertDim/16, 1, 1, 512, b.ffnUpRoom(few), p)
	if few {
		b.quantize(s.gatedForms, s.gated, sh.ExpertDim, countRows, sh.ActiveExps+1)
	}
	b.due.down = ffnDown{a, sa}
}

// ffnDown is what the second launch does.
type ffnDown struct {
	experts backend.ExpertsArgs
	shared  backend.SharedExpertArgs
}

// launchDown runs the second launch, with HCPost and the next HCPre's mix in it where tail says so.
func (b *Backend) launchDown(tail hcTail) {
	w := b.due.down
	if w.shared.Y.ID == 0 {
		return
	}
	b.due.down = ffnDown{}
	s, sh, few := &b.scr, &b.sh, b.bound.rows > 1
	t := w.experts.Down.Type
	launch(b, ffnKernel(t, true, few), sh.Embd/32, 1, 1, 512, b.ffnDownRoom(t, few), ffnDownArgs{step: s.step, w: b.vector(w.experts.Down), shared: b.vector(w.shared.Down),
		h: s.gated, f: s.gatedForms, y: b.base(w.shared.Y), list: s.list, items: s.items, counts: s.counts, table: s.table, tail: tail,
		k: int32(sh.ExpertDim), active: int32(sh.ActiveExps), d: int32(sh.Embd)})
}

// joins says whether a joined launch is wanted.
func (b *Backend) joins(name string) bool { return slices.Contains(b.opt.Join, name) }
