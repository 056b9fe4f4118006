package metal

import (
	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// HCHead: see backend.HCHeadArgs. The kernels are HCPre's, over the wanted rows.
func (b *Backend) HCHead(a backend.HCHeadArgs) {
	if !b.begin("hc_head", -1) || len(b.step.Outs) == 0 {
		return
	}
	b.control(a.HC, a.Fn, kernels.CountOuts, backend.Streams)
	b.barrier()
	p := kernels.HCPre{Which: kernels.CountOuts, Width: int32(b.sh.Embd), Values: backend.Streams, Forms: kernels.FormQ8, Head: 1, Eps: b.sh.RMSEps, HCEps: b.sh.HCEps}
	f := &b.scr.head
	launch(b, kHCPre, line(len(b.step.Outs)), line(b.sh.Embd/8), &p, b.stepRef(), b.scr.hcPart, b.vector(a.Scale), b.vector(a.Base), b.vector(a.Norm),
		b.whole(a.HC), b.whole(a.X), b.stepRef(), f.q8, f.q8d, b.stepRef(), b.stepRef(), b.stepRef())
	b.made.head = a.X.ID
}
