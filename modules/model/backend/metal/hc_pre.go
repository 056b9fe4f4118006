package metal

import (
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// HCPre: see backend.HCPreArgs. An HCPost that waits is done on the way.
func (b *Backend) HCPre(a backend.HCPreArgs) {
	if !b.begin("hc_pre", a.Layer) {
		return
	}
	if b.post.HC.ID != a.HC.ID {
		b.settle("")
	}
	if b.late.has&(lateOut|lateDown) != 0 {
		b.launchTail(a.Fn, backend.MixWidth)
	} else {
		b.control(a.HC, a.Fn, kernels.CountRows, backend.MixWidth)
	}
	b.barrier()
	p := kernels.HCPre{Which: kernels.CountRows, Width: int32(b.sh.Embd), Values: backend.MixWidth, Rounds: int32(b.sh.SinkhornRounds),
		Forms: kernels.FormQ8 | kernels.FormQ8K, Eps: b.sh.RMSEps, HCEps: b.sh.HCEps}
	f := &b.scr.x
	launch(b, kHCPre, line(len(b.step.Rows)), line(b.sh.Embd/8), &p, b.stepRef(), b.scr.hcPart, b.vector(a.Scale), b.vector(a.Base), b.vector(a.Norm),
		b.whole(a.HC), b.whole(a.X), b.whole(a.Mix), f.q8, f.q8d, f.q8k, f.q8kd, f.q8ks)
	b.made.x = a.X.ID
}

// control launches the projection of the streams to control values.
func (b *Backend) control(hc backend.Buf, fn backend.Weight, which int32, values int) {
	p := kernels.HC{Which: which, Width: int32(b.sh.Embd), Values: int32(values), F32: flag(fn.Type == gguf.TypeF32)}
	mix, y, tap := b.stepRef(), b.stepRef(), b.stepRef()
	if b.post.HC.ID != 0 {
		p.Post, p.Tap = 1, flag(b.post.Tap.ID != 0)
		mix, y, tap = b.whole(b.post.Mix), b.whole(b.post.Y), b.whole(b.post.Tap)
		b.post = backend.HCPostArgs{}
	}
	b.barrier()
	launch(b, kHCMix, size(b.sh.Embd/kernels.Slice, b.tokens(which), 1), line(4*kernels.Slice), &p, b.stepRef(), b.whole(hc), b.vector(fn), b.scr.hcPart, mix, y, tap)
}
