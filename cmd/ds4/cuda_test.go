//go:build linux && amd64 && !cpuonly

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ds4-go/ds4/modules/model/backend/cuda/sim"
)

// simulated makes the processes of a test find the stand-in for a card; it returns the file where that tells what a process
// left behind.
func simulated(t *testing.T, env ...string) string {
	t.Helper()
	path, err := sim.Build()
	if errors.Is(err, sim.ErrNoCompiler) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "report")
	t.Setenv("DS4_CUDA_LIBRARY", path)
	t.Setenv("DS4_CUDASIM_REPORT", report)
	t.Setenv("DS4_LOCK_FILE", filepath.Join(t.TempDir(), "lock")) // other tests may use a card as well
	for _, e := range env {
		k, v, _ := strings.Cut(e, "=")
		t.Setenv(k, v)
	}
	return report
}

// clean wants the stand-in to say that everything was given back; used says whether it was used at all.
func clean(t *testing.T, report string, used bool) {
	t.Helper()
	p, err := os.ReadFile(report)
	if used == errors.Is(err, os.ErrNotExist) {
		t.Errorf("the card was used: want %v, got %q, %v", used, p, err)
	}
	for line := range strings.Lines(string(p)) {
		if line != "context given back: live 0\n" {
			t.Errorf("want a clean card, got %q", line)
		}
	}
}

var greedy = []string{"--demo", "-sys", "", "-p", "the river", "--temp", "0", "-n", "4"}

// TestCUDA: a card is used where there is one, and says what the CPU says.
func TestCUDA(t *testing.T) {
	report := simulated(t)
	want := ds4(t, t.TempDir(), "", append(greedy, "--cpu")...)
	clean(t, report, false)
	for _, flags := range [][]string{{"--cuda"}, {"--backend", "cuda"}, nil} {
		r := ds4(t, t.TempDir(), "", append(greedy, flags...)...)
		if r.code != 0 || r.out != want.out {
			t.Errorf("%q: want code 0 and %q, got %d, %q and\n%s", flags, want.out, r.code, r.out, r.errOut)
		}
		clean(t, report, true)
		_ = os.Remove(report) // an error shows in the next round
	}
}

// TestCUDARefuses: where the model does not fit, --cuda says what would, and without a flag the CPU is taken, with a warning.
// A library that is not there is no card.
func TestCUDARefuses(t *testing.T) {
	report := simulated(t, "DS4_CUDASIM_FREE=807000000")
	r := ds4(t, t.TempDir(), "", append(greedy, "--cuda", "-c", "1000000")...)
	if r.code != 1 || r.out != "" || !strings.Contains(r.errOut, "ds4: cuda: simulated device: want ") || !strings.Contains(r.errOut, "fit") {
		t.Errorf("want a refusal, got code %d, %q and\n%s", r.code, r.out, r.errOut)
	}
	clean(t, report, true)
	r = ds4(t, t.TempDir(), "", append(greedy, "-c", "1000000")...)
	if r.code != 0 || r.out == "" || !strings.Contains(r.errOut, "trying the CPU") {
		t.Errorf("want the CPU's answer and a warning, got code %d, %q and\n%s", r.code, r.out, r.errOut)
	}
	t.Setenv("DS4_CUDA_LIBRARY", "/nowhere/libcuda.so.1")
	if r := ds4(t, t.TempDir(), "", append(greedy, "--cuda")...); r.code != 1 || !strings.Contains(r.errOut, "no CUDA driver") {
		t.Errorf("want an error about the driver, got code %d and\n%s", r.code, r.errOut)
	}
	if r := ds4(t, t.TempDir(), "", greedy...); r.code != 0 || strings.Contains(r.errOut, "CUDA") {
		t.Errorf("want the CPU's answer and no word on CUDA, got code %d and\n%s", r.code, r.errOut)
	}
}

// TestCUDAFaults: a kernel that faults ends the program with one line that names it, and code 1.
func TestCUDAFaults(t *testing.T) {
	simulated(t, "DS4_CUDASIM_FAULT=attend_tiles:9:700")
	r := ds4(t, t.TempDir(), "", append(greedy, "--cuda")...)
	if r.code != 1 || !strings.Contains(r.errOut, "device lost") || strings.Contains(r.errOut, "goroutine") {
		t.Errorf("want code 1 and a lost device, got %d and\n%s", r.code, r.errOut)
	}
	t.Setenv("DS4_CUDA_SERIAL", "1")
	r = ds4(t, t.TempDir(), "", append(greedy, "--cuda")...)
	if r.code != 1 || !strings.Contains(r.errOut, "attend, layer ") {
		t.Errorf("DS4_CUDA_SERIAL: want the operation and its layer, got %d and\n%s", r.code, r.errOut)
	}
}

// TestCUDAInterrupted: the first interrupt stops an answer, and the card is left clean. Until then no other program has it,
// unless it is told to.
func TestCUDAInterrupted(t *testing.T) {
	report := simulated(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "--demo", "--cuda", "-p", "the river", "-n", "3000")
	var errOut bytes.Buffer
	cmd.Env, cmd.Stderr, cmd.WaitDelay = home(t), &errOut, time.Minute
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	if _, err := r.ReadByte(); err != nil { // the answer has begun
		t.Fatalf("%v: %s", err, errOut.String())
	}
	signal := func(s syscall.Signal) {
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP) // it would take all processors
	for _, flags := range [][]string{{"--cuda"}, nil} {
		want := fmt.Sprintf("the GPU is in use by process %d, ", cmd.Process.Pid)
		if r := ds4(t, t.TempDir(), "", append(greedy, flags...)...); r.code != 1 || !strings.Contains(r.errOut, want) {
			t.Errorf("%q beside it: want code 1 and %q, got %d and\n%s", flags, want, r.code, r.errOut)
		}
	}
	if r := ds4(t, t.TempDir(), "", append(greedy, "--cpu")...); r.code != 0 {
		t.Errorf("--cpu beside it: want code 0, got %d and\n%s", r.code, r.errOut)
	}
	signal(syscall.SIGCONT)
	signal(syscall.SIGINT)
	for err == nil {
		_, err = r.ReadByte()
	}
	_ = cmd.Wait() // whatever code an interrupted answer has
	clean(t, report, true)
	if r := ds4(t, t.TempDir(), "", append(greedy, "--cuda")...); r.code != 0 {
		t.Errorf("after it: want code 0, got %d and\n%s", r.code, r.errOut)
	}
}
