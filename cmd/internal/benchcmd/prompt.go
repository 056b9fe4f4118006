package benchcmd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/cmd/internal/machine"
	"github.com/ds4-go/ds4/modules/model/bench"
	"github.com/ds4-go/ds4/modules/model/chat"
)

// prompt is the tokens to read, as many as the last context has.
func (o *options) prompt(m *engine.Model) ([]int32, error) {
	path := o.promptFile + o.chatFile // one of them, or none
	if path == "" {
		return random(m.Shape.Vocab, o.run.Max, o.seed), nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("prompt: %w", err)
	}
	var ids []int32
	if o.promptFile != "" {
		ids = m.Tokenizer.Encode(nil, string(text))
	} else {
		var msgs []chat.Message
		if o.system != "" {
			msgs = append(msgs, chat.Message{Role: chat.RoleSystem, Content: o.system})
		}
		msgs = append(msgs, chat.Message{Role: chat.RoleUser, Content: string(text)})
		segments, err := chat.Render(msgs, chat.Options{Checkpoint: m.Checkpoint, Thinking: chat.Off})
		if err != nil {
			return nil, err
		}
		ids, _ = chat.Tokens(m.Tokenizer, segments)
	}
	if len(ids) < o.run.Max {
		return nil, fmt.Errorf("%s: want %d tokens or more for --ctx-max, got %d; a smaller --ctx-max or a longer text fit", path, o.run.Max, len(ids))
	}
	return ids, nil
}

// random is n tokens, the same for one seed everywhere.
func random(vocab, n int, seed uint64) []int32 {
	r := rand.New(rand.NewPCG(seed, 0))
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(r.IntN(vocab))
	}
	return ids
}

// Report is what --json prints.
type Report struct {
	Model   string `json:"model"`
	Path    string `json:"path"`
	Bytes   int64  `json:"bytes"` // of the file
	Backend string `json:"backend"`
	Threads int    `json:"threads,omitempty"` // 0: all cores
	Chunk   int    `json:"chunk"`             // tokens of a prefill step
	bench.Report
	Machine machine.Info `json:"machine"`
}

func describe(ctx context.Context, o *options, m *engine.Model, r *bench.Report) Report {
	return Report{Model: m.Name, Path: m.Path, Bytes: m.File().Size(), Backend: m.Backend, Threads: o.engine.Threads,
		Chunk: m.Limits().Rows, Report: *r, Machine: machine.Look(ctx)}
}
