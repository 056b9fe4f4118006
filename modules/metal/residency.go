package metal

import (
	"fmt"
	"unsafe"
)

// Residency keeps buffers wired for the GPU between command buffers (macOS 15 on). Without it a map that was not used for
// a while is unwired, and the next step pays for wiring it again. It lives until Release.
type Residency struct {
	d   *Device
	set id
}

// NewResidency makes an empty set and attaches it to the queue. Error: ErrUnsupported on older systems.
func (d *Device) NewResidency() (*Residency, error) {
	if !d.dev.responds(selNewSet) {
		return nil, fmt.Errorf("metal: residency sets: %w", ErrUnsupported)
	}
	var r *Residency
	var err error
	pooled(func() {
		desc := class("MTLResidencySetDescriptor").sendID(selNew)
		defer desc.release()
		var nserr id
		set := d.dev.sendID(selNewSet, uintptr(desc), uintptr(unsafe.Pointer(&nserr)))
		if set == 0 {
			err = fmt.Errorf("metal: residency set: %s", errorText(nserr))
			return
		}
		d.queue.send(selAddSet, uintptr(set))
		r = &Residency{d, set}
	})
	return r, err
}

// Set replaces the members and asks for their residency; it may take as long as reading them from disk.
func (r *Residency) Set(bufs []*Buffer) {
	pooled(func() {
		r.set.send(selRemoveAll)
		for _, b := range bufs {
			r.set.send(selAddAllocation, uintptr(b.buf))
		}
		r.set.send(selCommit)
		r.set.send(selRequestResidency)
	})
}

// Release ends the residency.
func (r *Residency) Release() {
	pooled(func() {
		r.set.send(selEndResidency)
		r.d.queue.send(selRemoveSet, uintptr(r.set))
	})
	r.set.release()
}
