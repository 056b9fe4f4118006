package metal

import (
	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// IndexTopK: see backend.IndexTopKArgs.
func (b *Backend) IndexTopK(a backend.IndexTopKArgs) {
	if !b.begin("index_topk", a.Layer) {
		return
	}
	s, sh, rows := &b.scr, &b.sh, len(b.step.Rows)
	st, _, pages, table := b.state(a.State, a.Layer)
	p := kernels.Index{Heads: int32(sh.IndexHeads), TopK: int32(sh.TopK), Rope: int32(sh.RopeDim), Kind: 1, Rows: int32(rows), Stride: int32(s.scoreStride),
		Padded: int32(sh.IndexHeads+7) &^ 7, WeightScale: rsqrt(sh.IndexHeads * backend.IndexDim), St: st}
	b.barrier()
	if !b.indexed(b.step) {
		launch(b, kIndexSelect, line(rows), line(256), &p, b.stepRef(), s.scores, b.whole(a.Sel))
		return
	}
	b.product(product{m: []output{{w: a.QB, to: s.indexQ}}, x: b.whole(a.QLat)})
	b.product(product{m: []output{{w: a.Proj, to: s.indexW}}, x: b.whole(a.X)})
	b.barrier()
	launch(b, kIndexQueries, size(int(p.Padded)/8, rows, 1), line(256), &p, b.stepRef(), s.indexQ, s.indexCodes, s.indexScale)
	visible := 0
	for i := range b.step.Spans {
		visible = max(visible, int(b.step.Spans[i].Pos+b.step.Spans[i].Rows)/sh.Ratio[a.Layer])
	}
	for first := 0; first < rows; first += s.scoreRows {
		n := min(s.scoreRows, rows-first)
		p.First, p.Rows = int32(first), int32(n)
		b.barrier()
		launch(b, kIndexScores, size(ceil(visible, 32), n, 1), line(128), &p, b.stepRef(), s.indexCodes, s.indexScale, s.indexW, pages, table, s.scores)
		b.barrier()
		launch(b, kIndexSelect, line(n), line(256), &p, b.stepRef(), s.scores, b.whole(a.Sel))
	}
}
