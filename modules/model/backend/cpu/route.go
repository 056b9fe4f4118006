package cpu

import (
	"fmt"
	"math"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// minWeightSum bounds the sum that routing weights are divided by.
const minWeightSum = 1.0 / (1 << 14)

// Route: see backend.RouteArgs. Scores are sqrt(softplus(logit)); the bias takes part in the choice alone.
func (b *Backend) Route(a backend.RouteArgs) {
	if b.skip("route", a.Layer) {
		return
	}
	n, e := len(b.step.Rows), b.sh.Experts
	p := grow(&b.tmp[0], n*e)
	b.matmul(p, e, b.weight(a.Gate), 0, e, b.x.set(b.all(a.X, n), n, b.sh.Embd))
	bad := make([]error, n)
	b.pool.each(n, func(i int) {
		row, ids := p[i*e:(i+1)*e], b.i32(a.IDs, i)
		for j, v := range row {
			row[j] = sqrt(softplus(v))
		}
		if a.Table.ID != 0 {
			copy(ids, view[int32](b.weight(a.Table).data)[int(b.step.Rows[i].Token)*b.sh.ActiveExps:])
		} else {
			var bias []float32
			if a.Bias.ID != 0 {
				bias = b.weight(a.Bias).vec()
			}
			choose(ids, row, bias)
		}
		bad[i] = b.routeWeights(b.f32(a.Weights, i), ids, row)
	})
	for _, err := range bad {
		if err != nil {
			b.fail("route", a.Layer, err)
			return
		}
	}
}

// choose picks the len(ids) greatest of p+bias, descending, ties to the lower index.
func choose(ids []int32, p, bias []float32) {
	taken := make([]bool, len(p))
	for k := range ids {
		at, top := -1, float32(math.Inf(-1))
		for j, v := range p {
			if bias != nil {
				v += bias[j]
			}
			if !taken[j] && (at < 0 || v > top) {
				at, top = j, v
			}
		}
		taken[at] = true
		ids[k] = int32(at)
	}
}

func (b *Backend) routeWeights(w []float32, ids []int32, p []float32) error {
	sum := float32(0)
	for k, id := range ids {
		if id < 0 || int(id) >= b.sh.Experts {
			return fmt.Errorf("expert id: want 0 to %d, got %d", b.sh.Experts-1, id)
		}
		w[k] = p[id]
		sum += w[k]
	}
	sum = max(sum, minWeightSum)
	for k := range w {
		w[k] = float32(w[k]/sum) * b.sh.ExpertScale
	}
	return nil
}
