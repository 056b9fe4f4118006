package cuda

import "github.com/ds4-go/ds4/modules/model/backend"

// AttnQKV: see backend.AttnQKVArgs.
func (b *Backend) AttnQKV(a backend.AttnQKVArgs) {
	do(b, opAttnQKV, a.Layer, func(c *calls) *[]backend.AttnQKVArgs { return &c.attnQKV }, a, (*Backend).attnQKV)
}

func (b *Backend) attnQKV(a backend.AttnQKVArgs) {
	s, sh, rows := &b.scr, &b.sh, b.bound.rows
	st := b.state(a.State, a.Layer)
	kvRaw := s.qkvRaw + addr(4*rows*sh.QRank)
	b.matmul(product{w: [4]backend.Weight{a.QA, a.KVW}, out: [4]addr{s.qkvRaw, kvRaw}, f: b.formsX(a.X, countRows), x: b.base(a.X)})
	launch(b, kLatents, rows, 2, 1, 256, 0, latentKVArgs{
		q: latentArgs{step: s.step, raw: s.qkvRaw, norm: b.vector(a.QANorm), out: b.base(a.QLat), f: s.latent, n: int32(sh.QRank), eps: sh.RMSEps},
		kv: kvArgs{slots: st.slots, slotStride: st.slotStride, ring: st.ring, step: s.step, raw: kvRaw, norm: b.vector(a.KVNorm), rope: s.ropes, kv: b.base(a.KV), d: int32(sh.HeadDim), ropeDim: int32(sh.RopeDim),
			rowBytes: int32(sh.KVRowBytes()), kind: b.ropeKind(a.Layer), eps: sh.RMSEps},
	})
	b.made.latent = a.QLat.ID
	b.keepRing(st, 0, sh.RawRing(), sh.KVRowBytes())
	b.matmul(product{w: [4]backend.Weight{a.QB}, out: [4]addr{b.base(a.Q)}, f: s.latent, x: b.base(a.QLat)})
	b.due.heads, b.due.layer, b.due.taken = a.Q, a.Layer, false // Attend norms and rotates them as it reads
}

// launchHeads norms and rotates queries in place, where they are looked at.
func (b *Backend) launchHeads() {
	q := b.due.heads
	if q.ID == 0 {
		return
	}
	b.due.heads = backend.Buf{}
	sh := &b.sh
	launch(b, kQHeads, b.bound.rows, (sh.Heads+7)/8, 1, 256, 0, qHeadsArgs{step: b.scr.step, q: b.base(q), rope: b.scr.ropes, heads: int32(sh.Heads),
		d: int32(sh.HeadDim), ropeDim: int32(sh.RopeDim), kind: b.ropeKind(b.due.layer), eps: sh.RMSEps})
}

// keepRing copies the old rows of a ring, which starts at base in the layer's part of a slot, where spans move.
func (b *Backend) keepRing(s stateArgs, base, ring, rowBytes int) {
	if moved(b.step) {
		launch(b, kKeepRing, ring, b.bound.spans, 1, 128, 0, keepArgs{step: b.scr.step, slots: s.slots, slotStride: s.slotStride,
			base: int32(base), ring: int32(ring), rowBytes: int32(rowBytes)})
	}
}
