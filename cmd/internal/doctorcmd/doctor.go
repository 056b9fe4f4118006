// Package doctorcmd is "ds4 doctor": what this machine has, which model file is here, whether the two fit, and what to
// type next.
package doctorcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/cmd/internal/machine"
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// q2Bytes is the smaller of the published model files: what a machine without one would have to hold.
const q2Bytes = 86_720_111_488

// GPU checks the kernels of a GPU, where the program has such a check.
type GPU func(ctx context.Context, args []string, stdout, stderr *os.File) int

// Command makes the command; gpu, if not nil, is what --gpu runs with the rest of the arguments.
func Command(gpu GPU) func(ctx context.Context, args []string, stdout, stderr *os.File) int {
	return func(ctx context.Context, args []string, stdout, stderr *os.File) int {
		if i := slices.IndexFunc(args, func(a string) bool { return a == "--gpu" || a == "-gpu" }); i >= 0 && gpu != nil {
			return gpu(ctx, slices.Delete(slices.Clone(args), i, i+1), stdout, stderr)
		}
		return cli.Exit(stderr, "ds4", run(ctx, args, stdout, gpu != nil))
	}
}

func run(ctx context.Context, args []string, stdout *os.File, gpu bool) error {
	c, asJSON, checkGPU := engine.Defaults(), false, false
	s := cli.New("ds4 doctor", "what this machine has, whether the model fits, what to type next", "ds4 doctor [flags]")
	s.String(&c.Model, "-m, --model", "FILE", "GGUF file to look for")
	s.Bool(&c.Demo, "--demo", "look at the demo model")
	s.Int(&c.Ctx, "-c, --ctx", "N", "context in tokens to plan for", 1, 1<<24)
	s.Bool(&asJSON, "--json", "print JSON")
	help := ""
	if gpu {
		help = "check every kernel on the GPU"
	}
	s.Bool(&checkGPU, "--gpu", help)
	rest, err := s.Parse(args, stdout)
	switch {
	case err != nil:
		return err
	case len(rest) > 0:
		return s.Usagef("unexpected argument %q", rest[0])
	case checkGPU:
		return errors.New("--gpu: this build has no GPU backend to check")
	}
	r := diagnose(c, machine.Look(ctx))
	if asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	return r.write(stdout)
}

// Report is what was found.
type Report struct {
	Machine  machine.Info `json:"machine"`
	Backends []string     `json:"backends"` // of this build, best first
	Devices  []string     `json:"devices"`  // what each GPU of the machine is good for
	NUMA     string       `json:"numa,omitempty"`
	Model    Model        `json:"model"`
	Next     []string     `json:"next"` // commands to type
}

// Model is the model file, or what is in its place.
type Model struct {
	Path    string `json:"path"`
	Found   bool   `json:"found"`
	Problem string `json:"problem,omitempty"`
	Name    string `json:"name,omitempty"`
	Demo    bool   `json:"demo"`
	Bytes   int64  `json:"bytes"`   // of the file
	Context int    `json:"context"` // tokens planned for
	Caches  int64  `json:"caches"`  // bytes of a full context
	Scratch int64  `json:"scratch"` // bytes of everything else that the engine takes
	Verdict string `json:"verdict"`
}

// diagnose puts machine and model together.
func diagnose(c engine.Config, info machine.Info) Report {
	r := Report{Machine: info, Backends: engine.Backends(), Model: look(c), NUMA: numa(nodeFolders)}
	m := &r.Model
	shape := backend.Flash()
	if m.Found && m.Problem == "" {
		if f, _, err := engine.OpenFile(c); err == nil {
			if s, err := model.ReadShape(f); err == nil {
				shape = s
			}
			_ = f.Close() // read only
		}
	}
	for _, u := range engine.Plan(c, shape) {
		if u.Name == "pages" {
			m.Caches = u.Bytes
		} else {
			m.Scratch += u.Bytes
		}
	}
	weights := m.Bytes
	if !m.Found || m.Problem != "" {
		weights = q2Bytes
	}
	fits := weights+m.Scratch+m.Caches <= info.MemoryBytes
	m.Verdict = verdict(weights, m.Scratch+m.Caches, info)
	for _, g := range info.GPUs {
		r.Devices = append(r.Devices, use(c, g, weights, shape))
	}
	r.Next = next(m, fits, info)
	return r
}

// look finds out about the file without reading its weights.
func look(c engine.Config) Model {
	m := Model{Path: c.Model, Demo: c.Demo, Context: c.Ctx}
	f, path, err := engine.OpenFile(c)
	m.Path = path
	if err != nil {
		_, statErr := os.Stat(path)
		m.Found, m.Problem = statErr == nil, cli.OneLine(err.Error())
		return m
	}
	defer func() { _ = f.Close() }()
	m.Found, m.Bytes = true, f.Size()
	m.Name, _ = f.String("general.name") // may be missing
	m.Demo, _ = synth.IsDemo(f)
	if p := problem(f); p != nil {
		m.Problem = strings.TrimPrefix(cli.OneLine(p.Error()), "model: ")
	}
	return m
}

