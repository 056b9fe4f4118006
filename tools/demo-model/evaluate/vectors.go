package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/ds4-go/ds4/modules/model"
)

// vector is a held-out conversation with the float model's log-probabilities, as train.py writes them.
type vector struct {
	IDs      []int32   `json:"ids"`
	Spans    [][3]any  `json:"spans"` // start, end, skill of every answer
	Logprobs []float64 `json:"logprobs"`
}

// compare prints what the answers' tokens cost the float model and the engine's, in nats.
func (r *runner) compare(ctx context.Context, path string, w io.Writer) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var vectors []vector
	if err := json.Unmarshal(text, &vectors); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var float, engine, abs float64
	n := 0
	for _, v := range vectors {
		got, err := r.logprobs(ctx, v.IDs)
		if err != nil {
			return err
		}
		for _, s := range v.Spans {
			start, _ := s[0].(float64)
			end, _ := s[1].(float64)
			for i := int(start) - 1; i < int(end)-1; i++ {
				float, engine, abs, n = float-v.Logprobs[i], engine-got[i], abs+math.Abs(got[i]-v.Logprobs[i]), n+1
			}
		}
	}
	k := float64(max(n, 1))
	_, err = fmt.Fprintf(w, "%d tokens of answers: float %.4f nats, engine %.4f, mean absolute difference %.4f\n", n, float/k, engine/k, abs/k)
	return err
}

// logprobs are the log-probabilities of every next token.
func (r *runner) logprobs(ctx context.Context, ids []int32) (out []float64, err error) {
	q, err := r.e.NewSeq()
	if err != nil {
		return nil, err
	}
	defer q.Free()
	var row []float32
	for at := 0; at < len(ids); at += rows {
		jobs := []model.Job{{Seq: q, Tokens: ids[at:min(at+rows, len(ids))]}}
		for i := range jobs[0].Tokens {
			jobs[0].Wants = append(jobs[0].Wants, model.Want{Row: i})
		}
		if err := r.e.Run(ctx, jobs); err != nil {
			return nil, err
		}
		for i := range jobs[0].Tokens {
			if at+i+1 < len(ids) {
				row = jobs[0].Logits(row[:0], i)
				out = append(out, float64(row[ids[at+i+1]])-jobs[0].Top(i).LogSumRaw())
			}
		}
		jobs[0].Keep(len(jobs[0].Tokens))
	}
	return out, nil
}
