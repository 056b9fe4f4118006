// Command fuzzall runs every native fuzz target of the workspace, one after another.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

var target = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)

func main() {
	spend := flag.String("time", "10s", "how long each target runs")
	only := flag.String("only", "", "run only targets whose folder or name contains this")
	flag.Parse()
	if err := run(*spend, *only); err != nil {
		fmt.Fprintln(os.Stderr, "fuzzall:", err)
		os.Exit(1)
	}
}

func run(spend, only string) error {
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", "work").Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	var failed []error
	for dir := range strings.FieldsSeq(string(out)) {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil {
			return err
		}
		for _, f := range files {
			src, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			for _, m := range target.FindAllSubmatch(src, -1) {
				if name := string(m[1]); strings.Contains(dir+"."+name, only) {
					failed = append(failed, fuzz(dir, name, spend))
				}
			}
		}
	}
	return errors.Join(failed...)
}

// fuzz shows one line per target, and everything where it fails.
func fuzz(dir, name, spend string) error {
	c := exec.Command("go", "test", "-run", "^$", "-fuzz", "^"+name+"$", "-fuzztime", spend, "-fuzzminimizetime", "5x", ".")
	c.Dir = dir
	out, err := c.CombinedOutput()
	// At its deadline the fuzzer now and then reports the deadline itself as the failure; a real one leaves an input.
	if err != nil {
		if bytes.Contains(out, []byte("context deadline exceeded")) && !bytes.Contains(out, []byte("Failing input")) {
			fmt.Printf("%s.%s: stopped at its deadline, nothing found\n", filepath.Base(dir), name)
			return nil
		}
		return fmt.Errorf("%s.%s: %w\n%s", dir, name, err, out)
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	fmt.Printf("%s.%s: %s\n", filepath.Base(dir), name, lines[len(lines)-1])
	return nil
}
