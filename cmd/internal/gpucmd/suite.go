package gpucmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/backend/backendtest"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// suiteFlag makes this program run the conformance suite and nothing else.
const suiteFlag = "--conformance-suite"

// worstPrefix starts the lines by which the suite's process tells of errors.
const worstPrefix = "worst: "

func probeShape() backend.Shape { return synth.T1().Shape }

// operations are in the order of the layer.
var operations = []string{"embed", "hc_pre", "attn_qkv", "compress", "index_topk", "attend", "attn_out", "hc_post", "route", "experts",
	"shared_expert", "hc_head", "logits", "top", "draft_join"}

// suiteMain runs the suite as the testing package does; it ends the process.
func suiteMain(args []string) {
	name, quick := "", false
	for _, a := range args {
		if a == "--quick" {
			quick = true
		} else if v, ok := strings.CutPrefix(a, "--library="); ok {
			library = v
		} else if v, ok := strings.CutPrefix(a, "--ops="); ok {
			only = v
		} else {
			name = a
		}
	}
	i := slices.IndexFunc(devices, func(d device) bool { return d.name == name })
	if i < 0 {
		fmt.Fprintf(os.Stderr, "ds4: %s: no such device\n", name)
		os.Exit(2)
	}
	os.Args = []string{os.Args[0], "-test.v=true", "-test.timeout=0"}
	testing.Main(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "GPU", F: func(t *testing.T) { suite(t, devices[i], quick) }}}, nil, nil)
}

func suite(t *testing.T, d device, quick bool) {
	c := backendtest.Config{New: d.open,
		Bound: func(op string, _ int) float64 { return d.bound[op] },
		Report: func(model, op, output string, rows int, worst float64) {
			fmt.Printf("\n%s%s %s %s %d %g\n", worstPrefix, model, op, output, rows, worst)
		}}
	c.Models, c.Rows = []synth.Tiny{synth.T1(), synth.T1Q4(), synth.T1MXFP4()}, []int{1, 2, 17, 33, 130}
	if only != "" {
		c.Ops = strings.Split(only, ",")
	}
	if quick {
		c.Models, c.Rows = c.Models[:1], []int{1, 17}
	}
	backendtest.Run(t, c)
	if !quick { // the real heads, window and indexer
		c.Models, c.Rows = []synth.Tiny{synth.T2()}, []int{1, 17}
		backendtest.Run(t, c)
	}
}

// outcome is what the suite said of one operation.
type outcome struct {
	worst  float64
	where  string   // model, output and rows of the worst error
	cases  int      // outputs compared
	passed int      // cases that passed: all there is of compress, whose state is compared without a number
	failed []string // cases that failed, and why
}

// conformance runs the suite in a process of its own and prints a table. It returns the operations that failed.
func conformance(ctx context.Context, p *printer, d device, quick bool) ([]string, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("gpu: %w", err)
	}
	args := []string{"doctor", "--gpu", suiteFlag, d.name}
	if quick {
		args = append(args, "--quick")
	}
	if library != "" {
		args = append(args, "--library="+library)
	}
	if only != "" {
		args = append(args, "--ops="+only)
	}
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env = append(os.Environ(), suiteEnv+"=1")
	cmd.Stderr = nil
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("gpu: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("gpu: %w", err)
	}
	found, tail := readSuite(bufio.NewScanner(out))
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, fmt.Errorf("gpu: %w", err)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	failed := printSuite(p, found)
	if err != nil && (len(failed) == 0 || missing(found)) { // it died, or could not begin
		p.line("suite", "ended early: %v\n%s\n", err, strings.Join(tail, "\n"))
		if len(failed) == 0 {
			failed = append(failed, "the suite ended early")
		}
	}
	return failed, nil
}

// missing says that some operation was never reached.
func missing(found map[string]*outcome) bool {
	return slices.ContainsFunc(operations, func(op string) bool { return found[op] == nil })
}

// suiteEnv tells tests of this package that their binary is the suite's process.
const suiteEnv = "DS4_GPU_SUITE"

// readSuite collects what the suite's process prints: worst errors, and the cases that failed with what they said before.
func readSuite(s *bufio.Scanner) (map[string]*outcome, []string) {
	found := map[string]*outcome{}
	of := func(op string) *outcome {
		if found[op] == nil {
			found[op] = &outcome{}
		}
		return found[op]
	}
	var tail []string
	said := map[string]string{} // by case
	running := ""
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line := s.Text()
		text := strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(text, worstPrefix); ok {
			var model, op, output string
			var rows int
			var worst float64
			if f := strings.Fields(rest); len(f) == 5 {
				model, op, output = f[0], f[1], f[2]
				rows, _ = strconv.Atoi(f[3])
				worst, _ = strconv.ParseFloat(f[4], 64)
				o := of(op)
				o.cases++
				if worst >= o.worst {
					o.worst, o.where = worst, fmt.Sprintf("%s, %d rows, %s", output, rows, model)
				}
			}
			continue
		}
		if text != "" {
			tail = append(tail, text)
			tail = tail[max(0, len(tail)-12):]
		}
		switch f := strings.Fields(text); {
		case strings.HasPrefix(text, "=== RUN") && len(f) == 3:
			running = f[2]
		case strings.HasPrefix(text, "--- PASS:") && len(f) > 2 && strings.Count(f[2], "/") > 2:
			of(strings.Split(f[2], "/")[2]).passed++
		case strings.HasPrefix(text, "--- FAIL:") && len(f) > 2:
			if part := strings.Split(f[2], "/"); len(part) > 3 { // GPU/model/op/rows=…
				o := of(part[2])
				o.failed = append(o.failed, strings.Join(append(part[1:2:2], part[3:]...), " ")+": "+said[f[2]])
			}
		case strings.Contains(text, ".go:"):
			_, msg, _ := strings.Cut(text, ": ")
			said[running] = msg
		}
	}
	return found, tail
}

// printSuite prints one line for each operation and returns those that failed.
func printSuite(p *printer, found map[string]*outcome) []string {
	var failed []string
	p.raw("\n%-14s %-6s %6s  %-9s %s\n", "operation", "result", "cases", "error", "where")
	for _, op := range operations {
		o := found[op]
		switch {
		case o == nil:
			p.raw("%-14s %-6s\n", op, "not run")
			failed = append(failed, op)
		case len(o.failed) > 0:
			failed = append(failed, op)
			p.raw("%-14s %-6s %6d  %-9.2g %s\n", op, "FAIL", o.cases, o.worst, o.where)
			for _, f := range o.failed[:min(4, len(o.failed))] {
				p.raw("    %s\n", f)
			}
		default:
			p.raw("%-14s %-6s %6d  %-9.2g %s\n", op, "pass", max(o.cases, o.passed), o.worst, o.where)
		}
	}
	p.raw("\n")
	return failed
}
