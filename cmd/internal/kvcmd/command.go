package kvcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/gguf"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
)

// verb is one of the things to do with a cache.
type verb struct {
	name, args, about string
	min               int // arguments after the folder
	max               int
	run               func(*command) error
}

const many = 1 << 20

var verbs = []verb{
	{"ls", "DIR", "list the checkpoints, those of use last first", 0, 0, (*command).list},
	{"show", "DIR NAME", "what one file says of itself, its text included", 1, 1, (*command).show},
	{"verify", "DIR", "read every file and check it", 0, 0, (*command).verify},
	{"rm", "DIR NAME…", "remove checkpoints, with the blocks that only they need", 0, many, (*command).remove},
	{"export", "DIR NAME… OUT", "write checkpoints as KVC files of the ds4 program into folder OUT", 2, many, (*command).export},
	{"import", "DIR FILE…", "store KVC files as blocks and checkpoints", 1, many, (*command).importFiles},
}

// command is one run of it.
type command struct {
	ctx    context.Context
	set    *cli.Set
	stdout io.Writer
	stderr io.Writer

	verb   verb
	dir    string
	args   []string
	blobs  *kvstore.Dir
	store  *kvstore.Store
	config engine.Config

	json, blocks, quarantine, wipe bool
	budgetMB                       int
}

// Main runs "ds4 kv" with the arguments behind that word, and returns the exit code.
func Main(ctx context.Context, args []string, stdout, stderr *os.File) int {
	return cli.Exit(stderr, "ds4", run(ctx, args, stdout, stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	c := &command{ctx: ctx, stdout: stdout, stderr: stderr, config: engine.Defaults()}
	if err := c.parse(args); err != nil {
		return err
	}
	if err := c.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.store.Close(ctx)) }()
	return c.verb.run(c)
}

// parse finds the verb and checks the number of its arguments.
func (c *command) parse(args []string) error {
	var usage []string
	for _, v := range verbs {
		usage = append(usage, fmt.Sprintf("ds4 kv %-6s %-14s %s", v.name, v.args, v.about))
	}
	s := cli.New("ds4 kv", "look after a disk cache (the folder given as --kv-disk-dir)", usage...)
	c.set = s
	s.Bool(&c.json, "--json", "ls, show: print JSON")
	s.Bool(&c.blocks, "--blocks", "ls: list blocks too")
	s.Bool(&c.quarantine, "--quarantine", "verify: put damaged files aside")
	s.Bool(&c.wipe, "--all", "rm: remove everything (--kv-disk-wipe)")
	s.String(&c.config.Model, "-m, --model", "FILE", "export, import: whose caches they are; verify: look into KVC files too")
	s.Bool(&c.config.Demo, "--demo", "the same of the demo model")
	s.Int(&c.config.Ctx, "-c, --ctx", "N", "export: context to name in the file", 1, 1<<24)
	s.Int(&c.budgetMB, "--kv-disk-space-mb", "N", "import: budget of the cache; without it, nothing is removed", 1, 1<<30)
	s.Note("A NAME may be cut short as long as it is the only one that begins so.\nServers may go on using the folder meanwhile.")
	rest, err := s.Parse(args, c.stdout)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		return s.Usagef("want a verb: ls, show, verify, rm, export or import")
	}
	var names []string
	for _, v := range verbs {
		if names = append(names, v.name); v.name == rest[0] {
			c.verb = v
		}
	}
	if c.verb.run == nil {
		if near := cli.Nearest(rest[0], names); near != "" {
			return s.Usagef("unknown verb %q; did you mean %q?", rest[0], near)
		}
		return s.Usagef("unknown verb %q: want ls, show, verify, rm, export or import", rest[0])
	}
	if len(rest) < 2 {
		return s.Usagef("%s: want the folder of a cache", c.verb.name)
	}
	c.dir, c.args = rest[1], rest[2:]
	if n := len(c.args); n < c.verb.min || n > c.verb.max {
		return s.Usagef("want ds4 kv %s %s, got %d arguments after the folder", c.verb.name, c.verb.args, n)
	}
	return nil
}

// needsModel says whether the verb has to know whose caches these are.
func (c *command) needsModel() bool {
	named := c.set.Given("model") || c.config.Demo
	return c.verb.name == "export" || c.verb.name == "import" || c.verb.name == "verify" && named
}

func (c *command) open() error {
	info, err := os.Stat(c.dir) // OpenDir would make it
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s: want a folder, got a file", c.dir)
	}
	if err != nil && (c.verb.name != "import" || !errors.Is(err, os.ErrNotExist)) {
		return err
	}
	if c.blobs, err = kvstore.OpenDir(c.dir); err != nil {
		return err
	}
	o := kvstore.Options{Blobs: c.blobs, BudgetBytes: 1 << 60, Log: c.report}
	if c.budgetMB > 0 {
		o.BudgetBytes = int64(c.budgetMB) << 20
	}
	if c.needsModel() {
		f, _, err := engine.OpenFile(c.config)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		o.CtxTokens = c.config.Ctx
		if o.Shape, err = model.ReadShape(f); err != nil {
			return err
		}
		if o.Identity, err = engine.Identity(f); err != nil {
			return err
		}
	}
	c.store, err = kvstore.Open(o)
	return err
}

// report tells what the store did besides what it was asked for.
func (c *command) report(e kvstore.Event) {
	switch e.Op {
	case kvstore.Quarantined:
		_, _ = fmt.Fprintf(c.stderr, "ds4: %s: put aside: %v\n", e.Name, e.Err)
	case kvstore.Evicted:
		_, _ = fmt.Fprintf(c.stderr, "ds4: %s: removed, to hold the budget\n", e.Name)
	case kvstore.Rebuilt:
		_, _ = fmt.Fprintf(c.stderr, "ds4: index made anew: %s\n", e.Why)
	}
}

// spelling is a function that spells tokens with the model's vocabulary.
func (c *command) spelling() func([]int32) ([]byte, error) {
	return func(tokens []int32) ([]byte, error) {
		f, _, err := engine.OpenFile(c.config, gguf.HeaderOnly())
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		t, err := tokenizer.FromGGUF(f, tokenizer.Options{})
		if err != nil {
			return nil, err
		}
		return t.Decode(nil, tokens)
	}
}
