package metal

import (
	"fmt"

	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Route: see backend.RouteArgs.
func (b *Backend) Route(a backend.RouteArgs) {
	if !b.begin("route", a.Layer) {
		return
	}
	if b.joins() {
		b.late.route, b.late.has = a, lateRoute
		return
	}
	b.route(a)
}

func (b *Backend) route(a backend.RouteArgs) {
	b.barrier()
	b.product(product{m: []output{{w: a.Gate, to: b.scr.routeLogits}}, x: b.whole(a.X)})
	b.routeLogits(a)
}

// routeLogits chooses, once the logits are there.
func (b *Backend) routeLogits(a backend.RouteArgs) {
	b.barrier()
	p := kernels.Route{Experts: int32(b.sh.Experts), Active: int32(b.sh.ActiveExps), Hash: flag(a.Table.ID != 0), Bias: flag(a.Bias.ID != 0), Scale: b.sh.ExpertScale}
	launch(b, kRoute, line(len(b.step.Rows)), line(256), &p, b.stepRef(), b.scr.routeLogits, b.vector(a.Bias), b.vector(a.Table), b.whole(a.IDs), b.whole(a.Weights), ref{b.bad, 0})
}

// badExpert is the failure of a table that names an expert which there is not.
func (b *Backend) badExpert() error {
	p := b.bad.Bytes()
	if p[4] == 0 {
		return nil
	}
	id := int32(uint32(p[0]) | uint32(p[1])<<8 | uint32(p[2])<<16 | uint32(p[3])<<24)
	return fmt.Errorf("expert id: want 0 to %d, got %d", b.sh.Experts-1, id)
}
