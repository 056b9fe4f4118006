package engine

import (
	"slices"
	"strings"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/backend"
)

// DefaultModel is the file that programs look for when none is named.
const DefaultModel = "ds4flash.gguf"

// Config says which model to open and for what. Start from Defaults.
type Config struct {
	Model   string // path of the GGUF file
	Demo    bool   // use the demo model instead, made in the user's cache folder when it is not there
	Backend string // a name of Backends; "" is the best one that this machine has
	Threads int    // of the CPU backend; 0: all cores
	Ctx     int    // longest sequence, in tokens

	Seqs      int   // sequences alive at once
	Rows      int   // tokens in one step; 0: what suits the backend
	Outs      int   // rows of a step whose logits are wanted; 0: as many as sequences
	PageBytes int64 // bound of the cache pages; 0: a full context for each sequence, and some for snapshots. Pages cost memory as they fill.

	WarmWeights bool // read every page of the file at the start
	Lock        bool // and keep it in memory (CPU)
	Quality     bool // exact kernels where a backend has faster ones; the CPU's always are

	SteerFile           string // directional steering: (layers, D) f32
	SteerAttn, SteerFFN float64

	Draft     string // how guesses are made; one of Drafts, "" as "off"
	MTP       string // file of the draft head
	MTPDraft  int    // its longest guess; 0: what suits
	MTPMargin float64
	MTPAlign  string // "trained" or "same"

	steerGiven bool
}

// Defaults are those of every program.
func Defaults() Config {
	return Config{Model: DefaultModel, Ctx: 32768, Seqs: 1, Draft: "auto", MTPAlign: "trained"}
}

// Flags declares the flags that all programs share, in two groups: which model, and how to run it.
func (c *Config) Flags(s *cli.Set) {
	s.Group("model")
	s.String(&c.Model, "-m, --model", "FILE", "GGUF file")
	s.Bool(&c.Demo, "--demo", "use the small demo model that comes with the program")
	s.Int(&c.Ctx, "-c, --ctx", "N", "context in tokens", 1, 1<<24)
	c.DeviceFlags(s)
}

// DeviceFlags is Flags without model and context.
func (c *Config) DeviceFlags(s *cli.Set) {
	s.Group("device")
	for _, d := range allNames {
		help := "" // a device that this build lacks is understood, and not advertised
		if slices.Contains(Backends(), d) {
			help = "run on " + deviceNames[d]
		}
		s.Set("--"+d, help, func() { c.Backend = d })
	}
	s.String(&c.Backend, "--backend", "NAME", "the same by name: "+strings.Join(Backends(), ", "))
	s.Int(&c.Threads, "-t, --threads", "N", "CPU threads (all cores)", 1, 1024)
	s.Bool(&c.Quality, "--quality", "exact kernels only")
	s.Bool(&c.WarmWeights, "--warm-weights", "read the whole model file at the start")
	s.Bool(&c.Lock, "--mlock", "keep the whole model file in memory (on the CPU)")
	s.String(&c.SteerFile, "--dir-steering-file", "FILE", "directional steering: one f32 direction per layer")
	s.Float(&c.SteerFFN, "--dir-steering-ffn", "F", "its scale after feed-forward layers (1 if neither is given)", -100, 100)
	s.Float(&c.SteerAttn, "--dir-steering-attn", "F", "its scale after attention", -100, 100)
}

// Resolve fills what depends on which flags were given. Call it after Set.Parse.
func (c *Config) Resolve(s *cli.Set) error {
	c.steerGiven = s.Given("dir-steering-ffn") || s.Given("dir-steering-attn")
	switch {
	case c.Demo && s.Given("model"):
		return s.Usagef("--demo and --model: want one of them")
	case c.steerGiven && c.SteerFile == "":
		return s.Usagef("--dir-steering-ffn and --dir-steering-attn: want --dir-steering-file as well")
	case c.Backend != "" && !known(c.Backend):
		return s.Usagef("--backend: want %s, got %q", strings.Join(Backends(), " or "), c.Backend)
	}
	if c.SteerFile != "" && !c.steerGiven {
		c.SteerFFN = 1
	}
	return c.resolveDraft(s)
}

// Limits sizes an engine for the configuration.
func (c *Config) Limits(rows int) model.Limits {
	l := model.Limits{CtxTokens: c.Ctx, Seqs: max(c.Seqs, 1), Rows: c.Rows, Outs: c.Outs, PageBytes: c.PageBytes}
	if l.Rows == 0 {
		l.Rows = rows
	}
	l.Rows = max(min(l.Rows, max(l.CtxTokens, l.Seqs)), 1)
	if l.Outs == 0 {
		l.Outs = l.Seqs
		if c.Looks() || c.HasHead() {
			l.Outs += min(l.Seqs*model.MaxDrafts, draftOuts)
		}
	}
	l.Outs = min(l.Outs, l.Rows)
	l.Tops = l.Outs
	l.Slots = l.Seqs + model.SpareSlots
	return l
}

// Plan lists what an engine of this shape would take, weights not included.
func Plan(c Config, s model.Shape) []backend.Use { return model.Plan(s, c.Limits(cpuRows)) }
