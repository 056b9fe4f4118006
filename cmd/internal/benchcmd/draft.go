package benchcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/cmd/internal/machine"
	"github.com/ds4-go/ds4/modules/model/bench"
	"github.com/ds4-go/ds4/modules/model/draft"
)

// draftFlags are the command line of measuring guesses.
type draftFlags struct {
	kinds, depths, answerFile string
	verify                    int
	seconds                   float64
	run                       bench.DraftOptions
}

func (o *options) draftFlags(s *cli.Set) {
	s.Group("guessing ahead, behind the first context")
	s.String(&o.draft.kinds, "--draft", "LIST", "measure guesses: off, lookup, mtp, auto, or replay:P,… which guesses right with probability P")
	s.String(&o.draft.depths, "--draft-depths", "LIST", "numbers of guesses to try besides what the controller decides")
	s.Int(&o.draft.verify, "--draft-verify", "N", "time steps of 1 to N rows", 0, draft.Most+1)
	s.Float(&o.draft.seconds, "--draft-seconds", "F", "end a run of a fixed depth after so long (0: never)", 0, 3600)
	s.String(&o.draft.answerFile, "--answer-file", "FILE", "generate this text, whatever the model says")
	o.engine.MTPFlags(s)
}

// measuresDrafts says whether guesses are to be measured.
func (o *options) measuresDrafts() bool { return o.draft.kinds != "" || o.draft.verify > 0 }

// resolve reads the lists, and makes the engine fit.
func (d *draftFlags) resolve(o *options, s *cli.Set) error {
	o.engine.Draft = "off"
	if !o.measuresDrafts() {
		return nil
	}
	for _, kind := range strings.FieldsFunc(d.kinds, func(r rune) bool { return r == ',' }) {
		p, replay := strings.CutPrefix(kind, "replay:")
		switch v, err := strconv.ParseFloat(p, 64); {
		case kind == "off":
		case slices.Contains(engine.Drafts, kind):
			d.run.Named = append(d.run.Named, kind)
		case (replay || len(d.run.Probs) > 0) && err == nil && v >= 0 && v <= 1:
			d.run.Probs = append(d.run.Probs, v)
		default:
			return s.Usagef("--draft: want off, lookup, mtp, auto or replay:P with P from 0 to 1, got %q", kind)
		}
	}
	for _, text := range strings.FieldsFunc(d.depths, func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > draft.Most {
			return s.Usagef("--draft-depths: want numbers from 1 to %d, got %q", draft.Most, text)
		}
		d.run.Depths = append(d.run.Depths, n)
	}
	o.engine.Draft = "auto"
	if slices.Contains(d.run.Named, "mtp") && o.engine.MTP == "" && !o.engine.Demo {
		return s.Usagef("--draft mtp: want --mtp FILE as well")
	}
	d.run.Gen, d.run.Verify, d.run.Long = o.run.Gen, d.verify, time.Duration(d.seconds*float64(time.Second))
	d.run.Head = draft.Options{Head: o.engine.MTPDraft, Margin: float32(o.engine.MTPMargin)}
	o.run.Max = o.run.Start
	o.engine.Ctx, o.engine.Seqs = max(o.ctxAlloc, o.run.Start+o.run.Gen+draft.Most+2), 2 // pages of the prompt are copied by who goes on from it
	return nil
}

// measureDrafts is onModel for guesses.
func (o *options) measureDrafts(ctx context.Context, m *engine.Model, line *cli.Line, out io.Writer, rows bool) error {
	d := &o.draft
	d.run.Prompt = o.run.Prompt[:o.run.Start]
	if d.answerFile != "" {
		text, err := os.ReadFile(d.answerFile)
		if err != nil {
			return fmt.Errorf("--answer-file: %w", err)
		}
		d.run.Answer = m.Tokenizer.Encode(nil, string(text))
	}
	d.run.Progress = func(doing string) { line.Show("%s", doing) }
	if rows {
		_, _ = fmt.Fprintln(out, bench.DraftCSVHeader())
		d.run.Row = func(r bench.DraftRow) {
			line.Done("")
			_, _ = fmt.Fprintln(out, r.CSV())
		}
	}
	list, err := bench.RunDraft(ctx, m.Engine, d.run)
	switch {
	case o.json:
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		err = errors.Join(err, enc.Encode(DraftReport{Model: m.Name, Backend: m.Backend, Context: o.run.Start, Rows: list, Machine: machine.Look(ctx)}))
	case !rows:
		err = errors.Join(err, bench.WriteDraftCSV(out, list))
	}
	if o.plot != "" {
		err = errors.Join(err, draw(o.plot, func(w io.Writer) error {
			return bench.WriteDraftPlot(w, fmt.Sprintf("%s on %s, behind %d tokens", m.Name, m.Backend, o.run.Start), list)
		}))
	}
	return err
}

// DraftReport is what --json prints of guesses.
type DraftReport struct {
	Model   string           `json:"model"`
	Backend string           `json:"backend"`
	Context int              `json:"ctx_tokens"`
	Rows    []bench.DraftRow `json:"rows"`
	Machine machine.Info     `json:"machine"`
}
