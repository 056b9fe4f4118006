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
	s := cli.New("ds4 demo-model", "write the demo model to a file", "ds4 demo-model FILE")
	s.Note("A GGUF file of 12 MB with every kind of layer and tensor that DeepSeek V4 Flash has, trained on the project's own\n" +
		"text: it answers, thinks, calls tools, and is often wrong. \"ds4 --demo\" uses it by itself.")
	rest, err := s.Parse(args, stdout)
	if err == nil && len(rest) != 1 {
		err = s.Usagef("want one file name, got %d", len(rest))
	}
	if err == nil {
		err = write(rest[0], stderr)
	}
	return cli.Exit(stderr, "ds4", err)
}

func write(path string, stderr *os.File) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("%s: want a file name, got a directory", path)
	}
	if err := engine.WriteDemo(path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(stderr, "ds4: wrote %s, %s. Next: ds4 -m %s\n", path, cli.Bytes(info.Size()), path)
	return nil
}
