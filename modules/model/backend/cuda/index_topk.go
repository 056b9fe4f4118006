package cuda

import "github.com/ds4-go/ds4/modules/model/backend"

// IndexTopK: see backend.IndexTopKArgs.
func (b *Backend) IndexTopK(a backend.IndexTopKArgs) {
	do(b, opIndexTopK, a.Layer, func(c *calls) *[]backend.IndexTopKArgs { return &c.indexTopK }, a, (*Backend).indexTopK)
}

// indexTokens are the tokens of a block of index_scores_many.
const indexTokens = 12

func (b *Backend) indexTopK(a backend.IndexTopKArgs) {
	s, sh, rows := &b.scr, &b.sh, b.bound.rows
	done, sel := b.launchFront(&a), b.selectArgs(&a)
	if !b.indexed(b.step) {
		if !done {
			launch(b, kIndexSelect, rows, 1, 1, 1024, 0, sel)
		}
		return
	}
	if b.made.latent != a.QLat.ID {
		b.quantize(s.latent, b.base(a.QLat), sh.QRank, countRows, 1)
		b.made.latent = a.QLat.ID
	}
	b.matmul(product{w: [4]backend.Weight{a.QB}, out: [4]addr{s.indexQ}, f: s.latent, x: b.base(a.QLat)})
	b.matmul(product{w: [4]backend.Weight{a.Proj}, out: [4]addr{s.indexWeights}, f: b.formsX(a.X, countRows), x: b.base(a.X)})
	launch(b, kIndexQueries, rows, (sh.IndexHeads+7)/8, 1, 256, 0, indexQueryArgs{step: s.step, q: s.indexQ, rope: s.ropes, codes: s.indexCodes,
		scale: s.indexScale, heads: int32(sh.IndexHeads), ropeDim: int32(sh.RopeDim), topk: int32(sh.TopK), ratio: int32(sh.Ratio[a.Layer])})
	score := indexScoreArgs{step: s.step, codes: s.indexCodes, scale: s.indexScale, weights: s.indexWeights, scores: s.scores,
		st: b.state(a.State, a.Layer), heads: int32(sh.IndexHeads), topk: int32(sh.TopK), stride: int32(s.scoreStride),
		weightScale: rsqrt(sh.IndexHeads * backend.IndexDim)}
	for first := 0; first < rows; first += s.scoreRows {
		n := min(s.scoreRows, rows-first)
		score.first, score.rows, sel.first, sel.rows = int32(first), int32(n), int32(first), int32(n)
		if rows > fewTokens { // a batch of fewer is of many sequences, which share no cached rows
			groups := (n + indexTokens - 1) / indexTokens
			launch(b, kIndexScoresMany, min((s.scoreStride+95)/96, max(1, 4*b.dev.SMs/groups)), groups, 1, 32*indexTokens, 0, score)
		} else {
			launch(b, kIndexScores, min((s.scoreStride+63)/64, max(4, 4*b.dev.SMs/n)), n, 1, 256, 0, score)
		}
		launch(b, kIndexSelect, n, 1, 1, 1024, 0, sel)
	}
}

func (b *Backend) selectArgs(a *backend.IndexTopKArgs) indexSelectArgs {
	return indexSelectArgs{step: b.scr.step, scores: b.scr.scores, sel: b.base(a.Sel), topk: int32(b.sh.TopK), rows: int32(b.bound.rows),
		stride: int32(b.scr.scoreStride), ratio: int32(b.sh.Ratio[a.Layer])}
}
