package metal

import (
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// IndexTopK: see backend.IndexTopKArgs.
func (b *Backend) IndexTopK(a backend.IndexTopKArgs) {
	if !b.begin("index_topk", a.Layer) {
		return
	}
	if b.late.has == lateQKV|lateCompress && b.late.qkv.X.ID == a.X.ID && b.late.qkv.QLat.ID == a.QLat.ID && a.QB.Type != gguf.TypeQ8_0 {
		b.late.index, b.late.has = a, b.late.has|lateIndex
		return
	}
	b.settle("")
	b.indexTopK(a)
}

func (b *Backend) indexTopK(a backend.IndexTopKArgs) {
	s, rows := &b.scr, len(b.step.Rows)
	p, pages, table := b.indexArgs(a)
	b.barrier()
	if b.indexed(b.step) {
		b.product(product{m: []output{{w: a.QB, to: s.indexQ}}, x: b.whole(a.QLat)})
		b.product(product{m: []output{{w: a.Proj, to: s.indexW}}, x: b.whole(a.X)})
		b.barrier()
		launch(b, kIndexQueries, size(int(p.Padded)/8, rows, 1), line(256), &p, b.stepRef(), s.indexQ, s.indexCodes, s.indexScale)
	}
	b.indexSelect(a, p, pages, table)
}

func (b *Backend) indexArgs(a backend.IndexTopKArgs) (p kernels.Index, pages, table ref) {
	s, sh := &b.scr, &b.sh
	st, _, pages, table := b.state(a.State, a.Layer)
	return kernels.Index{Heads: int32(sh.IndexHeads), TopK: int32(sh.TopK), Rope: int32(sh.RopeDim), Kind: 1, Rows: int32(len(b.step.Rows)), Stride: int32(s.scoreStride),
		Padded: int32(sh.IndexHeads+7) &^ 7, WeightScale: rsqrt(sh.IndexHeads * backend.IndexDim), St: st}, pages, table
}

// indexSelect launches scores and selection, once the queries are there.
func (b *Backend) indexSelect(a backend.IndexTopKArgs, p kernels.Index, pages, table ref) {
	s, sh, rows := &b.scr, &b.sh, len(b.step.Rows)
	if !b.indexed(b.step) {
		launch(b, kIndexSelect, line(rows), line(256), &p, b.stepRef(), s.scores, b.whole(a.Sel))
		return
	}
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
