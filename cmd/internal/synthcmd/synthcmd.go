// Package synthcmd is "ds4 synth": it writes a model file of the real size with random weights, for measuring speed.
package synthcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// options are the command line.
type options struct {
	path       string
	quant      string
	layers     int
	sets       int // 0: all
	seed       uint64
	fixedRoute bool
	mtp        string // the model that a draft head is for
	force      bool
}

// Main is the command.
func Main(ctx context.Context, args []string, stdout, stderr *os.File) int {
	o, err := parse(args, stdout)
	if err == nil {
		err = write(ctx, o, stderr)
	}
	return cli.Exit(stderr, "ds4", err)
}

func parse(args []string, stdout io.Writer) (options, error) {
	o, sets := options{quant: "q2", layers: 43, seed: 1}, "2"
	s := cli.New("ds4 synth", "write a model file of the real size with random weights", "ds4 synth [flags] FILE")
	s.String(&o.quant, "--quant", "NAME", "types of the routed experts: "+strings.Join(synth.Quants, ", "))
	s.String(&sets, "--expert-sets", "N", "layers with experts of their own, or \"all\"; the others point at those")
	s.Int(&o.layers, "--layers", "N", "only the first layers", 1, 43)
	s.Bool(&o.fixedRoute, "--fixed-route", "choose experts by layer and not by input, to compare devices")
	s.String(&o.mtp, "--mtp", "MODEL", "write a draft head for this model file instead")
	s.Uint(&o.seed, "--seed", "N", "another seed, other weights (1)")
	s.Bool(&o.force, "-f, --force", "replace a file that is there")
	s.Note("The file has every tensor and type of the real one, and runs at its speed; what it says is noise. At q2, 2 sets take\n" +
		"11.6 GiB, 4 sets 15 GiB, all 80.8 GiB. The same flags give the same bytes on every machine.")
	rest, err := s.Parse(args, stdout)
	if err != nil {
		return o, err
	}
	if len(rest) != 1 {
		return o, s.Usagef("want one file name, got %d", len(rest))
	}
	o.path = rest[0]
	for _, name := range []string{"quant", "expert-sets", "layers", "fixed-route"} {
		if o.mtp != "" && s.Given(name) {
			return o, s.Usagef("--mtp and --%s: want one of them", name)
		}
	}
	if sets != "all" {
		if o.sets, err = strconv.Atoi(sets); err != nil || o.sets < 1 || o.sets > 43 {
			return o, s.Usagef("--expert-sets: want 1 to 43 or \"all\", got %q", sets)
		}
	}
	if _, err := synth.Quant(o.quant); err != nil {
		return o, s.Usagef("--quant: want %s, got %q", strings.Join(synth.Quants, " or "), o.quant)
	}
	return o, nil
}

// write makes the file, after everything that could have been known before is checked.
func write(ctx context.Context, o options, stderr *os.File) error {
	var bar *progressbar.ProgressBar
	w, err := plan(o, func(n int64) {
		if bar != nil {
			_ = bar.Add64(n) // a terminal that is gone shows nothing
		}
	})
	if err != nil {
		return err
	}
	if err := check(o, w.Size()); err != nil {
		return err
	}
	if cli.IsTerminal(stderr) {
		bar = progressbar.NewOptions64(w.Size(), progressbar.OptionSetWriter(stderr), progressbar.OptionFullWidth(),
			progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetDescription(filepath.Base(o.path)))
	}
	begin := time.Now()
	if err := writeFile(ctx, w, o.path); err != nil {
		return err
	}
	if bar != nil {
		_ = bar.Finish()
	}
	sec := time.Since(begin).Seconds()
	_, _ = fmt.Fprintf(stderr, "ds4: wrote %s, %s in %.1f s (%.2f GB/s); its text is noise. Next: ds4 bench %s\n",
		o.path, cli.Bytes(w.Size()), sec, float64(w.Size())/sec/1e9, next(o))
	return nil
}

// plan plans the file; wrote is told the bytes of each piece.
func plan(o options, wrote func(n int64)) (*gguf.Writer, error) {
	if o.mtp != "" {
		return planDraft(o)
	}
	shape, err := synth.FlashShape(o.layers)
	if err != nil {
		return nil, err
	}
	experts, err := synth.Quant(o.quant)
	if err != nil {
		return nil, err
	}
	return synth.Flash{Shape: shape, Experts: experts, Seed: o.seed, Workers: runtime.GOMAXPROCS(0), ExpertSets: o.sets,
		FixedRoute: o.fixedRoute, Wrote: wrote}.Plan()
}

func planDraft(o options) (*gguf.Writer, error) {
	base, err := gguf.Open(o.mtp, gguf.AllowSharedOffsets())
	if err != nil {
		return nil, fmt.Errorf("--mtp: %w", err)
	}
	w, err := synth.DraftPlan(base, o.seed)
	if err != nil {
		err = fmt.Errorf("--mtp %s: %w", o.mtp, err)
	}
	return w, errors.Join(err, base.Close())
}

// next is how to measure what was written.
func next(o options) string {
	if o.mtp != "" {
		return fmt.Sprintf("-m %s --mtp %s --draft mtp", o.mtp, o.path)
	}
	return "-m " + o.path
}

// check refuses to begin what cannot end: a file in the way, a folder that is missing, a disk too small.
func check(o options, size int64) error {
	dir := filepath.Dir(o.path)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("%s: want a folder to write to, got none", dir)
	}
	if info, err := os.Stat(o.path); err == nil {
		switch {
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s: want a file name, got a %s", o.path, kind(info.Mode()))
		case !o.force:
			return fmt.Errorf("%s: is there already; --force replaces it", o.path)
		}
	}
	if free, ok := freeSpace(dir); ok && free < size {
		return fmt.Errorf("%s: want %s of disk space, got %s; fewer --expert-sets or --layers take less", dir, cli.Bytes(size), cli.Bytes(free))
	}
	return nil
}

func kind(m os.FileMode) string {
	if m.IsDir() {
		return "directory"
	}
	return m.Type().String()
}

// writeFile writes under a temporary name, so that an interrupt leaves nothing that looks like a model.
func writeFile(ctx context.Context, w *gguf.Writer, path string) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignore(tmp.Close(), os.ErrClosed), os.Remove(tmp.Name()))
		}
	}()
	if _, err := w.WriteTo(&stoppable{ctx, tmp}); err != nil {
		return err
	}
	if err := errors.Join(tmp.Chmod(0o644), tmp.Sync()); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

func ignore(err, what error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}

// stoppable fails when the context ends.
type stoppable struct {
	ctx context.Context
	w   io.Writer
}

func (s *stoppable) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.w.Write(p)
}
