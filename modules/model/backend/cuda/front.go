package cuda

import (
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// The first half of attention with few rows (kernels/front.cu): AttnQKV waits for Compress, and both for IndexTopK or whatever
// else comes.

// qkvWaits says whether AttnQKV may wait.
func (b *Backend) qkvWaits(a *backend.AttnQKVArgs) bool {
	q8 := a.QA.Type == gguf.TypeQ8_0 && a.KVW.Type == gguf.TypeQ8_0 && a.QB.Type == gguf.TypeQ8_0 && a.QA.Cols == a.KVW.Cols
	return b.bound.rows <= rowTokens && q8 && b.joins("front")
}

// compressWaits says whether Compress may wait with it.
func (b *Backend) compressWaits(a *backend.CompressArgs) bool {
	q := &b.due.qkv
	if q.X.ID == 0 || q.X != a.X || q.Layer != a.Layer || b.due.comp.X.ID != 0 {
		return false
	}
	for _, w := range []backend.Weight{a.Attn.KV, a.Attn.Gate, a.Index.KV, a.Index.Gate} {
		if w.ID != 0 && (w.Type != gguf.TypeF16 || w.Cols != q.QA.Cols) {
			return false
		}
	}
	return true
}

// launchFront launches what waits, and says whether it made an IndexTopK's queries, or all of it where all rows are selected.
func (b *Backend) launchFront(idx *backend.IndexTopKArgs) bool {
	a, c := b.due.qkv, b.due.comp
	if a.X.ID == 0 {
		return false
	}
	b.due.qkv, b.due.comp = backend.AttnQKVArgs{}, backend.CompressArgs{}
	q := b.latentProduct(&a)
	if c.X.ID == 0 {
		b.matmul(q)
	} else {
		b.pair(q, b.compressProduct(&c))
	}
	if b.bound.rows > 1 {
		b.latents(&a)
		if c.X.ID != 0 {
			b.emit(&c)
		}
		b.queries(&a)
		return false
	}
	return b.queriesOfOne(&a, &c, idx)
}

// share gives the blocks of a launch to two products, as equally by bytes as whole tiles allow: tiles of a block of each.
func share(blocks int, tiles, most [2]int, bytes [2]int64) (n [2]int) {
	n = most
	best := int64(0)
	for n8 := 1; n8 <= min(most[0], tiles[0]); n8++ {
		left := blocks - (tiles[0]+n8-1)/n8
		nf := 1
		if tiles[1] > 0 {
			if left < 1 {
				continue
			}
			nf = (tiles[1] + left - 1) / left
		}
		if left < 0 || nf > most[1] {
			continue
		}
		cost := int64(n8) * bytes[0]
		if tiles[1] > 0 {
			cost = max(cost, int64(nf)*bytes[1])
		}
		if best == 0 || cost < best {
			best, n = cost, [2]int{n8, nf}
		}
	}
	return n
}

// halves finds the blocks of a Q8_0 and an F16 product of one launch and its shared memory; extra is what a block of the
// second keeps besides sums.
func (b *Backend) halves(q8, f16 *matmulArgs, tiles [2]int, blocks, extra int) (split, all, shared int) {
	r8, rf, staged := (int(q8.k)+255)/256, (int(f16.k)+255)/256, stagedBytes(int(q8.k), b.bound.rows)
	e8, ef := r8*512+512, max(rf*512, 1)
	room := b.fewRoom() - qbStatic
	n := share(blocks, tiles, [2]int{(room - staged) / e8, (room - extra) / ef}, [2]int64{int64(r8) * 4352, int64(rf) * 8192})
	q8.tiles, f16.tiles = int32(n[0]), int32(n[1])
	split = (tiles[0] + n[0] - 1) / n[0]
	shared = n[0]*e8 + staged
	if tiles[1] > 0 {
		shared = max(shared, n[1]*ef+extra)
	}
	return split, split + (tiles[1]+n[1]-1)/n[1], shared
}

// pair launches a Q8_0 product and an F16 product side by side.
func (b *Backend) pair(q, f product) {
	var a frontArgs
	var tiles [2]int
	a.q8, tiles[0] = b.gather(&q, 0, nil)
	a.f16, tiles[1] = b.gather(&f, 0, nil)
	split, all, shared := b.halves(&a.q8, &a.f16, tiles, b.dev.SMs, 0)
	a.split = int32(split)
	launch(b, kFront, all, 1, 1, 512, shared, a)
}

// qbStatic is more than what the other work of q_b_one takes of static shared memory.
const qbStatic = 40 << 10

// qbSides is the number of blocks of a single row's other work.
const qbSides = 4

// queriesOfOne is what follows the latent of a single row, in one launch.
func (b *Backend) queriesOfOne(a *backend.AttnQKVArgs, c *backend.CompressArgs, idx *backend.IndexTopKArgs) bool {
	s, sh := &b.scr, &b.sh
	st := b.state(a.State, a.Layer)
	p := qbArgs{latent: b.latentArgs(a), sides: qbSides}
	if c.X.ID != 0 {
		p.emit, p.emits = b.emitArgs(c)
	}
	done := idx != nil && idx.QLat == a.QLat
	qb, iq := product{w: [4]backend.Weight{a.QB}, out: [4]addr{b.base(a.Q)}, f: s.latent}, product{}
	if indexed := b.indexed(b.step); done && !indexed {
		p.selects = 1
		p.sel = b.selectArgs(idx)
	} else if done = done && idx.QB.Type == gguf.TypeF16 && idx.QB.Cols == a.QB.Cols; done {
		iq = product{w: [4]backend.Weight{idx.QB}, out: [4]addr{s.indexQ}, f: s.latent}
	}
	var tiles [2]int
	p.q8, tiles[0] = b.gather(&qb, 0, nil)
	if iq.w[0].ID != 0 {
		p.f16, tiles[1] = b.gather(&iq, 0, nil)
	}
	split, all, shared := b.halves(&p.q8, &p.f16, tiles, b.dev.SMs-qbSides, 4*sh.QRank)
	p.split = int32(split)
	launch(b, kQBOne, qbSides+all, 1, 1, 512, shared, p)
	b.made.latent = a.QLat.ID
	b.keepRing(st, 0, sh.RawRing(), sh.KVRowBytes())
	if c.X.ID != 0 {
		b.keepCompressed(c)
	}
	b.due.heads, b.due.layer, b.due.taken = a.Q, a.Layer, false
	return done
}
