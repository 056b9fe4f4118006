package vectorscmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

// What agreement means.
const (
	topK       = 20 // a wanted token must be among the local best so many
	maxLogDiff = 4.0
)

// skipped is the case in which the hosted model and the public weights disagree.
const skipped = "long_memory_archive"

const maxPrompt = 16 << 20

type options struct {
	engine.Config
	prompts string
	only    string
	all     bool
	asJSON  bool
	dry     bool
}

// Main is the command.
func Main(ctx context.Context, args []string, stdout, stderr *os.File) int {
	o := &options{Config: engine.Defaults()}
	s := cli.New("ds4 vectors", "compare with log-probabilities of the original model", "ds4 vectors FILE.vec [flags]")
	s.String(&o.prompts, "--prompts", "DIR", "where the prompt files are (beside FILE.vec)")
	s.String(&o.only, "--case", "ID", "run this case only")
	s.Bool(&o.all, "--all", "run "+skipped+" too, in which the hosted model and the public weights differ")
	s.Bool(&o.asJSON, "--json", "print JSON")
	s.Bool(&o.dry, "--list", "list the cases and run none")
	o.Flags(s)
	s.Note("A step agrees if the likeliest token has the wanted bytes, and every listed token is among the best 20\nwith a log-probability at most 4 away. Exit code 1 if one does not.")
	return cli.Exit(stderr, "ds4", o.main(ctx, s, args, stdout, stderr))
}

func (o *options) main(ctx context.Context, s *cli.Set, args []string, stdout, stderr *os.File) error {
	rest, err := s.Parse(args, stdout)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return s.Usagef("want one file of vectors, got %d", len(rest))
	}
	if err := o.Resolve(s); err != nil {
		return err
	}
	cases, err := o.read(rest[0])
	if err != nil {
		return err
	}
	if o.dry {
		for _, c := range cases {
			if _, err := fmt.Fprintf(stdout, "%s: context %d, %d steps, %s\n", c.ID, c.Ctx, len(c.Steps), c.Prompt); err != nil {
				return err
			}
		}
		return nil
	}
	if !s.Given("ctx") {
		o.Ctx = 0
		for _, c := range cases {
			o.Ctx = max(o.Ctx, c.Ctx)
		}
	}
	results, err := o.run(ctx, rest[0], cases, stderr)
	if err != nil {
		return err
	}
	return report(stdout, results, o.asJSON)
}

