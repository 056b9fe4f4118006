package servecmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/serve"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
	"github.com/ds4-go/ds4/modules/serve/sched"
)

// Main runs the command until ctx ends, and returns the exit code.
func Main(ctx context.Context, args []string, stdout, stderr *os.File) int {
	return cli.Exit(stderr, "ds4", run(ctx, args, stdout, stderr))
}

func run(ctx context.Context, args []string, stdout, stderr *os.File) error {
	o := defaults()
	s := cli.New("ds4 serve", "serve the OpenAI and Anthropic APIs", "ds4 serve [flags]", "ds4 serve --demo")
	o.flags(s)
	s.Note("docs/clients.md says how to point Claude Code, Codex and others at it.")
	rest, err := s.Parse(args, stdout)
	if err != nil {
		return err
	}
	if err := o.check(s, rest); err != nil {
		return err
	}
	keys, err := o.apiKeys()
	if err != nil {
		return err
	}
	if o.chdir != "" {
		if err := os.Chdir(o.chdir); err != nil {
			return fmt.Errorf("--chdir: %w", err)
		}
	}
	r := &running{o: o, log: logger(o, stderr), stderr: stderr, keys: keys}
	defer r.close()
	return r.run(ctx)
}

// logger writes for people on a terminal, and JSON elsewhere.
func logger(o *options, stderr *os.File) zerolog.Logger {
	level := zerolog.InfoLevel
	switch {
	case o.verbose:
		level = zerolog.DebugLevel
	case o.quiet:
		level = zerolog.WarnLevel
	}
	if cli.IsTerminal(stderr) {
		w := zerolog.ConsoleWriter{Out: stderr, NoColor: !cli.Colour(stderr), TimeFormat: "15:04:05"}
		return zerolog.New(w).Level(level).With().Timestamp().Logger()
	}
	return zerolog.New(stderr).Level(level).With().Timestamp().Logger()
}

// running is a server with all that it is made of.
type running struct {
	o      *options
	log    zerolog.Logger
	stderr *os.File
	keys   []serve.Key

	listener net.Listener
	model    *engine.Model
	store    *kvstore.Store // closed by the scheduler
	sched    *sched.Scheduler
	metrics  *serve.Metrics
	trace    *os.File
}

// close frees what run opened, the last first. What was freed before is nil.
func (r *running) close() {
	if r.listener != nil {
		_ = r.listener.Close() // closed already where serving began
	}
	if r.model != nil {
		if err := r.model.Close(); err != nil {
			r.log.Warn().Err(err).Msg("closing the model")
		}
	}
	if r.trace != nil {
		if err := r.trace.Close(); err != nil {
			r.log.Warn().Err(err).Msg("closing the trace")
		}
	}
}

func (r *running) run(ctx context.Context) (err error) {
	o := r.o
	// First what fails soonest: the address, the certificate, the trace.
	if r.listener, err = net.Listen("tcp", net.JoinHostPort(o.host, strconv.Itoa(o.port))); err != nil {
		return fmt.Errorf("--host and --port: %w", err)
	}
	if o.trace != "" {
		if r.trace, err = os.OpenFile(o.trace, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600); err != nil {
			return fmt.Errorf("--trace: %w", err)
		}
	}
	web := &http.Server{ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: quietLog(r.log)}
	if o.tlsCert != "" {
		if web.TLSConfig, err = reloading(o.tlsCert, o.tlsKey); err != nil {
			return err
		}
	}
	if err := r.open(ctx); err != nil {
		return err
	}
	handler, err := r.handler()
	if err != nil {
		_ = r.sched.Close(ctx) // the first error is the one to tell
		return err
	}
	web.Handler = handler
	r.banner()
	failed := make(chan error, 1)
	go func() {
		if web.TLSConfig != nil {
			failed <- web.ServeTLS(r.listener, "", "")
			return
		}
		failed <- web.Serve(r.listener)
	}()
	select {
	case err = <-failed:
	case <-ctx.Done():
		r.log.Info().Int("grace_seconds", o.graceSeconds).Msg("stopping: what runs may finish; a second signal ends at once")
	}
	return errors.Join(err, r.stop(web))
}

// stop drains, stores, and closes the scheduler.
func (r *running) stop(web *http.Server) error {
	grace, cancel := context.WithTimeout(context.Background(), time.Duration(r.o.graceSeconds)*time.Second)
	defer cancel()
	r.sched.Drain(grace)
	bye, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := web.Shutdown(bye); err != nil {
		r.log.Warn().Err(err).Msg("some connections did not end")
	}
	save, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := r.sched.Close(save)
	r.log.Info().Msg("stopped")
	return err
}

// open makes engine, store and scheduler.
func (r *running) open(ctx context.Context) error {
	line := cli.NewLine(r.stderr)
	var sc *sched.Scheduler // of the hook, which is called once requests run
	m, err := engine.Open(ctx, r.o.Config, engine.Hooks{
		Progress: func(done, total int64) { line.Show("loading %s of %s", cli.Bytes(done), cli.Bytes(total)) },
		Warn:     func(text string) { r.log.Warn().Msg(text) },
		Reclaim:  func() bool { return sc != nil && sc.Reclaim() },
	})
	line.Done("")
	if err != nil {
		return err
	}
	r.model = m
	if r.o.kvDir != "" {
		if r.store, err = r.openStore(); err != nil {
			return err
		}
	}
	r.metrics = serve.NewMetrics()
	snapshots := int64(r.o.snapshotMB) << 20
	if snapshots == 0 {
		snapshots = -1
	}
	sc = sched.New(sched.Config{Engine: sched.Wrap(m.Engine), Sessions: r.o.Seqs, Queue: r.o.queue, PerClient: r.o.perClient, Chunk: r.o.chunk,
		SnapshotBytes: snapshots, Store: r.store, Policy: r.o.policy, Metrics: r.metrics, Log: r.log,
		Guesses: r.o.Controller(), Lookup: r.o.Looks(), Decode: func(tokens []int32) []byte {
			text, _ := m.Tokenizer.Decode(nil, tokens) // the engine's own tokens
			return text
		}})
	r.sched = sc
	r.metrics.Watch(sc, r.store)
	return nil
}

// version is the program's, as the Go tool noted it in the binary.
func version() string {
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return b.Main.Version
}

func (r *running) handler() (http.Handler, error) {
	o, m := r.o, r.model
	temperature := float32(o.temp)
	c := serve.Config{Scheduler: r.sched, Tokenizer: m.Tokenizer, Checkpoint: m.Checkpoint, Ctx: o.Ctx, Metrics: r.metrics, Store: r.store,
		Model: m.Name, Backend: m.Backend, Version: version(), DefaultTokens: o.tokens, Temperature: &temperature, FixedThinking: o.thinkingSampling == "fixed", StrictModel: o.strictModel,
		StrictCalls: o.strictCalls, BlankLines: o.blankLines, LoopGuard: o.loopGuard, KeepReasoning: o.keepReasoning, NoReplay: o.noReplay, ReplayIDs: o.replayIDs, Keys: r.keys,
		Hosts: append(list(o.hosts), o.host), Origins: list(o.origins), MaxBody: int64(o.bodyMB) << 20, Log: r.log}
	if o.anyOrigin {
		c.Origins = append(c.Origins, "*")
	}
	if r.trace != nil {
		c.Trace = r.trace
	}
	return serve.New(c)
}
