package metal

import (
	"fmt"

	"github.com/ds4-go/ds4/modules/metal"
	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// forms are the int8 forms of activations: kernels/forms.metal. What an operation does not want stays zero.
type forms struct{ q8, q8d, q8k, q8kd, q8ks ref }

// scratch is what operations need between their kernels. Everything is taken once.
type scratch struct {
	all   []*metal.Buffer
	bytes int64
	sink  byte

	hcPart               ref
	x, latent, o         forms // of the buffers of these names
	head                 forms // of the rows that logits read
	qkv                  ref   // (rows, rank + head)
	compIn               ref   // (rows, comp row)
	indexQ, indexCodes   ref
	indexScale, indexW   ref
	scores               ref
	attendPart, attendML ref
	low                  ref // (rows, groups × rank)
	lowForms             forms
	routeLogits          ref
	list, items, total   ref
	gated                ref // (rows × active, expert width)
	gatedForms           forms
	products             ref // (rows × active, embd)
	shGate, shUp         ref
	shForms              forms
	topParts, topKeys    ref
	draftE               ref
	draftEForms          forms
	draftHForms          forms

	scoreRows, scoreStride, tiles int
}

type scratchUse struct {
	name  string
	bytes int64
	dst   *ref
}

// Row counts up to which the kernels of few rows serve.
const (
	fewRows   = 4 // products: more rows are tiles
	fewAttend = 8 // attention: a threadgroup a tile, not a row
)

// plan lists what takeScratch takes.
func (s *scratch) plan(sh *backend.Shape, l *backend.Limits) []scratchUse {
	rows, d, f, k := int64(l.Rows), int64(sh.Embd), int64(sh.ExpertDim), int64(sh.ActiveExps)
	heads, hd, rq, low := int64(sh.Heads), int64(sh.HeadDim), int64(sh.QRank), int64(sh.Groups*sh.OutRank)
	comp, outs := int64(0), int64(l.Outs)
	s.tiles = (sh.Window + sh.TopK + kernels.AttendTile - 1) / kernels.AttendTile
	for il := range sh.Layers {
		comp = max(comp, int64(sh.CompRowFloats(il)))
		if r := sh.Ratio[il]; r != 0 && !sh.Indexed(il) {
			s.tiles = max(s.tiles, (sh.Window+l.CtxTokens/r+kernels.AttendTile-1)/kernels.AttendTile)
		}
	}
	visible := int64(l.CtxTokens/4 + 1)
	s.scoreStride = int(visible)
	s.scoreRows = int(min(rows, max(8, (64<<20)/(4*visible)/8*8)))
	few := min(rows, fewAttend)
	padded := int64(sh.IndexHeads+7) &^ 7
	var u []scratchUse
	add := func(name string, n int64, dst *ref) { u = append(u, scratchUse{name, n, dst}) }
	form := func(f *forms, n int64, kind int32) {
		if kind&kernels.FormQ8 != 0 {
			add("forms", 2*n, &f.q8)
			add("forms", n/32*4, &f.q8d)
		}
		if kind&kernels.FormQ8K != 0 {
			add("forms", 2*n, &f.q8k)
			add("forms", n/256*4, &f.q8kd)
			add("forms", n/16*2, &f.q8ks)
		}
	}
	const q8, both = kernels.FormQ8, kernels.FormQ8 | kernels.FormQ8K
	add("hc", d/kernels.Slice*max(rows, outs)*32*4, &s.hcPart)
	form(&s.x, rows*d, both)
	form(&s.head, outs*d, q8)
	add("qkv", rows*(rq+hd)*4, &s.qkv)
	form(&s.latent, rows*rq, q8)
	add("compress", rows*comp*4, &s.compIn)
	add("index", rows*int64(sh.IndexHeads)*backend.IndexDim*4, &s.indexQ)
	add("index", rows*padded*backend.IndexDim*2, &s.indexCodes)
	add("index", rows*padded*16, &s.indexScale)
	add("index", rows*int64(sh.IndexHeads)*4, &s.indexW)
	add("scores", int64(s.scoreRows)*visible*4, &s.scores)
	add("attend", few*int64(s.tiles)*heads*hd*4, &s.attendPart)
	add("attend", few*int64(s.tiles)*heads*8, &s.attendML)
	form(&s.o, rows*heads*hd, q8)
	add("attn_out", rows*low*4, &s.low)
	form(&s.lowForms, rows*low, q8)
	add("route", rows*int64(sh.Experts)*4, &s.routeLogits)
	add("experts", rows*k*4, &s.list)
	add("experts", (rows*k/kernels.TileTokens+int64(sh.Experts)+1)*12, &s.items)
	add("experts", 16, &s.total)
	add("experts", rows*k*f*4, &s.gated)
	form(&s.gatedForms, rows*k*f, both)
	add("experts", rows*k*d*4, &s.products)
	add("shared_expert", rows*f*4, &s.shGate)
	add("shared_expert", rows*f*4, &s.shUp)
	form(&s.shForms, rows*f, q8)
	add("top", int64(l.Tops)*int64(topParts(sh))*topPartBytes, &s.topParts)
	add("top", int64(l.Tops)*1024, &s.topKeys)
	return u
}

func (b *Backend) takeScratch() error {
	if err := b.take(b.scr.plan(&b.sh, &b.lim)); err != nil {
		return err
	}
	for _, u := range []struct {
		dst   **metal.Buffer
		bytes int
	}{{&b.block, blockBytes(&b.sh, &b.lim)}, {&b.table, 2048}, {&b.bad, 16}} {
		buf, err := b.d.NewBuffer(u.bytes)
		if err != nil {
			return fmt.Errorf("metal: step block: %w", classify(err))
		}
		*u.dst = buf
		b.scr.bytes += int64(u.bytes)
	}
	return nil
}

func (b *Backend) take(uses []scratchUse) error {
	for _, u := range uses {
		p, err := b.d.NewBuffer(int(max(u.bytes, 16)))
		if err != nil {
			return fmt.Errorf("metal: scratch for %s: %d bytes: %w", u.name, u.bytes, classify(err))
		}
		b.scr.all = append(b.scr.all, p)
		b.scr.bytes += u.bytes
		*u.dst = ref{p, 0}
	}
	return nil
}

// draftScratch is taken when the first draft step comes.
func (b *Backend) draftScratch() bool {
	if b.scr.draftE.buf != nil {
		return true
	}
	n := int64(b.lim.Rows) * int64(b.sh.Embd)
	b.check(b.take([]scratchUse{
		{"draft", 4 * n, &b.scr.draftE},
		{"draft", 2 * n, &b.scr.draftEForms.q8}, {"draft", n / 8, &b.scr.draftEForms.q8d},
		{"draft", 8 * n, &b.scr.draftHForms.q8}, {"draft", n / 2, &b.scr.draftHForms.q8d},
	}))
	return b.err == nil
}

func (s *scratch) free() {
	for _, u := range s.all {
		u.Release()
	}
	*s = scratch{}
}
