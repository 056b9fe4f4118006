package cuda

import (
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// DraftJoin: see backend.DraftJoinArgs.
func (b *Backend) DraftJoin(a backend.DraftJoinArgs) {
	do(b, opDraftJoin, -1, func(c *calls) *[]backend.DraftJoinArgs { return &c.draftJoin }, a, (*Backend).draftJoin)
}

func (b *Backend) draftJoin(a backend.DraftJoinArgs) {
	if a.EProj.Type != gguf.TypeQ8_0 || a.HProj.Type != gguf.TypeQ8_0 {
		b.fail(backend.ErrUnsupported)
		return
	}
	if b.draftScratch(); b.err != nil {
		return
	}
	s := &b.scr
	p := draftArgs{step: s.step, table: b.vector(a.Table), prev: b.base(a.Prev), enorm: b.vector(a.ENorm), hnorm: b.vector(a.HNorm),
		ep: s.draftE, hp: s.draftH, hc: b.base(a.HC), e: s.draftEForms, h: s.draftHForms, d: int32(b.sh.Embd),
		f32: flag(a.Table.Type == gguf.TypeF32), eps: b.sh.RMSEps}
	launch(b, kDraftNorms, b.bound.rows, 5, 1, 256, 0, p)
	b.matmul(product{w: [4]backend.Weight{a.EProj}, out: [4]addr{s.draftE}, f: s.draftEForms})
	b.matmul(product{w: [4]backend.Weight{a.HProj}, out: [4]addr{s.draftH}, f: s.draftHForms, perRow: backend.Streams})
	launch(b, kDraftJoin, b.bound.rows, 1, 1, 256, 0, p)
}
