// Package benchcmd is "ds4 bench": how fast this machine runs a model, and how much of what its memory allows that is.
package benchcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/probe"
	"github.com/ds4-go/ds4/modules/model/bench"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// options are the command line.
type options struct {
	engine engine.Config
	run    bench.Options

	promptFile, chatFile, system string
	seed                         uint64
	ctxAlloc                     int
	csv, plot                    string
	json, ops                    bool
	draft                        draftFlags
}

// Main is the command.
func Main(ctx context.Context, args []string, stdout, stderr *os.File) int {
	o, err := parse(args, stdout)
	if err == nil {
		err = measure(ctx, o, stdout, stderr)
	}
	return cli.Exit(stderr, "ds4", err)
}

func parse(args []string, stdout io.Writer) (*options, error) {
	o := &options{engine: engine.Defaults(), system: "You are a helpful assistant.", seed: 1}
	o.run = bench.Options{Start: 2048, Max: 32768, StepIncr: 2048, StepMul: 1, Gen: 128, Batch: 1}
	s := cli.New("ds4 bench", "how fast this machine runs a model, over the length of the context", "ds4 bench [flags]")
	s.Group("model")
	s.String(&o.engine.Model, "-m, --model", "FILE", "GGUF file")
	s.Bool(&o.engine.Demo, "--demo", "use the small demo model")
	s.Group("what to measure")
	s.Int(&o.run.Start, "--ctx-start", "N", "first context, in tokens", 1, 1<<24)
	s.Int(&o.run.Max, "--ctx-max", "N", "last context", 1, 1<<24)
	s.Int(&o.run.StepIncr, "--step-incr", "N", "tokens from one to the next", 1, 1<<24)
	s.Float(&o.run.StepMul, "--step-mul", "F", "or the factor from one to the next", 1, 1<<20)
	s.Int(&o.run.Gen, "-n, --tokens, --gen-tokens", "N", "tokens to decode at each", 1, 1<<20)
	s.Int(&o.run.Batch, "--batch", "N", "sequences that decode at once", 1, 128)
	s.Int(&o.engine.Rows, "--chunk", "N", "tokens in one prefill step (what suits the device)", 1, 1<<15)
	s.Int(&o.ctxAlloc, "--ctx-alloc", "N", "context to make room for (as much as is needed)", 1, 1<<24)
	s.Group("prompt (random tokens, if none is given)")
	s.String(&o.promptFile, "--prompt-file", "FILE", "plain text")
	s.String(&o.chatFile, "--chat-prompt-file", "FILE", "text that becomes a chat message")
	s.String(&o.system, "-sys, --system", "TEXT", "system text of the chat")
	s.Uint(&o.seed, "--seed", "N", "of the random tokens (1)")
	s.Group("results")
	s.String(&o.csv, "--csv", "FILE", "write CSV there instead of to the screen")
	s.Bool(&o.json, "--json", "print JSON")
	s.String(&o.plot, "--plot", "FILE", "draw an SVG")
	s.Bool(&o.ops, "--ops", "tell where the time went, operation by operation (on the CPU)")
	o.draftFlags(s)
	o.engine.DeviceFlags(s)
	s.Note("Only the tokens since the last context are timed (prefill), then greedy decoding; the end of an answer does not end it.\n" +
		"Columns: bytes per token are counted from the shapes, the ceiling is how fast this machine reads memory, measured in\n" +
		"the same run, and its share is what the decoding reached of it. \"ds4 synth\" writes a file to measure with.")
	rest, err := s.Parse(args, stdout)
	switch {
	case err != nil:
		return nil, err
	case len(rest) > 0:
		return nil, s.Usagef("unexpected argument %q", rest[0])
	case o.promptFile != "" && o.chatFile != "":
		return nil, s.Usagef("--prompt-file and --chat-prompt-file: want one of them")
	case o.csv != "" && o.json:
		return nil, s.Usagef("--csv and --json: want one of them")
	}
	if _, err := o.run.Frontiers(); err != nil {
		return nil, s.Usagef("%v", err)
	}
	need := o.run.Need()
	if s.Given("ctx-alloc") && o.ctxAlloc < need {
		return nil, s.Usagef("--ctx-alloc: want %d or more (--ctx-max, --gen-tokens and one more), got %d", need, o.ctxAlloc)
	}
	o.engine.Ctx, o.engine.Seqs = max(o.ctxAlloc, need), o.run.Batch
	if err := o.draft.resolve(o, s); err != nil {
		return nil, err
	}
	return o, o.engine.Resolve(s)
}

