package model

import "github.com/ds4-go/ds4/modules/model/backend"

// activations are the buffers that operations hand each other. Probes find them by name.
type activations struct {
	given                    backend.Buf // rows that replace embeddings
	hc, x, mix               backend.Buf
	qlat, q, kv, sel, o, y   backend.Buf
	ids, weights             backend.Buf
	outX, logits, masks, top backend.Buf
	draft                    backend.Buf // the draft head's streams
}

// forward is the model: every step of the base tape makes exactly these calls (model.md 3.9).
func (e *Engine) forward() {
	b, w, a := e.b, e.w, &e.act
	b.Embed(backend.EmbedArgs{Table: w.TokenEmbd, Given: a.given, HC: a.hc})
	for il := range w.Layers {
		e.layer(int32(il), &w.Layers[il], e.shape.Ratio[il], a.hc)
	}
	b.HCHead(backend.HCHeadArgs{Fn: w.OutputHCFn, Scale: w.OutputHCScale, Base: w.OutputHCBase, Norm: w.OutputNorm, HC: a.hc, X: a.outX})
	b.Logits(backend.LogitsArgs{Output: w.Output, X: a.outX, Logits: a.logits})
	b.Top(backend.TopArgs{Logits: a.logits, Masks: a.masks, Top: a.top})
}

// draft is the draft head: a layer of ratio 0 between a joint of its own and the base model's vocabulary. It starts from the
// streams of the last base step, or goes on from its own (model.md 3.12).
func (e *Engine) draft(t backend.Tape) {
	b, w, a := e.b, e.w.Draft, &e.act
	prev := a.hc
	if t == backend.DraftNext {
		prev = a.draft
	}
	b.DraftJoin(backend.DraftJoinArgs{Table: e.w.TokenEmbd, ENorm: w.ENorm, HNorm: w.HNorm, EProj: w.EProj, HProj: w.HProj, Prev: prev, HC: a.draft})
	e.layer(int32(e.shape.Layers), &w.Layer, 0, a.draft)
	b.HCHead(backend.HCHeadArgs{Fn: w.HCHeadFn, Scale: w.HCHeadScale, Base: w.HCHeadBase, Norm: w.Norm, HC: a.draft, X: a.outX})
	b.Logits(backend.LogitsArgs{Output: e.w.Output, X: a.outX, Logits: a.logits})
	b.Top(backend.TopArgs{Logits: a.logits, Masks: a.masks, Top: a.top})
}

// layer is one block: attention, then mixture of experts, each between hc_pre and hc_post.
func (e *Engine) layer(il int32, w *Layer, ratio int, hc backend.Buf) {
	b, a, st := e.b, &e.act, e.state
	b.HCPre(backend.HCPreArgs{Layer: il, Fn: w.HCAttnFn, Scale: w.HCAttnScale, Base: w.HCAttnBase, Norm: w.AttnNorm, HC: hc, X: a.x, Mix: a.mix})
	b.AttnQKV(backend.AttnQKVArgs{Layer: il, QA: w.AttnQA, QANorm: w.AttnQANorm, QB: w.AttnQB, KVW: w.AttnKV, KVNorm: w.AttnKVANorm,
		X: a.x, QLat: a.qlat, Q: a.q, KV: a.kv, State: st})
	if ratio != 0 {
		b.Compress(backend.CompressArgs{Layer: il, Attn: w.AttnCompressor, Index: w.IndexerCompressor, X: a.x, State: st})
	}
	if ratio == 4 {
		b.IndexTopK(backend.IndexTopKArgs{Layer: il, QB: w.IndexerAttnQB, Proj: w.IndexerProj, QLat: a.qlat, X: a.x, Sel: a.sel, State: st})
	}
	b.Attend(backend.AttendArgs{Layer: il, Sinks: w.AttnSinks, Q: a.q, KV: a.kv, Sel: a.sel, O: a.o, State: st})
	b.AttnOut(backend.AttnOutArgs{Layer: il, A: w.AttnOutputA, B: w.AttnOutputB, O: a.o, Y: a.y})
	b.HCPost(backend.HCPostArgs{Layer: il, Steer: w.SteerAttn, SteerScale: e.opt.SteerAttn, HC: hc, Mix: a.mix, Y: a.y})

	b.HCPre(backend.HCPreArgs{Layer: il, Fn: w.HCFFNFn, Scale: w.HCFFNScale, Base: w.HCFFNBase, Norm: w.FFNNorm, HC: hc, X: a.x, Mix: a.mix})
	b.Route(backend.RouteArgs{Layer: il, Gate: w.FFNGateInp, Bias: w.ExpProbsB, Table: w.FFNGateTid2Eid, X: a.x, IDs: a.ids, Weights: a.weights})
	b.Experts(backend.ExpertsArgs{Layer: il, Gate: w.FFNGateExps, Up: w.FFNUpExps, Down: w.FFNDownExps, X: a.x, IDs: a.ids, Weights: a.weights, Y: a.y})
	b.SharedExpert(backend.SharedExpertArgs{Layer: il, Gate: w.FFNGateShexp, Up: w.FFNUpShexp, Down: w.FFNDownShexp, X: a.x, Y: a.y})
	b.HCPost(backend.HCPostArgs{Layer: il, Steer: w.SteerFFN, SteerScale: e.opt.SteerFFN, HC: hc, Mix: a.mix, Y: a.y})
}
