// Command evaluate lets a model answer held-out conversations in our CPU engine and scores what it wrote. Every answer is
// generated greedily behind the true history, in the prompt that a server would make of the request.
//
//	python3 demo-model/data.py > held-out.jsonl
//	go run ./demo-model/evaluate [-model FILE] [-sets chat,tools,sums,keys] [-wrong FILE] held-out.jsonl
//	go run ./demo-model/evaluate [-model FILE] -vectors ../modules/model/demo/testdata/vectors.json
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

type options struct {
	model, sets, wrong, vectors string
}

func main() {
	var o options
	flag.StringVar(&o.model, "model", "", "GGUF file (the demo model of this build)")
	flag.StringVar(&o.sets, "sets", "chat,tools,sums,keys", "which conversations")
	flag.StringVar(&o.wrong, "wrong", "", "write wrong answers to this file")
	flag.StringVar(&o.vectors, "vectors", "", "compare log-probabilities with the float model's instead")
	flag.Parse()
	if err := o.run(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "evaluate:", err)
		os.Exit(1)
	}
}

func (o options) run(args []string) error {
	r, err := open(o.model)
	if err != nil {
		return err
	}
	if o.vectors != "" {
		return r.compare(context.Background(), o.vectors, os.Stdout)
	}
	if len(args) != 1 {
		return errors.New("want one file of conversations")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	all, err := readConversations(bytes.NewReader(text))
	if err != nil {
		return err
	}
	var list []*conversation
	for _, c := range all {
		if slices.Contains(strings.Split(o.sets, ","), c.Set) {
			list = append(list, c)
		}
	}
	var fails io.Writer
	if o.wrong != "" {
		f, err := os.Create(o.wrong)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		fails = f
	}
	s := newScores(fails)
	if err := r.run(context.Background(), list, s); err != nil {
		return err
	}
	s.report(os.Stdout)
	return nil
}
