package cuda

import "github.com/ds4-go/ds4/modules/model/backend"

// AttnQKV: see backend.AttnQKVArgs.
func (b *Backend) AttnQKV(a backend.AttnQKVArgs) {
	do(b, opAttnQKV, a.Layer, func(c *calls) *[]backend.AttnQKVArgs { return &c.attnQKV }, a, (*Backend).attnQKV)
}

func (b *Backend) attnQKV(a backend.AttnQKVArgs) {
	if b.qkvWaits(&a) {
		b.due.qkv = a
		return
	}
	b.matmul(b.latentProduct(&a))
	b.latents(&a)
	b.queries(&a)
}

// latentProduct makes the query latent and the KV row.
func (b *Backend) latentProduct(a *backend.AttnQKVArgs) product {
	return product{w: [4]backend.Weight{a.QA, a.KVW}, out: [4]addr{b.scr.qkvRaw, b.kvRaw()}, f: b.formsX(a.X, countRows), x: b.base(a.X)}
}

func (b *Backend) kvRaw() addr { return b.scr.qkvRaw + addr(4*b.bound.rows*b.sh.QRank) }

func (b *Backend) latentArgs(a *backend.AttnQKVArgs) latentKVArgs {
	s, sh, st := &b.scr, &b.sh, b.state(a.State, a.Layer)
	return latentKVArgs{
		q: latentArgs{step: s.step, raw: s.qkvRaw, norm: b.vector(a.QANorm), out: b.base(a.QLat), f: s.latent, n: int32(sh.QRank), eps: sh.RMSEps},
		kv: kvArgs{slots: st.slots, slotStride: st.slotStride, ring: st.ring, step: s.step, raw: b.kvRaw(), norm: b.vector(a.KVNorm), rope: s.ropes, kv: b.base(a.KV), d: int32(sh.HeadDim), ropeDim: int32(sh.RopeDim),
			rowBytes: int32(sh.KVRowBytes()), kind: b.ropeKind(a.Layer), eps: sh.RMSEps},
	}
}

// latents norms the query latent, and brings the KV row to the cache.
func (b *Backend) latents(a *backend.AttnQKVArgs) {
	launch(b, kLatents, b.bound.rows, 2, 1, 256, 0, b.latentArgs(a))
	b.made.latent = a.QLat.ID
	b.keepRing(b.state(a.State, a.Layer), 0, b.sh.RawRing(), b.sh.KVRowBytes())
}

func (b *Backend) queries(a *backend.AttnQKVArgs) {
	b.matmul(product{w: [4]backend.Weight{a.QB}, out: [4]addr{b.base(a.Q)}, f: b.scr.latent, x: b.base(a.QLat)})
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
