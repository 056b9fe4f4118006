// Package democmd is "ds4 demo-model": it writes the demo model to a file.
package democmd

import (
	"context"
	"fmt"
	"os"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/engine"
)

// Main is the command.
func Main(_ context.Context, args []string, stdout, stderr *os.File) int {
	s := cli.New("ds4 demo-model", "write the demo model to a file", "ds4 demo-model FILE [--mtp FILE]")
	var head string
	s.String(&head, "--mtp", "FILE", "also write its draft head, 1.6 MB")
	s.Note("A GGUF file of 12 MB with every kind of layer and tensor that DeepSeek V4 Flash has, trained on the project's own\n" +
		"text: it answers, thinks, calls tools, and is often wrong. \"ds4 --demo\" uses it by itself.")
	rest, err := s.Parse(args, stdout)
	if err == nil && len(rest) != 1 {
		err = s.Usagef("want one file name, got %d", len(rest))
	}
	if err == nil {
		err = write(rest[0], head, stderr)
	}
	return cli.Exit(stderr, "ds4", err)
}

func write(path, head string, stderr *os.File) error {
	next := "ds4 -m " + path
	if err := writeOne(path, engine.WriteDemo, stderr); err != nil {
		return err
	}
	if head != "" {
		if err := writeOne(head, engine.WriteDemoDraft, stderr); err != nil {
			return err
		}
		next += " --mtp " + head
	}
	_, _ = fmt.Fprintf(stderr, "ds4: next: %s\n", next)
	return nil
}

func writeOne(path string, put func(string) error, stderr *os.File) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("%s: want a file name, got a directory", path)
	}
	if err := put(path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(stderr, "ds4: wrote %s, %s\n", path, cli.Bytes(info.Size()))
	return nil
}