func problem(f *gguf.File) error {
	s, err := model.ReadShape(f)
	if err != nil {
		return err
	}
	if bad := model.CheckFile(f, s); len(bad) > 0 {
		return bad[0]
	}
	return nil
}

// use says what a GPU is good for.
func use(c engine.Config, g machine.GPU, weights int64, s model.Shape) string {
	if !slices.Contains(engine.Backends(), g.API) {
		return "this build has no backend for it"
	}
	if g.FreeBytes > 0 {
		if known, err := engine.Fits(c, g.API, g.Name, g.FreeBytes, g.MemoryBytes, weights, s); err != nil {
			return "the model does not fit, so the CPU is used: " + strings.TrimPrefix(err.Error(), g.API+": "+g.Name+": ")
		} else if known {
			return "the model fits; used unless another device is named"
		}
	}
	return "used with --" + g.API
}

// verdict compares bytes wanted with bytes there. Weights are mapped, so a model that is larger than memory runs all the
// same, from the disk.
func verdict(weights, beside int64, info machine.Info) string {
	need := weights + beside
	sum := fmt.Sprintf("%s of weights + %s for the engine = %s", cli.Bytes(weights), cli.Bytes(beside), cli.Bytes(need))
	switch {
	case info.MemoryBytes == 0:
		return sum + "; this system does not say how much memory it has"
	case need > info.MemoryBytes:
		return sum + fmt.Sprintf(", and this machine has %s: weights would come from the disk again and again, very slowly", cli.Bytes(info.MemoryBytes))
	case info.FreeBytes > 0 && need > info.FreeBytes:
		return sum + fmt.Sprintf(": fits %s, but only %s are free now", cli.Bytes(info.MemoryBytes), cli.Bytes(info.FreeBytes))
	}
	return sum + fmt.Sprintf(": fits %s", cli.Bytes(info.MemoryBytes))
}

// next is what to type.
func next(m *Model, fits bool, info machine.Info) []string {
	target := ""
	if m.Path != engine.DefaultModel && !m.Demo {
		target = " -m " + m.Path
	}
	switch {
	case m.Found && m.Problem == "" && m.Demo:
		return []string{"ds4 demo"}
	case m.Found && m.Problem == "":
		return []string{fmt.Sprintf("ds4%s -p \"Explain Redis streams in one paragraph.\"", target), "ds4" + target}
	case m.Found:
		return []string{"ds4 inspect --check " + m.Path, "ds4 fetch q2", "ds4 demo"}
	}
	if part, _ := filepath.Glob(filepath.Join("gguf", "*.gguf.part")); len(part) > 0 {
		return []string{"ds4 fetch q2", "ds4 demo"} // goes on where the last one stopped
	}
	if !fits && info.MemoryBytes > 0 {
		return []string{"ds4 demo", "ds4 fetch q2"}
	}
	return []string{"ds4 fetch q2", "ds4 demo"}
}

func (r Report) write(w io.Writer) error {
	var b strings.Builder
	line := func(name, format string, a ...any) { fmt.Fprintf(&b, "%-9s %s\n", name, fmt.Sprintf(format, a...)) }
	i, m := r.Machine, r.Model
	cpu := i.CPU
	if cpu == "" {
		cpu = "unknown"
	}
	line("system", "%s/%s", i.OS, i.Arch)
	line("cpu", "%s, %d cores%s", cpu, i.Cores, prefixed(", ", strings.Join(i.SIMD, " ")))
	mem := "unknown"
	if i.MemoryBytes > 0 {
		mem = cli.Bytes(i.MemoryBytes)
	}
	if i.FreeBytes > 0 {
		mem += fmt.Sprintf(", %s free", cli.Bytes(i.FreeBytes))
	}
	line("memory", "%s", mem)
	if r.NUMA != "" {
		line("numa", "%s", r.NUMA)
	}
	for at, g := range i.GPUs {
		size := ""
		if g.MemoryBytes > 0 {
			size = ", " + cli.Bytes(g.MemoryBytes)
		}
		line("gpu", "%s (%s%s%s): %s", g.Name, g.API, size, prefixed(", driver ", g.Driver), r.Devices[at])
	}
	if len(i.GPUs) == 0 {
		line("gpu", "none found")
	}
	line("backends", "%s", strings.Join(r.Backends, ", "))
	switch {
	case !m.Found:
		line("model", "%s: not here", m.Path)
		line("would fit", "the smaller published model with a context of %d: %s", m.Context, m.Verdict)
	case m.Problem != "":
		if !strings.Contains(m.Problem, m.Path) {
			m.Problem = m.Path + ": " + m.Problem
		}
		line("model", "%s", m.Problem)
	default:
		line("model", "%s: %s", m.Path, m.Name)
		line("fits", "with a context of %d: %s", m.Context, m.Verdict)
	}
	for i, n := range r.Next {
		name := ""
		if i == 0 {
			name = "next"
		}
		line(name, "%s", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}
