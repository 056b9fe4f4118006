package chatcmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/cmd/internal/inspectcmd"
	"github.com/ds4-go/ds4/cmd/internal/perplexcmd"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/chat"
)

// DemoPrompt is what the demo asks when nobody is there to.
const DemoPrompt = "What can you do?"

const examples = `examples:
  ds4 -p "Explain Redis streams in one paragraph."
  ds4 --nothink --temp 0 --prompt-file question.txt
  git diff | ds4 -sys "Review this." --nothink --prompt-file -
  ds4 --demo                                  chat without a download`

// Main is ds4 without a command. commands is a part of the help text: what else ds4 does.
func Main(ctx context.Context, args []string, stdout, stderr *os.File, commands string) int {
	o := defaults()
	s := cli.New("ds4", "DeepSeek V4 Flash on your own machine",
		"ds4 [flags]             chat; with -p or a pipe, answer one prompt",
		"ds4 COMMAND [flags]     something else, see below")
	s.Note(commands)
	s.Note(examples)
	return cli.Exit(stderr, "ds4", o.main(ctx, s, args, stdout, stderr))
}

// Demo is "ds4 demo": a chat with the demo model, or one answer where there is no terminal to type in.
func Demo(ctx context.Context, args []string, stdout, stderr *os.File) int {
	o := defaults()
	o.Demo, o.alone = true, true
	s := cli.New("ds4 demo", "chat with a small model that needs no download", "ds4 demo [flags]")
	s.Note("Without a terminal to type in, it answers one prompt and leaves.")
	return cli.Exit(stderr, "ds4", o.main(ctx, s, args, stdout, stderr))
}

func (o *options) main(ctx context.Context, s *cli.Set, args []string, stdout, stderr *os.File) error {
	o.flags(s)
	rest, err := s.Parse(args, stdout)
	if err != nil {
		return err
	}
	if err := o.check(s, rest); err != nil {
		return err
	}
	if o.alone && !o.prompted && o.promptFile == "" && !cli.IsTerminal(os.Stdin) {
		o.prompt, o.prompted = DemoPrompt, true
	}
	return o.run(ctx, s, stdout, stderr)
}

func (o *options) run(ctx context.Context, s *cli.Set, stdout, stderr *os.File) error {
	once, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	switch {
	case o.inspect:
		return inspectcmd.Summary(stdout, o.Config)
	case o.imatrix.dataset != "":
		return o.imatrixRun(once, stderr)
	case o.perplexity != "":
		return o.perplexityRun(once, stdout, stderr)
	}
	text, ok, err := o.readPrompt()
	switch {
	case err != nil:
		return err
	case !ok && (o.dumpTokens || o.dumpLogprobs != ""):
		return s.Usagef("--dump-tokens and --dump-logprobs: want a prompt, -p TEXT or --prompt-file FILE")
	case o.dumpTokens:
		return dumpTokens(stdout, o.Config, text)
	case !ok:
		stop() // a conversation has its own way with interrupts
		return o.converse(ctx, stdout, stderr)
	}
	return o.oneShot(once, text, stdout, stderr)
}

// open opens the model, shows how that goes, and settles what depends on it.
func (o *options) open(ctx context.Context, stderr *os.File, h engine.Hooks) (*engine.Model, error) {
	log, line, start := cli.Logger(stderr, "ds4"), cli.NewLine(stderr), time.Now()
	h.Warn = func(message string) { log.Warn().Msg(message) }
	h.Progress = func(done, total int64) {
		if time.Since(start) > time.Second { // files in memory load at once
			line.Show("loading %s of %s", cli.Bytes(done), cli.Bytes(total))
		}
	}
	m, err := engine.Open(ctx, o.Config, h)
	line.Done("")
	if err != nil {
		return nil, err
	}
	if m.Demo {
		log.Info().Msg("this is the demo model, small and often wrong. Ask it: What can you do? What is 17 + 25? How do I get the real model?")
		if !o.tokensGiven {
			o.tokens = demoTokens
		}
		if !o.thinkingGiven {
			o.thinking = chat.Off
		}
	}
	o.thinking = fit(o.thinking, o.Ctx, h.Warn)
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano())
	}
	return m, nil
}

// fit lowers the thinking to what the context allows, and says so.
func fit(t chat.Thinking, ctx int, warn func(string)) chat.Thinking {
	if t.Fit(ctx) != t {
		warn(fmt.Sprintf("thinking max wants a context of %d or more, got %d: thinking as usual", chat.MaxThinkingContext, ctx))
		return chat.On
	}
	return t
}

func (o *options) oneShot(ctx context.Context, text string, stdout, stderr *os.File) error {
	m, err := o.open(ctx, stderr, engine.Hooks{})
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }()
	ids, thinks, err := rendered(m.Tokenizer, m.Checkpoint, o.system, text, o.thinking)
	if err != nil {
		return err
	}
	s, err := newSession(m, &o.Config, stderr)
	if err != nil {
		return err
	}
	r := request{prompt: ids, thinking: thinks, limit: o.tokens, params: o.params(o.seed)}
	if o.dumpLogprobs != "" {
		return s.dumpLogprobs(ctx, o.dumpLogprobs, r, o.logprobsTopK)
	}
	out := newPrinter(stdout)
	a, err := s.generate(ctx, r, out.events)
	if err != nil && !(errors.Is(err, model.ErrCanceled) && len(a.tokens) > 0) {
		return err
	}
	if e := out.end(); err == nil {
		err = e
	}
	_, _ = fmt.Fprintln(stderr, a.rates())
	return err
}

func (o *options) perplexityRun(ctx context.Context, stdout, stderr *os.File) error {
	text, err := readText("--perplexity-file", o.perplexity)
	if err != nil {
		return err
	}
	o.Rows, o.Outs = perplexcmd.Rows, perplexcmd.Rows
	m, err := o.open(ctx, stderr, engine.Hooks{})
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }()
	if m.Demo && !o.tokensGiven {
		o.tokens = defaultTokens
	}
	line := cli.NewLine(stderr)
	score, err := perplexcmd.Plain(ctx, m, m.Tokenizer.Encode(nil, text), o.tokens, func(c perplexcmd.Score) {
		line.Show("scored %d tokens, ppl %.4f", c.Scored, c.Perplexity())
	})
	line.Done("")
	if err != nil {
		return fmt.Errorf("--perplexity-file: %w", err)
	}
	return score.Print(stdout)
}
