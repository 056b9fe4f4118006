package metal

import (
	"fmt"
)

// Options say which device to open. The zero value is the system's own.
type Options struct {
	Library string // a stand-in for libobjc and Metal; "": the system's
}

// Info is what a device says of itself. Sizes are bytes.
type Info struct {
	Name             string
	WorkingSetBytes  uint64 // what the GPU can use without slowing down: recommendedMaxWorkingSetSize
	MaxBufferBytes   uint64 // of one buffer
	GroupMemoryBytes int    // of one threadgroup
	Unified          bool   // CPU and GPU share memory
	Family           int    // the newest Apple family supported: 7 M1, 8 M2, 9 M3 and M4; 0 none
}

// Device is one GPU with its command queue. It lives until Close; whatever was made from it must be released before.
type Device struct {
	dev, queue id
	info       Info
}

// Open returns the default GPU. Error: ErrUnsupported where there is none.
func Open(o Options) (*Device, error) {
	if err := load(o.Library); err != nil {
		return nil, err
	}
	d := &Device{}
	pooled(func() {
		if d.dev = id(call(rt.createDevice)); d.dev != 0 {
			d.queue = d.dev.sendID(selNewQueue)
			d.info = d.describe()
		}
	})
	if d.dev == 0 {
		return nil, fmt.Errorf("metal: no device: %w", ErrUnsupported)
	}
	if d.queue == 0 {
		d.dev.release()
		return nil, fmt.Errorf("metal: no command queue: %w", ErrMemory)
	}
	return d, nil
}

const (
	familyApple1 = 1000 // MTLGPUFamilyApple1 is 1001
	lastFamily   = 12
)

func (d *Device) describe() Info {
	i := Info{
		Name:             goString(d.dev.sendID(selName)),
		WorkingSetBytes:  uint64(d.dev.send(selWorkingSet)),
		MaxBufferBytes:   uint64(d.dev.send(selMaxBuffer)),
		GroupMemoryBytes: int(d.dev.send(selMaxGroupMemory)),
		Unified:          byte(d.dev.send(selUnified)) != 0,
	}
	for f := lastFamily; f > 0 && i.Family == 0; f-- {
		if byte(d.dev.send(selFamily, uintptr(familyApple1+f))) != 0 {
			i.Family = f
		}
	}
	return i
}

// Info describes the device.
func (d *Device) Info() Info { return d.info }

// Allocated is the memory that this process has taken from the device, in bytes.
func (d *Device) Allocated() uint64 { return uint64(d.dev.send(selAllocated)) }

// Close gives the device back.
func (d *Device) Close() {
	d.queue.release()
	d.dev.release()
	d.queue, d.dev = 0, 0
}
