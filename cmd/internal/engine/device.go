package engine

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/ds4-go/ds4/cmd/internal/gpulock"
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
)

// device is a backend that this build has.
type device struct {
	name string
	rows int // tokens of a prefill step that suit it
	// open makes the backend for a model of so many bytes of weights. An error that wraps backend.ErrUnsupported means that
	// the machine lacks the device, one that wraps backend.ErrMemory that the model does not fit it.
	open func(model.Shape, model.Limits, Config, int64) (backend.Backend, error)
	// admit says whether a model fits a device of that name with free of total bytes; nil: only open can tell.
	admit func(name string, free, total, weights int64, s model.Shape, l model.Limits) error
}

// cpuRows is where a step's rows outweigh that every expert's weights are unpacked for it: at 128 rows an expert sees three.
const cpuRows = 512

// devices are tried in this order where the user names none.
var devices = append(gpus, device{"cpu", cpuRows, openCPU, nil})

// allNames are the devices that have a flag, whether this build has them or not.
var allNames = []string{"cuda", "metal", "cpu"}

var deviceNames = map[string]string{"cuda": "an NVIDIA GPU", "metal": "an Apple GPU", "cpu": "the CPU"}

// openAlone opens the device and, if it is a GPU, takes the lock of GPUs: one program at a time uses them. Where another has it,
// that is the error, whatever else is wrong: its memory is what the device lacks.
func (d device) openAlone(s model.Shape, l model.Limits, c Config, weights int64) (backend.Backend, *gpulock.Lock, error) {
	b, err := d.open(s, l, c, weights)
	if d.name == "cpu" || errors.Is(err, backend.ErrUnsupported) {
		return b, nil, err
	}
	lock, held := gpulock.Take(gpulock.Path())
	switch {
	case held == nil && err == nil:
		return b, lock, nil
	case held == nil:
		_ = lock.Close() // the first error is the one to tell
		return nil, nil, err
	case err == nil:
		_ = b.Close()
	}
	return nil, nil, held
}

func openCPU(s model.Shape, l model.Limits, c Config, _ int64) (backend.Backend, error) {
	return cpu.New(s, l, cpu.Options{Threads: c.Threads, Variant: os.Getenv("DS4_CPU")})
}

// Backends are the names of the devices that this build has, best first.
func Backends() []string {
	var out []string
	for _, d := range devices {
		out = append(out, d.name)
	}
	return out
}

func known(name string) bool { return slices.Contains(allNames, name) }

// candidates are the devices to try for a configuration.
func candidates(c Config) ([]device, error) {
	if c.Backend == "" {
		return devices, nil
	}
	for _, d := range devices {
		if d.name == c.Backend {
			return []device{d}, nil
		}
	}
	return nil, fmt.Errorf("backend %s: this build has none of that name; it has %s", c.Backend, strings.Join(Backends(), ", "))
}

// Fits says whether the model fits a GPU of the given backend and name, with free of total bytes. Its error tells what would.
// ok is false where only opening the device can tell.
func Fits(c Config, api, name string, free, total, weights int64, s model.Shape) (ok bool, err error) {
	for _, d := range devices {
		if d.name == api && d.admit != nil {
			return true, d.admit(name, free, total, weights, s, c.Limits(d.rows))
		}
	}
	return false, nil
}

// weightBytes is what the tensors of a file take in a device's memory: those that share their bytes are counted once.
func weightBytes(f *gguf.File) int64 {
	n, last := int64(0), int64(-1)
	for t := range f.TensorsByOffset() {
		if at := t.FileOffset(); at != last {
			n, last = n+int64(t.Bytes), at
		}
	}
	return n
}
