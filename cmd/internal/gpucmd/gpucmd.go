package gpucmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/machine"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// device is a GPU backend that this build has.
type device struct {
	name  string
	open  func(backend.Shape, backend.Limits) (backend.Backend, error)
	bound map[string]float64 // see backendtest.Config.Bound
}

// In tests: a stand-in for the system's library, and the only operations to run.
var library, only string

// Options say how far the check goes.
type Options struct {
	Device string // a name of the devices; "": the first that this machine has
	Quick  bool   // smaller row counts, no timing
}

// Main is the command: ds4 doctor --gpu [flags]. It returns 0 where everything passed, 1 where something did not, 2 for usage.
func Main(ctx context.Context, args []string, stdout, stderr *os.File) int {
	if len(args) > 0 && args[0] == suiteFlag {
		suiteMain(args[1:]) // does not return
	}
	var o Options
	s := cli.New("ds4 doctor --gpu", "prove every kernel on this machine's GPU, and time it", "ds4 doctor --gpu [flags]")
	s.String(&o.Device, "--backend", "NAME", "metal or cuda (what this machine has)")
	s.Bool(&o.Quick, "--quick", "fewer rows, no timing")
	rest, err := s.Parse(args, stdout)
	if err == nil && len(rest) > 0 {
		err = s.Usagef("unexpected argument %q", rest[0])
	}
	if err == nil {
		err = Report(ctx, stdout, o)
	}
	return cli.Exit(stderr, "ds4", err)
}

// ErrFailed is returned by Report where the GPU did not pass; the report says what and what to do.
var ErrFailed = errors.New("the GPU did not pass")

// Report checks the GPU and writes the report. Error: ErrFailed, no GPU of that name, a writer's.
func Report(ctx context.Context, w io.Writer, o Options) error {
	p := &printer{w: w}
	info := machine.Look(ctx)
	p.line("system", "%s/%s%s", info.OS, info.Arch, systemVersion())
	p.line("cpu", "%s, %d cores, %s of memory", info.CPU, info.Cores, cli.Bytes(info.MemoryBytes))
	d, err := find(o.Device)
	if err != nil {
		p.line("gpu", "none that this build can use: %v", err)
		p.line("do", "%s", adviceNone())
		return errors.Join(p.err, err)
	}
	p.line("gpu", "%s, backend %s", describe(d), d.name)
	ceiling := 0.0
	if d.name == "metal" {
		if ceiling, err = bandwidth(); err != nil {
			p.line("memory", "bandwidth: %v", err)
		} else {
			p.line("memory", "%.0f GB/s read by the GPU", ceiling)
		}
	}
	failed, err := conformance(ctx, p, d, o.Quick)
	if err != nil {
		return errors.Join(p.err, err)
	}
	if !o.Quick && len(failed) == 0 && p.err == nil {
		if err := timings(ctx, p, d, benchShape(), benchRows, ceiling, info); err != nil {
			p.line("speed", "not measured: %v", err)
		}
	}
	p.advice(d, failed)
	if p.err == nil && len(failed) > 0 {
		return fmt.Errorf("%w: %s", ErrFailed, strings.Join(failed, ", "))
	}
	return p.err
}

// find opens and closes each device until one answers.
func find(name string) (device, error) {
	var errs []error
	for _, d := range devices {
		if name != "" && d.name != name {
			continue
		}
		b, err := d.open(probeShape(), backend.Limits{CtxTokens: 64, Seqs: 1, Slots: 1, Rows: 8, Outs: 1, Tops: 1})
		if err == nil {
			return d, b.Close()
		}
		errs = append(errs, err)
	}
	if errs == nil {
		return device{}, fmt.Errorf("%w: this build has no GPU backend of that name", backend.ErrUnsupported)
	}
	return device{}, errors.Join(errs...)
}

func adviceNone() string {
	switch {
	case runtime.GOOS == "darwin" && runtime.GOARCH == "arm64":
		return "update macOS to 14 or later; if the lines above name a kernel, send them to the project"
	case runtime.GOOS == "darwin":
		return "Macs with Intel processors are not supported on the GPU; use --cpu"
	}
	return "use --cpu, or install the GPU's driver"
}

type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(name, format string, a ...any) {
	p.raw("%-9s %s\n", name, strings.ReplaceAll(fmt.Sprintf(format, a...), "\n", "\n          "))
}

func (p *printer) raw(format string, a ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, a...)
	}
}

// advice ends the report with what to do.
func (p *printer) advice(d device, failed []string) {
	if len(failed) == 0 {
		p.line("result", "every operation passed: --%s gives the CPU's answers to within its rounding", d.name)
		p.line("do", "ds4 --%s -p \"Hello\"; ds4 bench --%s; send this report with any question about speed", d.name, d.name)
		return
	}
	p.line("result", "failed: %s", strings.Join(failed, ", "))
	p.line("do", "use --cpu until this is mended; send this whole report to the project: it names chip, system, kernel and error")
}
