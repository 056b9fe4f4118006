package cuda

import "github.com/ds4-go/ds4/modules/model/backend"

// HCPost: see backend.HCPostArgs.
func (b *Backend) HCPost(a backend.HCPostArgs) {
	do(b, opHCPost, a.Layer, func(c *calls) *[]backend.HCPostArgs { return &c.hcPost }, a, (*Backend).hcPost)
}

// hcPost waits: the HCPre that usually follows does its work as well.
func (b *Backend) hcPost(a backend.HCPostArgs) {
	if b.due.down.shared.Y != a.Y && b.due.out.Y != a.Y {
		b.launchTail()
	}
	b.due.post = a
}

// tailWaits says whether a product waits for HCPost.
func (b *Backend) tailWaits() bool { return b.due.down.shared.Y.ID != 0 || b.due.out.Y.ID != 0 }

// launchTail launches a product that waits for HCPost, alone.
func (b *Backend) launchTail() { b.launchTailWith(hcTail{}) }

// launchTailWith launches it with HCPost and the next HCPre's mix in it.
func (b *Backend) launchTailWith(t hcTail) {
	b.launchOut(t)
	b.launchDown(t)
}

// launchPost launches an HCPost that waits, alone.
func (b *Backend) launchPost() {
	a := b.due.post
	if a.HC.ID == 0 {
		return
	}
	b.launchTail()
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
