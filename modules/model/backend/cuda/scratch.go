package cuda

import (
	"fmt"

	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/cuda/driver"
)

// scratch is what operations need between their kernels. Everything is taken once; addresses never change.
type scratch struct {
	bytes int64
	all   []addr

	step, ropes  addr
	hcPart       addr
	x            formsArgs // of the row that a sublayer reads
	qkvRaw       addr      // (rows, rank + head)
	latent       formsArgs
	compIn       addr // (rows, comp row)
	indexQ       addr // (rows, heads × 128)
	indexCodes   addr
	indexScale   addr
	indexWeights addr // (rows, heads)
	scores       addr // (scoreRows, compressed rows)
	attendPart   addr // (few rows, tiles, heads, head)
	attendML     addr
	o            formsArgs
	low          addr // (rows, groups × rank)
	lowForms     formsArgs
	routeLogits  addr
	list, items  addr
	counts       addr
	gated        addr // (rows × active, expert width)
	gatedForms   formsArgs
	products     addr // (rows × active, embd)
	shGate, shUp addr
	shForms      formsArgs
	draftE       addr
	draftH       addr
	draftEForms  formsArgs
	draftHForms  formsArgs
	parts        addr // of Top: (tops, pieces)
	table        addr // IQ2_XXS selectors

	scoreRows, scoreStride, tiles int
}

// fewAttend is the row count up to which the blocks of a query's tiles work side by side.
const fewAttend = 8

// scratchPlan lists what takeScratch takes: name, bytes, and where the address goes.
type scratchUse struct {
	name  string
	bytes int64
	dst   *addr
}

func (s *scratch) plan(sh *backend.Shape, l *backend.Limits) []scratchUse {
	rows, d, f, k := int64(l.Rows), int64(sh.Embd), int64(sh.ExpertDim), int64(sh.ActiveExps)
	heads, hd, rq, low := int64(sh.Heads), int64(sh.HeadDim), int64(sh.QRank), int64(sh.Groups*sh.OutRank)
	comp, outs := int64(0), int64(l.Outs)
	for il := range sh.Layers {
		comp = max(comp, int64(sh.CompRowFloats(il)))
	}
	visible := int64(l.CtxTokens/4 + 1)
	s.scoreStride = int(visible)
	s.scoreRows = int(min(rows, max(8, (64<<20)/(4*visible)/8*8)))
	s.tiles = (sh.Window + sh.TopK + 63) / 64
	for il := range sh.Layers {
		if r := sh.Ratio[il]; r != 0 && !sh.Indexed(il) {
			s.tiles = max(s.tiles, (sh.Window+l.CtxTokens/r+63)/64)
		}
	}
	few := min(rows, fewAttend)
	var u []scratchUse
	add := func(name string, n int64, dst *addr) { u = append(u, scratchUse{name, n, dst}) }
	forms := func(f *formsArgs, n int64, q8, q8k, half bool) {
		if q8 {
			add("forms", n, &f.q8)
			add("forms", n/32*4, &f.q8d)
		}
		if q8k {
			add("forms", n, &f.q8k)
			add("forms", n/256*4, &f.q8kd)
		}
		if half {
			add("forms", 2*n, &f.hi)
			add("forms", 2*n, &f.lo)
		}
	}
	add("step", int64(blockBytes(l)), &s.step)
	add("rope", rows*2*int64(sh.RopeDim)*4, &s.ropes)
	add("hc", d/32*max(rows, outs)*32*4, &s.hcPart)
	forms(&s.x, rows*d, true, true, true)
	add("qkv", rows*(rq+hd)*4, &s.qkvRaw)
	forms(&s.latent, rows*rq, true, false, true)
	add("compress", rows*comp*4, &s.compIn)
	add("index", rows*int64(sh.IndexHeads)*backend.IndexDim*4, &s.indexQ)
	add("index", rows*int64(sh.IndexHeads)*backend.IndexDim, &s.indexCodes)
	add("index", rows*int64(sh.IndexHeads)*16, &s.indexScale)
	add("index", rows*int64(sh.IndexHeads)*4, &s.indexWeights)
	add("scores", int64(s.scoreRows)*visible*4, &s.scores)
	add("attend", few*int64(s.tiles)*heads*hd*4, &s.attendPart)
	add("attend", few*int64(s.tiles)*heads*8, &s.attendML)
	forms(&s.o, rows*heads*hd, true, false, false)
	add("attn_out", rows*low*4, &s.low)
	forms(&s.lowForms, rows*low, true, false, false)
	add("route", rows*int64(sh.Experts)*4, &s.routeLogits)
	add("experts", rows*k*4, &s.list)
	add("experts", (rows*k+int64(sh.Experts))*12, &s.items)
	add("experts", 256, &s.counts)
	add("experts", rows*(k+1)*f*4, &s.gated)
	forms(&s.gatedForms, rows*(k+1)*f, true, true, false)
	add("experts", rows*k*d*4, &s.products)
	add("shared_expert", rows*f*4, &s.shGate)
	add("shared_expert", rows*f*4, &s.shUp)
	forms(&s.shForms, rows*f, true, false, false)
	add("top", int64(l.Tops)*topParts*topPartBytes, &s.parts)
	add("experts", 1024, &s.table)
	return u
}

// takeScratch takes all of it.
func (b *Backend) takeScratch() error {
	for _, u := range b.scr.plan(&b.sh, &b.lim) {
		p, err := b.d.Alloc(max(u.bytes, 256))
		if err != nil {
			return fmt.Errorf("cuda: scratch for %s: %d bytes: %w", u.name, u.bytes, lacking(err))
		}
		b.scr.all = append(b.scr.all, p)
		b.scr.bytes += u.bytes
		*u.dst = p
	}
	var err error
	if b.block, err = b.d.Pinned(max(blockBytes(&b.lim), 4096) + markBytes + smallRead); err != nil {
		return fmt.Errorf("cuda: step block: %w", lacking(err))
	}
	t := selectors()
	if err := b.d.ToDevice(b.scr.table, t[:], b.stream); err != nil {
		return fmt.Errorf("cuda: %w", lacking(err))
	}
	if err := b.d.Sync(b.stream); err != nil {
		return fmt.Errorf("cuda: %w", lacking(err))
	}
	return nil
}

// draftScratch is taken when the first draft step comes.
func (b *Backend) draftScratch() {
	if b.scr.draftE != 0 {
		return
	}
	n := int64(b.lim.Rows) * int64(b.sh.Embd)
	for _, u := range []scratchUse{
		{"draft", 4 * n, &b.scr.draftE}, {"draft", 16 * n, &b.scr.draftH},
		{"draft", n, &b.scr.draftEForms.q8}, {"draft", n / 8, &b.scr.draftEForms.q8d},
		{"draft", 4 * n, &b.scr.draftHForms.q8}, {"draft", n / 2, &b.scr.draftHForms.q8d},
	} {
		p, err := b.d.Alloc(u.bytes)
		if err != nil {
			b.fail(err)
			return
		}
		b.scr.all = append(b.scr.all, p)
		b.scr.bytes += u.bytes
		*u.dst = p
	}
}

func (s *scratch) free(d *driver.Driver) error {
	var first error
	for _, p := range s.all {
		if err := d.Free(p); first == nil {
			first = err
		}
	}
	s.all = nil
	return first
}
