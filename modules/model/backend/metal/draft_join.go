package metal

import (
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// DraftJoin: see backend.DraftJoinArgs.
func (b *Backend) DraftJoin(a backend.DraftJoinArgs) {
	if !b.begin("draft_join", -1) || !b.draftScratch() {
		return
	}
	s, d, n := &b.scr, b.sh.Embd, len(b.step.Rows)
	p := kernels.Draft{Width: int32(d), F32: flag(a.Table.Type == gguf.TypeF32), Eps: b.sh.RMSEps}
	b.barrier()
	launch(b, kDraftNorms, size(1+backend.Streams, n, 1), line(d/8), &p, b.stepRef(), b.vector(a.Table), b.whole(a.Prev), b.vector(a.ENorm), b.vector(a.HNorm),
		s.draftEForms.q8, s.draftEForms.q8d, s.draftHForms.q8, s.draftHForms.q8d)
	b.barrier()
	b.product(product{m: []output{{w: a.EProj, to: s.draftE}}, f: s.draftEForms})
	b.product(product{m: []output{{w: a.HProj, to: b.whole(a.HC)}}, f: s.draftHForms, perRow: backend.Streams})
	b.barrier()
	launch(b, kDraftSum, size(ceil(d, 256), n, 1), line(256), &p, b.stepRef(), s.draftE, b.whole(a.HC))
}
