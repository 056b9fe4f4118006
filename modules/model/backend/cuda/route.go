package cuda

import "github.com/ds4-go/ds4/modules/model/backend"

// Route: see backend.RouteArgs. Expert ids of hash tables were checked when the file was loaded.
func (b *Backend) Route(a backend.RouteArgs) {
	do(b, opRoute, a.Layer, func(c *calls) *[]backend.RouteArgs { return &c.route }, a, (*Backend).route)
}

func (b *Backend) route(a backend.RouteArgs) {
	b.matmul(product{w: [4]backend.Weight{a.Gate}, out: [4]addr{b.scr.routeLogits}, f: b.formsX(a.X, countRows), x: b.base(a.X)})
	r := routeArgs{step: b.scr.step, logits: b.scr.routeLogits, bias: b.vector(a.Bias), table: b.vector(a.Table),
		ids: b.base(a.IDs), weights: b.base(a.Weights), experts: int32(b.sh.Experts), active: int32(b.sh.ActiveExps), scale: b.sh.ExpertScale}
	if n := b.bound.rows; n <= rowTokens && n*b.sh.ActiveExps <= 256 && b.sh.Experts <= 256 && b.sh.ActiveExps <= 32 {
		launch(b, kRouteFew, 1, 1, 1, 256, 0, routePlanArgs{r, b.plan(a.IDs, planTokens)})
		b.made.plan = a.IDs.ID
	} else {
		launch(b, kRoute, b.bound.rows, 1, 1, 128, 0, r)
	}
}
