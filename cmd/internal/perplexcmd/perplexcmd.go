package perplexcmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/engine"
)

// maxText bounds the file, in bytes.
const maxText = 16 << 20

type options struct {
	engine.Config
	tokens int
	chat   bool
	asJSON bool
}

// Main runs the command until ctx ends, and returns the exit code.
func Main(ctx context.Context, args []string, stdout, stderr *os.File) int {
	o := &options{Config: engine.Defaults()}
	o.Rows, o.Outs = Rows, Rows
	s := cli.New("ds4 perplexity", "score a text by the model", "ds4 perplexity FILE [flags]", "ds4 perplexity held-out.txt --chat --demo")
	s.Int(&o.tokens, "-n, --tokens", "N", "score so many at most (all)", 1, 1<<24)
	s.Bool(&o.chat, "--chat", "FILE holds conversations in the model's template; score what the assistant wrote")
	s.Bool(&o.asJSON, "--json", "print JSON")
	o.Flags(s)
	s.Note(fmt.Sprintf("FILE is text in UTF-8; - is standard input. What is longer than the context is cut. The first %d tokens of a plain\n"+
		"text are not scored: they would tell how a text begins, not how well it goes on.", Context))
	return cli.Exit(stderr, "ds4", o.main(ctx, s, args, stdout, stderr))
}

func (o *options) main(ctx context.Context, s *cli.Set, args []string, stdout, stderr *os.File) error {
	rest, err := s.Parse(args, stdout)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return s.Usagef("want one text file, got %d", len(rest))
	}
	if err := o.Resolve(s); err != nil {
		return err
	}
	if o.tokens == 0 {
		o.tokens = math.MaxInt32 - Context
	}
	text, err := read(rest[0])
	if err != nil {
		return err
	}
	line := cli.NewLine(stderr)
	defer line.Done("")
	m, err := engine.Open(ctx, o.Config, engine.Hooks{
		Progress: func(done, total int64) { line.Show("loading %s of %s", cli.Bytes(done), cli.Bytes(total)) },
	})
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }()
	progress := func(c Score) { line.Show("scored %d tokens, ppl %.4f", c.Scored, c.Perplexity()) }
	var c Score
	if o.chat {
		c, err = Chat(ctx, m, m.Tokenizer.EncodeTemplate(nil, text), o.tokens, progress)
	} else {
		c, err = Plain(ctx, m, m.Tokenizer.Encode(nil, text), o.tokens, progress)
	}
	if err != nil {
		return err
	}
	line.Done("")
	return o.report(stdout, c)
}

func (o *options) report(w io.Writer, c Score) error {
	if !o.asJSON {
		return c.Print(w)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(map[string]any{"tokens": c.Tokens, "scored": c.Scored, "nll": c.NLL, "avg_nll": c.Mean(), "ppl": c.Perplexity()})
}

func read(path string) (string, error) {
	f := os.Stdin
	if path != "-" {
		var err error
		if f, err = os.Open(path); err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return "", fmt.Errorf("%s: want a text file, got a directory", path)
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxText {
		return "", fmt.Errorf("%s: want at most %d bytes", path, maxText)
	}
	return string(b), nil
}
