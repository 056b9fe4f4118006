package cuda

import (
	"slices"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// Experts: see backend.ExpertsArgs.
func (b *Backend) Experts(a backend.ExpertsArgs) {
	do(b, opExperts, a.Layer, func(c *calls) *[]backend.ExpertsArgs { return &c.experts }, a, (*Backend).experts)
}

// expertKernel is the kernel of a type: down or gate and up, for few pairs or many.
func expertKernel(t gguf.Type, down, many bool) kernel {
	i := slices.Index(expertTypes[:], t)
	return kExperts + kernel(4*i+2*int(flag(down))+int(flag(many)))
}

// ints8 are the int8 activations that weights of a type are multiplied with.
func ints8(t gguf.Type, f formsArgs) (q, d addr) {
	if t == gguf.TypeMXFP4 || t == gguf.TypeQ8_0 {
		return f.q8, f.q8d
	}
	return f.q8k, f.q8kd
}

// experts waits, with few rows: the shared expert that usually follows does its work as well.
func (b *Backend) experts(a backend.ExpertsArgs) {
	if b.ffnWaits(&a) {
		b.due.experts = a
		return
	}
	b.expertsAlone(a)
}

func (b *Backend) expertsAlone(a backend.ExpertsArgs) {
	s, sh, rows := &b.scr, &b.sh, b.bound.rows
	d, f, k := sh.Embd, sh.ExpertDim, sh.ActiveExps
	many := rows > fewTokens
	tile := planTokens
	if many {
		tile = manyTokens
	}
	x := b.formsX(a.X, countRows)
	if many || b.made.plan != a.IDs.ID {
		launch(b, kExpertsPlan, 1, 1, 1, 1024, 0, b.plan(a.IDs, tile))
	}
	h := s.gated
	if a.H.ID != 0 {
		h = b.base(a.H)
	}
	p := expertsArgs{step: s.step, w: b.vector(a.Gate), w2: b.vector(a.Up), weights: b.base(a.Weights), out: h, list: s.list, items: s.items,
		counts: s.counts, table: s.table, m: int32(f), k: int32(d), share: int32(k), clamp: sh.Clamp}
	p.q, p.d = ints8(a.Gate.Type, x)
	items := min(sh.Experts, rows*k) + rows*k/tile
	b.launchExperts(expertKernel(a.Gate.Type, false, many), p, a.Gate.Type, many, items)

	forms := s.gatedForms
	if q, _ := ints8(a.Down.Type, forms); q == forms.q8 {
		forms.q8k, forms.q8kd = 0, 0
	} else {
		forms.q8, forms.q8d = 0, 0
	}
	b.quantize(forms, h, f, countRows, k)
	p.w, p.w2, p.out, p.m, p.k, p.share = b.vector(a.Down), 0, s.products, int32(d), int32(f), 1
	p.q, p.d = ints8(a.Down.Type, forms)
	b.launchExperts(expertKernel(a.Down.Type, true, many), p, a.Down.Type, many, items)
	b.due.sum = a.Y // the shared expert's last product adds them up, where it follows
}

// launchSum adds up the products that nobody else did.
func (b *Backend) launchSum() {
	y := b.due.sum
	if y.ID == 0 {
		return
	}
	b.due.sum = backend.Buf{}
	d := b.sh.Embd
	launch(b, kExpertsSum, (d+1023)/1024, b.bound.rows, 1, 256, 0, sumArgs{step: b.scr.step, products: b.scr.products, y: b.base(y), d: int32(d),
		active: int32(b.sh.ActiveExps)})
}

// planTokens are the pairs of an item where there are few.
const planTokens = 8

func (b *Backend) plan(ids backend.Buf, tile int) planArgs {
	s := &b.scr
	return planArgs{step: s.step, ids: b.base(ids), list: s.list, items: s.items, counts: s.counts, experts: int32(b.sh.Experts),
		active: int32(b.sh.ActiveExps), tile: int32(tile)}
}

// launchExperts runs items by row tiles: few pairs on blocks that stay, many on a block each. A block takes two row tiles of
// gate and up, or four of down; with many pairs 64 rows of gate and up, or 128 of down.
func (b *Backend) launchExperts(k kernel, p expertsArgs, t gguf.Type, many bool, items int) {
	m, runs, gated := int(p.m), int(p.k)/256, p.w2 != 0
	switch {
	case many && gated:
		launch(b, k, (m+63)/64, items, 1, 256, 2*(sharedTile+8*int(tileBytes(t))), p)
	case many:
		launch(b, k, (m+manyRows-1)/manyRows, items, 1, 256, 2*(sharedTile+8*int(tileBytes(t))), p)
	case gated:
		launch(b, k, min(b.dev.SMs, items*m/32), 1, 1, 512, 4*runs*512, p)
	default:
		launch(b, k, min(b.dev.SMs, items*m/64), 1, 1, 512, 4*runs*512, p)
	}
}
