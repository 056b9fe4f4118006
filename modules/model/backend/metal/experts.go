package metal

import (
	"fmt"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// formOf is the form of activations that an expert type is multiplied with.
func formOf(t gguf.Type) int32 {
	if t == gguf.TypeMXFP4 {
		return kernels.FormQ8
	}
	return kernels.FormQ8K
}

// of are the codes, scales and sums that a type wants; sums stand for themselves where there are none.
func (f *forms) of(t gguf.Type) (q, d, s ref) {
	if formOf(t) == kernels.FormQ8 {
		return f.q8, f.q8d, f.q8
	}
	return f.q8k, f.q8kd, f.q8ks
}

// Experts: see backend.ExpertsArgs.
func (b *Backend) Experts(a backend.ExpertsArgs) {
	if !b.begin("experts", a.Layer) {
		return
	}
	if r := &b.late.route; b.late.has == lateRoute && r.X.ID == a.X.ID && r.IDs.ID == a.IDs.ID && r.Weights.ID == a.Weights.ID && b.joinsDown(a) {
		b.late.experts, b.late.has = a, lateRoute|lateExperts
		return
	}
	b.settle("")
	b.experts(a)
}

func (b *Backend) experts(a backend.ExpertsArgs) {
	if a.Gate.Type != a.Up.Type {
		b.fail(fmt.Errorf("gate and up: want one type, got %v and %v", a.Gate.Type, a.Up.Type))
		return
	}
	s, sh, n := &b.scr, &b.sh, len(b.step.Rows)
	x := b.formsX(a.X)
	h := b.gated(a)
	many := n > fewRows
	if many {
		p := kernels.Experts{Active: int32(sh.ActiveExps), Experts: int32(sh.Experts)}
		launch(b, kExpertsPlan, line(1), line(1024), &p, b.stepRef(), b.whole(a.IDs), s.list, s.items, s.total)
		b.barrier()
	}
	b.gateUp(a, x, h, many)
	b.barrier()
	b.quantize(h, sh.ExpertDim, s.gatedForms, formOf(a.Down.Type), kernels.CountRows, sh.ActiveExps)
	b.barrier()
	b.down(a, many)
}

// gated is where the products between go.
func (b *Backend) gated(a backend.ExpertsArgs) ref {
	if a.H.ID != 0 {
		return b.whole(a.H)
	}
	return b.scr.gated
}

// expertItems is the most tiles of pairs that a step has.
func (b *Backend) expertItems() int {
	pairs := len(b.step.Rows) * b.sh.ActiveExps
	return min(b.sh.Experts, pairs) + pairs/kernels.TileTokens
}

func (b *Backend) gateUp(a backend.ExpertsArgs, x forms, h ref, many bool) {
	s, sh, n := &b.scr, &b.sh, len(b.step.Rows)
	p := kernels.Experts{Rows: int32(sh.ExpertDim), Cols: int32(sh.Embd), Active: int32(sh.ActiveExps), Type: int32(a.Gate.Type), Share: int32(sh.ActiveExps),
		Weighted: 1, Limit: sh.Clamp, Experts: int32(sh.Experts)}
	q, d, sums := x.of(a.Gate.Type)
	base := kExpertsGateUp
	if many {
		base = kExpertsGateUpTiles
	}
	k, err := base.of(a.Gate.Type)
	if err != nil {
		b.fail(err)
		return
	}
	if many {
		launch(b, k, size(ceil(sh.ExpertDim, kernels.TileRows), b.expertItems(), 1), line(128), &p, q, d, sums, b.vector(a.Gate), b.vector(a.Up), b.whole(a.Weights),
			s.list, s.items, s.total, h, ref{b.table, 0})
		return
	}
	perGroup := simdsOfRows * 32 / kernels.LanesOf(sh.Embd)
	launch(b, k, size(ceil(sh.ExpertDim, perGroup), n*sh.ActiveExps, 1), line(32*simdsOfRows), &p, b.stepRef(), q, d, sums, b.vector(a.Gate), b.vector(a.Up),
		b.whole(a.IDs), b.whole(a.Weights), h, ref{b.table, 0})
}

func (b *Backend) down(a backend.ExpertsArgs, many bool) {
	s, sh, n := &b.scr, &b.sh, len(b.step.Rows)
	p := kernels.Experts{Rows: int32(sh.Embd), Cols: int32(sh.ExpertDim), Active: int32(sh.ActiveExps), Type: int32(a.Down.Type), Share: 1, Experts: int32(sh.Experts)}
	q, d, sums := s.gatedForms.of(a.Down.Type)
	base := kExpertsDown
	if many {
		base = kExpertsDownTiles
	}
	k, err := base.of(a.Down.Type)
	if err != nil {
		b.fail(err)
		return
	}
	if many {
		launch(b, k, size(ceil(sh.Embd, kernels.TileRows), b.expertItems(), 1), line(128), &p, q, d, sums, b.vector(a.Down), s.list, s.items, s.total, s.products, ref{b.table, 0})
		b.barrier()
		launch(b, kExpertsSum, size(ceil(sh.Embd, 256), n, 1), line(256), &p, b.stepRef(), s.products, b.whole(a.Y))
		return
	}
	perGroup := simdsOfRows * 32 / kernels.LanesOf(sh.ExpertDim)
	launch(b, k, size(ceil(sh.Embd, perGroup), n, 1), line(32*simdsOfRows), &p, b.stepRef(), q, d, sums, b.vector(a.Down), b.whole(a.IDs), b.whole(a.Y), ref{b.table, 0})
}
