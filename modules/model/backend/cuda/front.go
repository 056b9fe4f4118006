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

// launchFront launches what waits, and says whether it did an IndexTopK: it does where all rows are selected.
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
	p := frontRestArgs{latent: b.latentArgs(&a)}
	if c.X.ID != 0 {
		p.emit, p.emits = b.emitArgs(&c)
	}
	if idx != nil && !b.indexed(b.step) {
		p.selects, p.sel = 1, b.selectArgs(idx)
	}
	launch(b, kFrontRest, b.bound.rows, int(2+p.emits+p.selects), 1, 256, 0, p)
	b.made.latent = a.QLat.ID
	b.keepRing(b.state(a.State, a.Layer), 0, b.sh.RawRing(), b.sh.KVRowBytes())
	if c.X.ID != 0 {
		b.keepCompressed(&c)
	}
	b.queries(&a)
	return p.selects != 0
}

// share gives the blocks of a launch to two products, as equally by bytes as whole tiles allow: tiles of a block of each.
func share(blocks int, tiles, most [2]int, bytes [2]int64) (n [2]int) {
	n = most
	best := int64(0)
	for n8 := 1; n8 <= min(most[0], tiles[0]); n8++ {
		left := blocks - (tiles[0]+n8-1)/n8
		if left < 1 {
			continue
		}
		nf := (tiles[1] + left - 1) / left
		if cost := max(int64(n8)*bytes[0], int64(nf)*bytes[1]); nf <= most[1] && (best == 0 || cost < best) {
			best, n = cost, [2]int{n8, nf}
		}
	}
	return n
}

// pair launches a Q8_0 product and an F16 product side by side.
func (b *Backend) pair(q, f product) {
	var a frontArgs
	var tiles [2]int
	a.q8, tiles[0] = b.gather(&q, 0, nil)
	a.f16, tiles[1] = b.gather(&f, 0, nil)
	runs8, runsF, staged := (int(a.q8.k)+255)/256, (int(a.f16.k)+255)/256, stagedBytes(int(a.q8.k), b.bound.rows)
	each8, eachF := runs8*512+512, runsF*512
	n := share(b.dev.SMs, tiles, [2]int{(b.fewRoom() - staged) / each8, b.fewRoom() / eachF}, [2]int64{int64(runs8) * 4352, int64(runsF) * 8192})
	a.q8.tiles, a.f16.tiles = int32(n[0]), int32(n[1])
	split := (tiles[0] + n[0] - 1) / n[0]
	a.split = int32(split)
	launch(b, kFront, split+(tiles[1]+n[1]-1)/n[1], 1, 1, 512, max(n[0]*each8+staged, n[1]*eachF), a)
}
