package cuda

import "github.com/ds4-go/ds4/modules/model/backend/cuda/driver"

// Arguments of the kernels, field by field as in kernels/*.cu; args_test.go compares the sizes.

type addr = driver.Ptr

type stateArgs struct {
	slots, pages, table                                                                      addr
	slotStride, pageStride                                                                   uint64
	tableStride, ratio, ring, compRing, compRow, pageRows, kvRow, kvExp, indexAt, indexExpAt int32
}

type formsArgs struct{ q8, q8d, q8k, q8kd, hi, lo addr }

type ropeArgs struct {
	step                 [2]float32
	low, high, invFactor float32
	pairs                int32
}

type quantizeArgs struct {
	step, x             addr
	f                   formsArgs
	cols, which, perRow int32
}

type matmulArgs struct {
	step                              addr
	w, out, ape                       [4]addr
	m, stride                         [4]int32
	q, d, hi, lo                      addr
	k, cols, group                    int32
	which, perRow, add, apeF32, ratio int32
	tiles, finish                     int32
	q8, q8d, products                 addr
	q8Cols, active                    int32
	clamp                             float32
	_                                 int32
}

type matmulPostArgs struct {
	m    matmulArgs
	tail hcTail
}

type frontArgs struct {
	q8, f16  matmulArgs
	split, _ int32
}

type frontRestArgs struct {
	latent         latentKVArgs
	emit           emitArgs
	sel            indexSelectArgs
	emits, selects int32
}

type repackArgs struct {
	src, dst           addr
	typ, rows, k, runs int32
}

type ropeTableArgs struct {
	step, out addr
	rope      ropeArgs
}

type embedArgs struct {
	step, table, given, hc addr
	d, f32                 int32
}

type hcMixArgs struct {
	step, fn, hc, part, y, mix addr
	n, d, which, f32           int32
}

type hcPreArgs struct {
	step, part, scale, base, norm, hc, x, mix addr
	f                                         formsArgs
	mark                                      addr
	d, rounds, which, head                    int32
	eps, hcEps                                float32
	at, _                                     int32
}

type hcPostArgs struct {
	step, mix, steer, hc, y, tap addr
	d                            int32
	steerScale                   float32
}

type latentArgs struct {
	step, raw, norm, out addr
	f                    formsArgs
	n                    int32
	eps                  float32
}

type kvArgs struct {
	step, raw, norm, rope, kv, slots addr
	slotStride                       uint64
	d, ropeDim, rowBytes, kind       int32
	eps                              float32
	ring                             int32
}

type latentKVArgs struct {
	q  latentArgs
	kv kvArgs
}

type qHeadsArgs struct {
	step, q, rope           addr
	heads, d, ropeDim, kind int32
	eps                     float32
	_                       int32
}

type keepArgs struct {
	step, slots             addr
	slotStride              uint64
	base, ring, rowBytes, _ int32
}

type emitArgs struct {
	step, in, norm, indexNorm           addr
	st                                  stateArgs
	rope                                ropeArgs
	d, ropeDim, width, indexWidth, base int32
	eps                                 float32
}

type indexQueryArgs struct {
	step, q, rope, codes, scale addr
	heads, ropeDim, topk, ratio int32
}

type indexScoreArgs struct {
	step, codes, scale, weights, scores addr
	st                                  stateArgs
	heads, topk, first, rows, stride    int32
	weightScale                         float32
}

type indexSelectArgs struct {
	step, scores, sel                   addr
	topk, first, rows, stride, ratio, _ int32
}

type attendArgs struct {
	step, q, kv, sel, sinks, rope, part, partML, o    addr
	f                                                 formsArgs
	st                                                stateArgs
	heads, d, ropeDim, window, topk, kind, tiles, raw int32
	scale, eps                                        float32
}

type routeArgs struct {
	step, logits, bias, table, ids, weights addr
	experts, active                         int32
	scale                                   float32
	_                                       int32
}

type planArgs struct {
	step, ids, list, items, counts addr
	experts, active, tile, _       int32
}

type routePlanArgs struct {
	r routeArgs
	p planArgs
}

type expertsArgs struct {
	step, w, w2, q, d, weights, out, list, items, counts, table addr
	m, k, share                                                 int32
	clamp                                                       float32
}

type hcTail struct {
	fn, hc, part, mix addr
	n, d              int32
}

type ffnUpArgs struct {
	step, gate, up, sharedGate, sharedUp, q, d, q8, q8d, weights, h, list, items, counts, table addr
	m, k, active                                                                                int32
	clamp                                                                                       float32
}

type ffnDownArgs struct {
	step, w, shared, h            addr
	f                             formsArgs
	y, list, items, counts, table addr
	tail                          hcTail
	k, active, d, _               int32
}

type sumArgs struct {
	step, products, y addr
	d, active         int32
}

type swigluArgs struct {
	step, gate, up addr
	f              formsArgs
	n              int32
	clamp          float32
}

type draftArgs struct {
	step, table, prev, enorm, hnorm, ep, hp, hc addr
	e, h                                        formsArgs
	d, f32                                      int32
	eps                                         float32
	_                                           int32
}

type topArgs struct {
	step, logits, masks, parts, top addr
	vocab, maskWords                int32
}
