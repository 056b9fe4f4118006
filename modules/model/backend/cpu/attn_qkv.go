package cpu

import (
	"github.com/ds4-go/ds4/modules/model/backend"
)

// AttnQKV: see backend.AttnQKVArgs.
func (b *Backend) AttnQKV(a backend.AttnQKVArgs) {
	if b.skip("attn_qkv", a.Layer) {
		return
	}
	n, sh := len(b.step.Rows), &b.sh
	kind, eps := b.ropeKind(a.Layer), sh.RMSEps
	x := b.x.set(b.all(a.X, n), n, sh.Embd)

	qlat := b.all(a.QLat, n)
	b.matmul(qlat, sh.QRank, b.weight(a.QA), 0, sh.QRank, x)
	norm := b.weight(a.QANorm).vec()
	b.pool.each(n, func(i int) {
		l := qlat[i*sh.QRank : (i+1)*sh.QRank]
		rmsNorm(l, l, norm, eps)
	})
	q, width := b.all(a.Q, n), sh.Heads*sh.HeadDim
	b.matmul(q, width, b.weight(a.QB), 0, width, b.qlat.set(qlat, n, sh.QRank))
	b.pool.each(n*sh.Heads, func(i int) {
		head := q[i*sh.HeadDim : (i+1)*sh.HeadDim]
		rmsNorm(head, head, nil, eps)
		rotate(head, b.rowRotation(kind, i/sh.Heads), false)
	})

	kv := grow(&b.tmp[0], n*sh.HeadDim)
	b.matmul(kv, sh.HeadDim, b.weight(a.KVW), 0, sh.HeadDim, x)
	norm = b.weight(a.KVNorm).vec()
	b.pool.each(n, func(i int) {
		k := kv[i*sh.HeadDim : (i+1)*sh.HeadDim]
		rmsNorm(k, k, norm, eps)
		rotate(k, b.rowRotation(kind, i), false)
		packKV(b.row(a.KV, i), k, sh.RopeDim)
	})
	b.keepRing(a.State, a.Layer, 0, sh.RawRing(), sh.KVRowBytes(), func(row int) []byte { return b.row(a.KV, row) })
}

// keepRing stores the step's rows in a ring of each span's record: in place the new positions, into a spare slot all
// positions that the ring holds, the old ones copied. base is where the ring starts in the layer's part.
func (b *Backend) keepRing(st backend.State, layer int32, base, ring, rowBytes int, fresh func(row int) []byte) {
	b.pool.each(len(b.step.Spans), func(i int) {
		sp := b.step.Spans[i]
		from, to := int(sp.Pos), int(sp.Pos+sp.Rows)
		if sp.Into != sp.Slot {
			from = 0
		}
		old := b.part(st.Slots, int(sp.Slot), int(layer))[base:]
		dst := b.part(st.Slots, int(sp.Into), int(layer))[base:]
		for p := max(from, to-ring); p < to; p++ {
			src := old[p%ring*rowBytes:][:rowBytes]
			if p >= int(sp.Pos) {
				src = fresh(int(sp.Row) + p - int(sp.Pos))
			}
			copy(dst[p%ring*rowBytes:][:rowBytes], src)
		}
	})
}
