package chatcmd

import (
	"strings"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/model/backend"
	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/sample"
)

// options is what the command line says.
type options struct {
	engine.Config
	prompt, promptFile string
	prompted           bool // -p was given, be it empty
	system             string
	tokens             int
	temp, topP, minP   float64
	topK               int
	seed               uint64
	thinking           chat.Thinking
	thinkingGiven      bool
	alone              bool // the demo: stands on its own without a terminal
	tokensGiven        bool

	inspect, dumpTokens bool
	dumpLogprobs        string
	logprobsTopK        int
	perplexity          string
	imatrix             imatrixOptions
	retired             string // a diagnostic flag of earlier programs that was given
}

// Defaults of the programs.
const (
	defaultSystem = "You are a helpful assistant"
	defaultTokens = 50000
	demoTokens    = 1024 // it was taught contexts of 4096
)

func defaults() *options {
	p := sample.Default()
	return &options{Config: engine.Defaults(), system: defaultSystem, tokens: defaultTokens, temp: float64(p.Temperature),
		topP: float64(p.TopP), minP: float64(float32(p.MinP)), thinking: chat.On, logprobsTopK: 20}
}

// flags declares them all.
func (o *options) flags(s *cli.Set) {
	o.minP = 0.05 // as people write it, not as a float32 turns out
	s.Group("prompt")
	s.String(&o.prompt, "-p, --prompt", "TEXT", "answer this and leave; without a prompt, chat")
	s.String(&o.promptFile, "--prompt-file", "FILE", "the same from a file (- is standard input)")
	s.String(&o.system, "-sys, --system", "TEXT", "system text; \"\" for none")
	s.Set("--think", "reason before the answer (the default)", func() { o.thinking = chat.On })
	s.Set("--think-max", "reason as much as it takes; needs a context of 393216", func() { o.thinking = chat.Max })
	s.Set("--nothink", "answer at once", func() { o.thinking = chat.Off })
	s.Group("sampling")
	s.Int(&o.tokens, "-n, --tokens", "N", "longest answer in tokens", 1, 1<<24)
	s.Float(&o.temp, "--temp", "F", "temperature; 0 always takes the likeliest token", 0, 100)
	s.Float(&o.topP, "--top-p", "F", "keep the likeliest tokens up to this probability", 0, 1)
	s.Int(&o.topK, "--top-k", "N", "keep the N likeliest tokens (all)", 0, sample.MaxTopK)
	s.Float(&o.minP, "--min-p", "F", "drop tokens below this share of the likeliest", 0, 1)
	s.Uint(&o.seed, "--seed", "N", "repeat a run (the time)")
	o.Flags(s)
	o.DraftFlags(s)
	s.Group("looking inside")
	s.Bool(&o.inspect, "--inspect", "print what is in the model file")
	s.Bool(&o.dumpTokens, "--dump-tokens", "print the prompt's tokens, without a template")
	s.String(&o.dumpLogprobs, "--dump-logprobs", "FILE", "write the likeliest tokens of every step of a greedy answer")
	s.Int(&o.logprobsTopK, "--logprobs-top-k", "K", "how many of them", 1, backend.TopCount)
	s.String(&o.perplexity, "--perplexity-file", "FILE", "score a text")
	o.imatrix.flags(s)
	for _, name := range []string{"--head-test", "--first-token-test", "--metal-graph-test", "--metal-graph-full-test", "--metal-graph-prompt-test"} {
		s.Set(name, "", func() { o.retired = name })
	}
}

// check finds what cannot be meant.
func (o *options) check(s *cli.Set, rest []string) error {
	if err := o.Resolve(s); err != nil {
		return err
	}
	o.prompted = s.Given("prompt")
	o.tokensGiven = s.Given("tokens")
	o.thinkingGiven = s.Given("think") || s.Given("think-max") || s.Given("nothink")
	switch {
	case len(rest) > 0 && strings.HasPrefix(rest[0], "-"):
		return s.Usagef("unexpected argument %q", rest[0])
	case len(rest) > 0:
		return s.Usagef("unexpected argument %q; a prompt follows -p, in quotes", rest[0])
	case o.retired != "":
		return s.Usagef("%s: kernels are checked with \"ds4 doctor --gpu\" now", o.retired)
	case o.prompted && s.Given("prompt-file"):
		return s.Usagef("--prompt and --prompt-file: want one of them")
	case o.perplexity != "" && (o.prompted || o.promptFile != ""):
		return s.Usagef("--perplexity-file and a prompt: want one of them")
	case o.prompted && o.prompt == "" && o.dumpLogprobs == "" && !o.dumpTokens:
		return s.Usagef("--prompt: want a text, got an empty one")
	}
	if err := o.imatrix.check(s); err != nil {
		return err
	}
	p := o.params(1)
	return p.Check()
}

// params are the sampler's.
func (o *options) params(seed uint64) sample.Params {
	return sample.Params{Temperature: float32(o.temp), TopK: o.topK, TopP: float32(o.topP), MinP: float32(o.minP), Seed: seed}
}
