//go:build linux && amd64 && !cpuonly

package gpucmd

import (
	"bufio"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ds4-go/ds4/cmd/internal/machine"
	"github.com/ds4-go/ds4/modules/metal/standin"
	"github.com/ds4-go/ds4/modules/model/synth"
)

// TestMain is the suite's process where the report starts one.
func TestMain(m *testing.M) {
	if i := slices.Index(os.Args, suiteFlag); i > 0 && os.Getenv(suiteEnv) != "" {
		os.Exit(Main(context.Background(), os.Args[i:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func useStandin(t *testing.T) {
	t.Helper()
	path, err := standin.Build()
	if errors.Is(err, standin.ErrNoCompiler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	library = path
	t.Cleanup(func() { library = "" })
}

// TestReport runs the whole check on the stand-in.
func TestReport(t *testing.T) {
	if testing.Short() {
		t.Skip("a minute")
	}
	useStandin(t)
	var b strings.Builder
	if err := Report(context.Background(), &b, Options{Device: "metal", Quick: true}); err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	out := b.String()
	for _, op := range operations {
		if !strings.Contains(out, "\n"+op+" ") {
			t.Errorf("no line of %s", op)
		}
	}
	if strings.Contains(out, "FAIL") || strings.Contains(out, "not run") || !strings.Contains(out, "every operation passed") {
		t.Errorf("the report:\n%s", out)
	}
}

// TestHeadings: the report has chip, system, memory and bandwidth, whatever comes of the suite, and ends with what to do. Kernels that
// give wrong results, that read out of bounds, and that do not compile, in the suite's process or already here, are reported.
func TestHeadings(t *testing.T) {
	useStandin(t)
	only = "hc_post"
	t.Cleanup(func() { only = "" })
	const line = "float v = y * mix[4 + t];"
	for _, c := range []struct {
		what, to string
		here     bool
		say      []string
	}{
		{"wrong results", "float v = y * mix[5 - t];", false, []string{"gpu       stand-in (Apple family 7)", "\nhc_post        FAIL", "want an error of at most", "failed: "}},
		{"out of bounds", "float v = y * mix[-1100];", false, []string{"gpu       stand-in", "\nhc_post        FAIL", "hc_post: read at"}},
		{"no MSL", "double v = y * mix[4 + t];", false, []string{"gpu       stand-in", "not run", "ended early", "double"}},
		{"no MSL here", "double v = y * mix[4 + t];", true, []string{"none that this build can use: metal: kernels", "double"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			if c.here {
				if err := standin.Plant(line, c.to); err != nil {
					t.Fatal(err)
				}
				defer func() { _ = standin.Plant("", "") }()
			} else {
				t.Setenv(standin.PlantEnv(line, c.to))
			}
			var b strings.Builder
			if err := Report(context.Background(), &b, Options{Device: "metal", Quick: true}); err == nil {
				t.Error("no error")
			}
			for _, s := range append(c.say, "system    linux/amd64", "cpu       ", "\ndo        use --cpu") {
				if !strings.Contains(b.String(), s) {
					t.Errorf("the report does not say %q:\n%s", s, b.String())
				}
			}
			if !c.here && !strings.Contains(b.String(), "GB/s read by the GPU") {
				t.Errorf("the report does not say the bandwidth:\n%s", b.String())
			}
		})
	}
}

// TestTimings runs every timing at a small model's widths.
func TestTimings(t *testing.T) {
	useStandin(t)
	sh := synth.T1().Shape
	var b strings.Builder
	p := &printer{w: &b}
	if err := timings(context.Background(), p, devices[0], sh, 2, 100, machine.Info{}); err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{"attn_qkv", "experts", "compress, 128", "logits"} {
		if !strings.Contains(b.String(), op) {
			t.Errorf("no line of %s:\n%s", op, b.String())
		}
	}
	if err := timings(context.Background(), p, devices[0], sh, 2, 100, machine.Info{MemoryBytes: 1 << 30}); err == nil {
		t.Error("a machine of 1 GiB: want an error")
	}
}

func TestReadSuite(t *testing.T) {
	found, tail := readSuite(bufio.NewScanner(strings.NewReader(`
=== RUN   GPU/T1/attend/rows=2/layer=3
worst: T1 attend o 2 1e-06
    run.go:106: o, row 1: want an error of at most 3e-05, got 0.5
worst: T1 embed hc 2 0
--- FAIL: GPU (1.00s)
    --- FAIL: GPU/T1 (1.00s)
        --- FAIL: GPU/T1/attend (1.00s)
            --- FAIL: GPU/T1/attend/rows=2/layer=3 (0.10s)
panic: lost
`)))
	a := found["attend"]
	if a == nil || len(a.failed) != 1 || !strings.Contains(a.failed[0], "rows=2 layer=3: o, row 1: want") || a.worst != 1e-6 || found["embed"].cases != 1 {
		t.Errorf("attend: %+v, all: %+v", a, found)
	}
	if tail[len(tail)-1] != "panic: lost" {
		t.Errorf("tail: %q", tail)
	}
	var b strings.Builder
	failed := printSuite(&printer{w: &b}, found)
	if !slices.Contains(failed, "attend") || slices.Contains(failed, "embed") || !slices.Contains(failed, "top") {
		t.Errorf("failed: %v\n%s", failed, b.String())
	}
}

func TestUsage(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	if code := Main(context.Background(), []string{"--frobnicate"}, null, null); code != 2 {
		t.Errorf("want exit code 2, got %d", code)
	}
	if code := Main(context.Background(), []string{"--backend", "abacus"}, null, null); code != 1 {
		t.Errorf("want exit code 1, got %d", code)
	}
}
