package metal

import (
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// late holds operations of a short step that were called and wait for those that usually follow, to be launched together
// (kernels/joined.metal). Whoever looks in between, or calls in another order, gets them launched as they are, with the same bits.
type late struct {
	has     int
	qkv     backend.AttnQKVArgs
	comp    backend.CompressArgs
	index   backend.IndexTopKArgs
	route   backend.RouteArgs
	experts backend.ExpertsArgs
	shared  backend.SharedExpertArgs
	out     backend.AttnOutArgs
}

// What waits: the start of attention until Attend; the choice of experts until SharedExpert; the last product of a sublayer until
// the HCPre after its HCPost.
const (
	lateQKV = 1 << iota
	lateCompress
	lateIndex
	lateRoute
	lateExperts
	lateOut  // B of AttnOut
	lateDown // of Experts and SharedExpert
)

// y is the output of the last product that waits.
func (l *late) y() backend.Buf {
	if l.has == lateOut {
		return l.out.Y
	}
	return l.shared.Y
}

// follows says what may go on waiting when an operation is called.
func follows(op string) int {
	switch op {
	case "compress", "index_topk", "attend":
		return lateQKV | lateCompress | lateIndex
	case "experts", "shared_expert":
		return lateRoute | lateExperts
	case "hc_post", "hc_pre":
		return lateOut | lateDown
	}
	return 0
}

// joins says whether the step is one whose operations wait.
func (b *Backend) joins() bool {
	return len(b.step.Rows) <= fewRows && !b.opt.Serial && !moved(b.step)
}

// joinsPost says whether the last product of a sublayer can wait for HCPre.
func (b *Backend) joinsPost() bool {
	return b.joins() && b.sh.Embd%kernels.Slice == 0 && b.pipe[kAttnOutPost].MaxThreads >= postThreads
}

// joinsDown says whether the joined kernel holds what these experts need.
func (b *Backend) joinsDown(a backend.ExpertsArgs) bool {
	k, err := kExpertsDownPost.of(a.Down.Type)
	f := b.sh.ExpertDim
	return err == nil && b.joinsPost() && a.Gate.Type == a.Up.Type && f%256 == 0 && f <= kernels.MaxShared && f*b.sh.ActiveExps <= kernels.MaxGated &&
		b.pipe[k].MaxThreads >= postThreads
}

func (b *Backend) allQ8(w ...backend.Weight) bool {
	for _, u := range w {
		if u.Type != gguf.TypeQ8_0 {
			return false
		}
	}
	return true
}

// settle launches what waits and does not belong to op, each as it is.
func (b *Backend) settle(op string) {
	was := b.op
	if op != "hc_pre" && b.late.has&(lateOut|lateDown) != 0 && b.post.HC.ID != 0 {
		b.launchTail(backend.Weight{}, 0)
	}
	l := b.late
	if l.has&^follows(op) != 0 {
		b.late = late{}
		for _, u := range []struct {
			bit   int
			op    string
			layer int32
			run   func()
		}{
			{lateQKV, "attn_qkv", l.qkv.Layer, func() { b.attnQKV(l.qkv) }},
			{lateCompress, "compress", l.comp.Layer, func() { b.compress(l.comp) }},
			{lateIndex, "index_topk", l.index.Layer, func() { b.indexTopK(l.index) }},
			{lateRoute, "route", l.route.Layer, func() { b.route(l.route) }},
			{lateExperts, "experts", l.experts.Layer, func() { b.experts(l.experts) }},
			{lateOut, "attn_out", l.out.Layer, func() { b.outB(l.out) }},
			{lateDown, "experts", l.shared.Layer, func() { b.launchDown(nil, backend.Weight{}, 0) }},
		} {
			if l.has&u.bit != 0 && b.err == nil {
				b.op = backend.OpError{Op: u.op, Layer: int(u.layer)}
				b.late.experts, b.late.shared = l.experts, l.shared // launchDown's
				u.run()
			}
		}
	}
	if op != "hc_pre" {
		b.launchPost()
	}
	b.op = was
}

const postThreads = 512 // of kernels that end in HCPost

// latentThreads is the size of a threadgroup of latent_rows: what compress wants, and no less than the norm's.
func (b *Backend) latentThreads() int {
	return max(256, ceil(b.sh.HeadDim, 32)*32)
}

// launchAttention launches the start of attention, if it waits.
func (b *Backend) launchAttention() {
	l := b.late
	if l.has&lateQKV == 0 || b.err != nil {
		return
	}
	b.late = late{}
	s, sh, n, a := &b.scr, &b.sh, len(b.step.Rows), l.qkv
	f, width := b.formsX(a.X), sh.QRank+sh.HeadDim
	indexed := l.has&lateIndex != 0 && b.indexed(b.step)

	m := []output{{w: a.QA, to: s.qkv, stride: width}, {w: a.KVW, to: ref{s.qkv.buf, 4 * sh.QRank}, stride: width}}
	ratio := 0
	if l.has&lateCompress != 0 {
		m, ratio = append(m, b.compressed(l.comp)...), sh.Ratio[a.Layer]
	}
	if indexed {
		m = append(m, output{w: l.index.Proj, to: s.indexW})
	}
	b.product(product{m: m, f: f, x: b.whole(a.X), ratio: ratio})

	st, slots, pages, table := b.state(a.State, a.Layer)
	p := kernels.LatentRows{L: kernels.Latent{Rank: int32(sh.QRank), Head: int32(sh.HeadDim), Rope: int32(sh.RopeDim), Kind: b.ropeKind(a.Layer), Eps: sh.RMSEps, St: st},
		Jobs: 1, Rows: a.QB.Rows}
	if l.has&lateCompress != 0 {
		p.C, _, _, _ = b.compressArgs(l.comp)
		p.Compress, p.Jobs = 1, 2
	}
	groups := int(p.Jobs) + ceil(int(a.QB.Rows), kernels.LatentPiece)
	if indexed {
		p.IndexRows, p.IndexType = l.index.QB.Rows, int32(l.index.QB.Type)
		groups += ceil(int(l.index.QB.Rows), kernels.LatentPiece)
	}
	b.barrier()
	launch(b, kLatentRows, size(groups, n, 1), line(b.latentThreads()), &p, b.stepRef(), s.qkv, b.vector(a.QANorm), b.vector(a.KVNorm), b.whole(a.QLat), b.whole(a.KV),
		slots, pages, table, s.compIn, b.vector(l.comp.Attn.Norm), b.vector(l.comp.Index.Norm), b.vector(a.QB), b.vector(l.index.QB), b.whole(a.Q), s.indexQ)
	b.made.written(a.QLat.ID)

	b.barrier()
	h := kernels.Query{Q: kernels.Heads{Heads: int32(sh.Heads), Head: int32(sh.HeadDim), Rope: int32(sh.RopeDim), Kind: b.ropeKind(a.Layer), Eps: sh.RMSEps},
		Groups: int32(ceil(sh.Heads, 8))}
	groups = int(h.Groups)
	if l.has&lateIndex != 0 {
		h.I, pages, table = b.indexArgs(l.index)
	}
	if indexed {
		groups += int(h.I.Padded) / 8
	}
	launch(b, kQueryHeads, size(groups, n, 1), line(256), &h, b.stepRef(), b.whole(a.Q), s.indexQ, s.indexCodes, s.indexScale)
	if l.has&lateIndex != 0 {
		b.indexSelect(l.index, h.I, pages, table)
	}
}

// launchFFN launches the choice of experts, gate and up of them and of the shared expert. Down waits.
func (b *Backend) launchFFN(a backend.SharedExpertArgs) {
	l, s := b.late, &b.scr
	b.late = late{}
	x := b.formsX(a.X)
	b.product(product{m: []output{{w: l.route.Gate, to: s.routeLogits}, {w: a.Gate, to: s.shGate}, {w: a.Up, to: s.shUp}}, f: x, x: b.whole(a.X)})
	b.routeLogits(l.route)
	b.barrier()
	b.gateUp(l.experts, x, b.gated(l.experts), false)
	b.late = late{has: lateDown, experts: l.experts, shared: a}
}

// launchTail launches the last product of a sublayer, the HCPost that waits, and the projection of the HCPre that is called.
func (b *Backend) launchTail(fn backend.Weight, values int) {
	post := b.post
	b.post = backend.HCPostArgs{}
	if b.late.has == lateDown {
		b.launchDown(&post, fn, values)
		return
	}
	a, s := b.late.out, &b.scr
	b.late = late{}
	p := kernels.Out{H: b.hcArgs(&post, fn, values), Cols: a.B.Cols}
	b.barrier()
	launch(b, kAttnOutPost, size(b.sh.Embd/kernels.Slice, len(b.step.Rows), 1), line(postThreads), &p, b.stepRef(), s.lowForms.q8, s.lowForms.q8d, b.vector(a.B), b.whole(a.Y),
		b.whole(post.HC), b.vector(fn), s.hcPart, b.whole(post.Mix), b.whole(post.Tap))
}

// launchDown launches down of the chosen experts and of the shared one, and the HCPost and the projection after it if post is not nil.
func (b *Backend) launchDown(post *backend.HCPostArgs, fn backend.Weight, values int) {
	e, a, s, sh := b.late.experts, b.late.shared, &b.scr, &b.sh
	b.late = late{}
	k, err := kExpertsDownPost.of(e.Down.Type)
	if err != nil {
		b.fail(err)
		return
	}
	p := kernels.Down{E: kernels.Experts{Rows: int32(sh.Embd), Cols: int32(sh.ExpertDim), Active: int32(sh.ActiveExps), Type: int32(e.Down.Type), Share: 1,
		Limit: sh.Clamp, Experts: int32(sh.Experts)}, H: b.hcArgs(post, fn, values)}
	hc, mix, tap := b.stepRef(), b.stepRef(), b.stepRef()
	if post != nil {
		hc, mix, tap = b.whole(post.HC), b.whole(post.Mix), b.whole(post.Tap)
	}
	b.barrier()
	launch(b, k, size(sh.Embd/kernels.Slice, len(b.step.Rows), 1), line(postThreads), &p, b.stepRef(), b.gated(e), s.shGate, s.shUp, b.vector(e.Down), b.vector(a.Down),
		b.whole(e.IDs), b.whole(e.Y), hc, b.vector(fn), s.hcPart, mix, tap, ref{b.table, 0})
}

// hcArgs are the arguments of HCPost and the projection; no post: neither.
func (b *Backend) hcArgs(post *backend.HCPostArgs, fn backend.Weight, values int) kernels.HC {
	p := kernels.HC{Width: int32(b.sh.Embd), Values: int32(values), F32: flag(fn.Type == gguf.TypeF32)}
	if post == nil {
		p.Post = -1
		return p
	}
	p.Post, p.Tap = 1, flag(post.Tap.ID != 0)
	return p
}
