package metal

import (
	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// AttnQKV: see backend.AttnQKVArgs.
func (b *Backend) AttnQKV(a backend.AttnQKVArgs) {
	if !b.begin("attn_qkv", a.Layer) {
		return
	}
	if b.joins() && b.sh.QRank <= kernels.MaxRank && b.allQ8(a.QA, a.QB, a.KVW) && b.pipe[kLatentRows].MaxThreads >= b.latentThreads() {
		b.late.qkv, b.late.has = a, b.late.has|lateQKV
		return
	}
	b.attnQKV(a)
}

func (b *Backend) attnQKV(a backend.AttnQKVArgs) {
	s, sh, n := &b.scr, &b.sh, len(b.step.Rows)
	f, width := b.formsX(a.X), sh.QRank+sh.HeadDim
	b.product(product{m: []output{{w: a.QA, to: s.qkv, stride: width}, {w: a.KVW, to: ref{s.qkv.buf, 4 * sh.QRank}, stride: width}}, f: f, x: b.whole(a.X)})

	st, slots, _, _ := b.state(a.State, a.Layer)
	p := kernels.Latent{Rank: int32(sh.QRank), Head: int32(sh.HeadDim), Rope: int32(sh.RopeDim), Kind: b.ropeKind(a.Layer), Eps: sh.RMSEps, St: st}
	b.barrier()
	launch(b, kLatentKV, size(2, n, 1), line(256), &p, b.stepRef(), s.qkv, b.vector(a.QANorm), b.vector(a.KVNorm), b.whole(a.QLat),
		s.latent.q8, s.latent.q8d, b.whole(a.KV), slots)
	b.made.latent = a.QLat.ID

	b.barrier()
	b.product(product{m: []output{{w: a.QB, to: b.whole(a.Q)}}, f: s.latent, x: b.whole(a.QLat)})
	b.keepRing(a.State, a.Layer, 0, sh.RawRing(), sh.KVRowBytes(), b.whole(a.KV))
	b.barrier()
	h := kernels.Heads{Heads: int32(sh.Heads), Head: int32(sh.HeadDim), Rope: int32(sh.RopeDim), Kind: b.ropeKind(a.Layer), Eps: sh.RMSEps}
	launch(b, kQHeads, size(ceil(sh.Heads, 8), n, 1), line(256), &h, b.stepRef(), b.whole(a.Q))
}

// keepRing fills the rings of spans that move to a spare slot.
func (b *Backend) keepRing(st backend.State, layer int32, base, ring, rowBytes int, fresh ref) {
	if !moved(b.step) {
		return
	}
	p := kernels.Keep{SlotStride: uint64(st.Slots.RowBytes), Base: int32(base), Ring: int32(ring), RowBytes: int32(rowBytes)}
	launch(b, kKeepRing, size(ring, len(b.step.Spans), 1), line(128), &p, b.stepRef(), fresh, b.part(st.Slots, layer))
}
