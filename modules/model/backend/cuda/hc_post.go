package cuda

import "github.com/ds4-go/ds4/modules/model/backend"

// HCPost: see backend.HCPostArgs.
func (b *Backend) HCPost(a backend.HCPostArgs) {
	do(b, opHCPost, a.Layer, func(c *calls) *[]backend.HCPostArgs { return &c.hcPost }, a, (*Backend).hcPost)
}

// hcPost waits: the HCPre that usually follows does its work as well.
func (b *Backend) hcPost(a backend.HCPostArgs) { b.due.post = a }

// launchPost launches an HCPost that waits, alone.
func (b *Backend) launchPost() {
	a := b.due.post
	if a.HC.ID == 0 {
		return
	}
	b.due.post = backend.HCPostArgs{}
	b.steer(a)
	launch(b, kHCPost, (b.sh.Embd+1023)/1024, b.bound.rows, 1, 256, 0, b.postArgs(a))
}

func (b *Backend) postArgs(a backend.HCPostArgs) hcPostArgs {
	return hcPostArgs{step: b.scr.step, mix: b.base(a.Mix), steer: b.vector(a.Steer), hc: b.base(a.HC), y: b.base(a.Y), tap: b.base(a.Tap),
		d: int32(b.sh.Embd), steerScale: a.SteerScale}
}

func (b *Backend) steer(a backend.HCPostArgs) {
	if a.Steer.ID != 0 {
		launch(b, kSteer, b.bound.rows, 1, 1, 256, 0, b.postArgs(a))
	}
}
