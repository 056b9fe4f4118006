package inspectcmd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/gguf"
)

// Main is the command.
func Main(_ context.Context, args []string, stdout, stderr *os.File) int {
	return cli.Exit(stderr, "ds4", run(args, stdout))
}

func run(args []string, stdout *os.File) error {
	var asJSON, check, all bool
	c := engine.Defaults()
	s := cli.New("ds4 inspect", "show what is in a model file, and check it", "ds4 inspect FILE [flags]")
	s.Bool(&check, "--check", "check layout, types and sizes against DeepSeek V4 Flash; exit code 1 if something is wrong")
	s.Bool(&asJSON, "--json", "print JSON")
	s.Bool(&all, "--all", "list every tensor, not one line for a kind")
	s.String(&c.Model, "-m, --model", "FILE", "the same as FILE")
	s.Bool(&c.Demo, "--demo", "look at the demo model")
	s.Note("The weights may be missing or incomplete, unless --check is given.")
	rest, err := s.Parse(args, stdout)
	switch {
	case err != nil:
		return err
	case len(rest) > 1:
		return s.Usagef("want one file, got %d", len(rest))
	case len(rest) == 1 && (c.Demo || s.Given("model")):
		return s.Usagef("want one file, got %s as well", rest[0])
	case len(rest) == 1:
		c.Model = rest[0]
	}
	f, path, err := engine.OpenFile(c, gguf.HeaderOnly(), gguf.AllowScalars())
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var found *findings
	if check {
		if found, err = examine(c); err != nil {
			return err
		}
	}
	w := bufio.NewWriter(stdout)
	switch {
	case asJSON:
		err = writeJSON(w, f, path, found)
	case check:
		found.write(w, path)
	default:
		writeTable(w, f, path, all)
	}
	if e := w.Flush(); err == nil {
		err = e
	}
	if err == nil && found != nil && len(found.Problems) > 0 {
		return cli.Silent(1)
	}
	return err
}

// Summary prints what ds4 --inspect does.
func Summary(stdout io.Writer, c engine.Config) error {
	f, path, err := engine.OpenFile(c, gguf.HeaderOnly())
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	w := bufio.NewWriter(stdout)
	overview(w, f, path)
	return w.Flush()
}

// missing is the number of bytes of weights that the file should have and has not.
func missing(f *gguf.File) int64 {
	end := f.DataOffset()
	for t := range f.Tensors() {
		end = max(end, t.FileOffset()+int64(t.Bytes))
	}
	return max(0, end-f.Size())
}

func label(w io.Writer, name, format string, a ...any) {
	_, _ = fmt.Fprintf(w, "%-12s %s\n", name, fmt.Sprintf(format, a...)) // a bufio.Writer keeps its error for Flush
}