// read parses the file and drops the cases that are not to be run.
func (o *options) read(path string) ([]Case, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	all, err := Parse(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var cases []Case
	for _, c := range all {
		if o.only == c.ID || o.only == "" && (o.all || o.dry || c.ID != skipped) {
			cases = append(cases, c)
		}
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("%s: want a case to run, got none of %d", path, len(all))
	}
	return cases, nil
}

// prompt reads a case's prompt: where the file says, from here or from the vectors' folder, or by its name in the folder
// prompts beside them.
func (o *options) prompt(vectors string, c Case) (string, error) {
	name, dir := filepath.FromSlash(c.Prompt), filepath.Dir(vectors)
	tries := []string{filepath.Join(dir, name), filepath.Join(dir, "prompts", filepath.Base(name)), name}
	if o.prompts != "" {
		tries = []string{filepath.Join(o.prompts, filepath.Base(name)), filepath.Join(o.prompts, name)}
	}
	for _, p := range tries {
		f, err := os.Open(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		b, err := io.ReadAll(io.LimitReader(f, maxPrompt))
		if e := f.Close(); err == nil {
			err = e
		}
		return string(b), err
	}
	return "", fmt.Errorf("case %s: want prompt %s in %s; --prompts names another folder", c.ID, filepath.Base(name), strings.Join(tries, " or "))
}

// CaseResult is what became of a case.
type CaseResult struct {
	ID           string       `json:"id"`
	PromptTokens int          `json:"prompt_tokens"`
	OK           bool         `json:"ok"`
	Steps        []StepResult `json:"steps"`
}

// StepResult is what became of a step.
type StepResult struct {
	Step       int         `json:"step"`
	OK         bool        `json:"ok"`
	Want       string      `json:"want"`
	Got        string      `json:"got"`
	GotLogprob float64     `json:"got_logprob"`
	Tops       []TopResult `json:"tops"`
}

// TopResult compares one listed token. Logprob and Diff are absent where it is not among the local candidates.
type TopResult struct {
	Token   string   `json:"token"`
	Rank    int      `json:"rank"` // in the local list, from 1; 0: not there
	Want    float64  `json:"want_logprob"`
	Logprob *float64 `json:"logprob,omitempty"`
	Diff    *float64 `json:"diff,omitempty"`
	OK      bool     `json:"ok"`
}

func (o *options) run(ctx context.Context, vectors string, cases []Case, stderr *os.File) ([]CaseResult, error) {
	prompts := make([]string, len(cases))
	for i, c := range cases { // all are there before the model is loaded for one
		var err error
		if prompts[i], err = o.prompt(vectors, c); err != nil {
			return nil, err
		}
	}
	m, err := engine.Open(ctx, o.Config, engine.Hooks{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = m.Close() }()
	line := cli.NewLine(stderr)
	defer line.Done("")
	var out []CaseResult
	for i, c := range cases {
		r, err := runCase(ctx, m, c, prompts[i], func(done, total int) {
			line.Show("%s: %d/%d tokens", c.ID, done, total)
		})
		if err != nil {
			return nil, fmt.Errorf("case %s: %w", c.ID, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func runCase(ctx context.Context, m *engine.Model, c Case, prompt string, progress func(done, total int)) (CaseResult, error) {
	t := m.Tokenizer
	b := t.NewBuilder(nil)
	b.Template(tokenizer.BOS + tokenizer.User)
	b.Data(prompt)
	b.Template(tokenizer.Assistant + tokenizer.EndThink)
	ids := b.Tokens()
	r := CaseResult{ID: c.ID, PromptTokens: len(ids), OK: true}
	q, err := m.NewSeq()
	if err != nil {
		return r, err
	}
	defer q.Free()
	job, err := q.Feed(ctx, ids, 0, []model.Want{{}}, func(done int) { progress(done, len(ids)) })
	if err != nil {
		return r, err
	}
	jobs := make([]model.Job, 1)
	for i, s := range c.Steps {
		if i > 0 { // the local choice is fed on, be it the wanted one or not
			jobs[0] = model.Job{Seq: q, Tokens: []int32{job.Top(0).ID(0)}, Wants: []model.Want{{}}}
			if err := m.Run(ctx, jobs); err != nil {
				return r, err
			}
			jobs[0].Keep(1)
			job = &jobs[0]
		}
		res := compare(t, i, s, job.Top(0))
		r.Steps = append(r.Steps, res)
		r.OK = r.OK && res.OK
	}
	return r, nil
}

// compare holds one step against the local candidates.
func compare(t *tokenizer.Tokenizer, i int, s Step, c model.Candidates) StepResult {
	got := t.Text(c.ID(0))
	r := StepResult{Step: i, Want: string(s.Selected), Got: got, GotLogprob: logprob(c, 0), OK: got == string(s.Selected)}
	for _, top := range s.Tops {
		x := TopResult{Token: string(top.Token), Want: top.Logprob}
		for k := range c.Len() {
			if t.Text(c.ID(k)) == x.Token {
				lp := logprob(c, k)
				d := lp - top.Logprob
				x.Rank, x.Logprob, x.Diff = k+1, &lp, &d
				x.OK = k < topK && math.Abs(d) <= maxLogDiff
				break
			}
		}
		r.OK = r.OK && x.OK
		r.Tops = append(r.Tops, x)
	}
	return r
}

func logprob(c model.Candidates, i int) float64 { return float64(c.Logit(i)) - c.LogSumRaw() }

// report prints the results; a failed case is exit code 1.
func report(w io.Writer, results []CaseResult, asJSON bool) error {
	good := 0
	for _, r := range results {
		if r.OK {
			good++
		}
	}
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(results); err != nil {
			return err
		}
	} else if _, err := io.WriteString(w, text(results, good)); err != nil {
		return err
	}
	if good < len(results) {
		return cli.Silent(1)
	}
	return nil
}

func text(results []CaseResult, good int) string {
	var b strings.Builder
	word := map[bool]string{true: "ok  ", false: "FAIL"}
	for _, r := range results {
		fmt.Fprintf(&b, "%s %s, %d prompt tokens\n", word[r.OK], r.ID, r.PromptTokens)
		for _, s := range r.Steps {
			fmt.Fprintf(&b, "  %s step %d: want %q, got %q at %.4f\n", word[s.OK], s.Step, s.Want, s.Got, s.GotLogprob)
			for _, t := range s.Tops {
				if t.Logprob == nil {
					fmt.Fprintf(&b, "       %q: want %.4f, got a rank below %d\n", t.Token, t.Want, backend.TopCount)
					continue
				}
				fmt.Fprintf(&b, "       %q: want %.4f, got %.4f at rank %d, difference %+.4f\n", t.Token, t.Want, *t.Logprob, t.Rank, *t.Diff)
			}
		}
	}
	fmt.Fprintf(&b, "%d of %d cases agree\n", good, len(results))
	return b.String()
}
