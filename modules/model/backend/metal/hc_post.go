package metal

import (
	"github.com/ds4-go/ds4/modules/metal/kernels"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// HCPost: see backend.HCPostArgs. It waits for the HCPre after it, which reads the streams anyway; any other call launches it.
func (b *Backend) HCPost(a backend.HCPostArgs) {
	if !b.begin("hc_post", a.Layer) {
		return
	}
	if b.late.has&(lateOut|lateDown) != 0 && (a.Steer.ID != 0 || a.Y.ID != b.late.y().ID) {
		b.settle("")
	}
	if a.Steer.ID != 0 {
		p := kernels.HC{Width: int32(b.sh.Embd), SteerScale: a.SteerScale}
		b.barrier()
		launch(b, kHCSteer, line(len(b.step.Rows)), line(256), &p, b.stepRef(), b.vector(a.Steer), b.whole(a.Y))
	}
	b.post = a
	if len(b.step.Rows) > longStep && int(a.Layer) < b.sh.Layers {
		b.flush() // short command buffers: the watchdog, and a cancellation
	}
}

// launchPost launches what waits.
func (b *Backend) launchPost() {
	a := b.post
	if a.HC.ID == 0 || b.err != nil {
		return
	}
	b.post = backend.HCPostArgs{}
	p := kernels.HC{Width: int32(b.sh.Embd), Tap: flag(a.Tap.ID != 0)}
	b.barrier()
	launch(b, kHCPost, size(ceil(b.sh.Embd, 256), len(b.step.Rows), 1), line(256), &p, b.stepRef(), b.whole(a.HC), b.whole(a.Mix), b.whole(a.Y), b.whole(a.Tap))
}