func measure(ctx context.Context, o *options, stdout, stderr *os.File) error {
	line := cli.NewLine(stderr)
	hooks := engine.Hooks{Progress: func(done, total int64) {
		line.Show("loading %s of %s", cli.Bytes(done), cli.Bytes(total))
	}}
	if o.ops {
		hooks.Wrap = func(b backend.Backend, _ model.Shape, _ model.Limits) (backend.Backend, error) {
			p := probe.Wrap(b)
			o.run.Timer = p.Time()
			return p, nil
		}
	}
	m, err := engine.Open(ctx, o.engine, hooks)
	line.Done("")
	if err != nil {
		return err
	}
	err = o.onModel(ctx, m, line, stdout, stderr)
	line.Done("")
	return errors.Join(err, m.Close())
}

func (o *options) onModel(ctx context.Context, m *engine.Model, line *cli.Line, stdout, stderr io.Writer) (err error) {
	if o.ops && m.Backend != "cpu" {
		return fmt.Errorf("--ops: want the CPU (--cpu), whose operations run one after another, got %s", m.Backend)
	}
	if o.run.Prompt, err = o.prompt(m); err != nil {
		return err
	}
	out := stdout
	if o.csv != "" {
		f, err := os.Create(o.csv)
		if err != nil {
			return fmt.Errorf("--csv: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = f
	}
	if o.measuresDrafts() {
		return o.measureDrafts(ctx, m, line, out, !o.json && o.csv == "")
	}
	o.run.Traffic = bench.NewTraffic(m.File(), m.Shape, synth.HasFixedRoute(m.File()))
	if m.Backend == "cpu" { // a GPU's memory is another one
		o.run.Ceiling = func(ctx context.Context) (float64, error) { return bench.ReadSpeed(ctx, o.engine.Threads) }
	}
	o.run.Progress = func(at, of int, doing string) { line.Show("%s, at %d of %d tokens", doing, at, of) }
	if !o.json && o.csv == "" { // rows as they come: a long run is looked at before its end
		_, _ = fmt.Fprintln(stdout, bench.CSVHeader())
		o.run.Row = func(r bench.Row) {
			line.Done("")
			_, _ = fmt.Fprintln(stdout, r.CSV())
			if o.ops {
				_, _ = fmt.Fprintf(stderr, "prefill of %d tokens\n%sdecoding of %d tokens\n%s",
					r.PrefillTokens, probe.Table(r.PrefillOps), r.GenTokens, probe.Table(r.GenOps))
			}
		}
	}
	report, err := bench.Run(ctx, m.Engine, o.run)
	if report == nil {
		return err
	}
	return errors.Join(err, o.write(ctx, m, report, out))
}

// write puts out what has not been yet, also of a run that ended early.
func (o *options) write(ctx context.Context, m *engine.Model, r *bench.Report, out io.Writer) error {
	var errs []error
	switch {
	case o.json:
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		errs = append(errs, enc.Encode(describe(ctx, o, m, r)))
	case o.csv != "":
		errs = append(errs, bench.WriteCSV(out, r.Rows))
	}
	if o.plot != "" {
		errs = append(errs, draw(o.plot, func(w io.Writer) error {
			return bench.WritePlot(w, fmt.Sprintf("%s on %s", m.Name, m.Backend), r.Rows)
		}))
	}
	return errors.Join(errs...)
}

func draw(path string, plot func(io.Writer) error) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("--plot: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return plot(f)
}
