// Command dump runs tokens through a model on the CPU and writes the residual streams after every half layer, so that
// compare.py can hold them against the PyTorch graph.
//
//	go run ./demo-model/dump MODEL IDS.json OUT
//
// OUT is float32, little-endian: for every layer the attention half, then the FFN half, each (tokens, 4, D); then logits
// of the last token.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend/cpu"
	"github.com/ds4-go/ds4/modules/model/backend/probe"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "dump:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return errors.New("want a model, a JSON array of ids and a file to write")
	}
	text, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	var ids []int32
	if err := json.Unmarshal(text, &ids); err != nil {
		return err
	}
	f, err := gguf.Open(args[0])
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	sh, err := model.ReadShape(f)
	if err != nil {
		return err
	}
	n := len(ids)
	lim := model.Limits{CtxTokens: n + 16, Seqs: 1, Slots: 1 + model.SpareSlots, Rows: n, Outs: 1, Tops: 1}
	b, err := cpu.New(sh, lim, cpu.Options{})
	if err != nil {
		return err
	}
	p := probe.Wrap(b)
	w, err := model.Load(f, sh, p, nil)
	if err != nil {
		return err
	}
	e, err := model.New(p, w, sh, lim, model.Options{})
	if err != nil {
		return err
	}
	out, err := os.Create(args[2])
	if err != nil {
		return err
	}
	p.Dump(func() int { return n }, func() int { return 1 }, func(c probe.Call, name string, _ int, data []byte) {
		if err == nil && (c.Op == "hc_post" && name == "hc" || c.Op == "logits") {
			_, err = out.Write(data)
		}
	})
	q, qerr := e.NewSeq()
	if qerr != nil {
		return qerr
	}
	rerr := e.Run(context.Background(), []model.Job{{Seq: q, Tokens: ids, Wants: []model.Want{{Row: n - 1}}}})
	return errors.Join(rerr, err, out.Close())
}
