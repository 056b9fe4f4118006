// Command export turns a checkpoint of tools/demo-model into the demo model's GGUF files.
//
//	go run ./demo-model/export [--layout q2|q4] [--imatrix FILE] [--mtp FILE] CHECKPOINT-DIR FILE
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/ds4-go/ds4/modules/gguf"
)

func main() {
	layout := flag.String("layout", "q4", "types of the routed experts: q2 (iq2_xxs, q2_k) or q4 (q4_k)")
	mtp := flag.String("mtp", "", "also write the draft block to this file")
	imatrix := flag.String("imatrix", "", "importance matrix, from ds4 --imatrix-out")
	name := flag.String("name", "ds4 demo", "general.name")
	flag.Parse()
	if err := run(*layout, *imatrix, *mtp, *name, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "export:", err)
		os.Exit(1)
	}
}

func run(layout, imatrix, mtp, name string, args []string) error {
	if len(args) != 2 {
		return errors.New("want a checkpoint folder and a file to write")
	}
	e, ok := layouts[layout]
	if !ok {
		return fmt.Errorf("--layout: want q2 or q4, got %q", layout)
	}
	c, err := readCheckpoint(args[0])
	if err != nil {
		return err
	}
	if imatrix != "" {
		if err := c.readImportance(imatrix); err != nil {
			return fmt.Errorf("--imatrix: %w", err)
		}
	}
	if err := c.writeBase(args[1], name, e); err != nil {
		return err
	}
	if mtp == "" {
		return nil
	}
	return c.writeDraft(mtp, name, e)
}

func (c *checkpoint) readImportance(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	list, err := gguf.ReadImportance(f)
	if err != nil {
		return err
	}
	c.importance = map[string][]float32{}
	for _, e := range list {
		if _, ok := c.arrays[e.Name]; !ok {
			return fmt.Errorf("%s: not in the checkpoint", e.Name)
		}
		c.importance[e.Name] = e.Values
	}
	return nil
}
