package servecmd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/serve"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
)

// options is what the command line says.
type options struct {
	engine.Config
	host   string
	port   int
	tokens int
	chdir  string
	trace  string

	queue, perClient, snapshotMB, chunk int
	graceSeconds, bodyMB                int

	keys, keyFile   string
	noKey           bool
	hosts, origins  string
	anyOrigin       bool
	tlsCert, tlsKey string

	thinkingSampling string
	temp             float64
	strictModel      bool
	strictCalls      bool
	keepReasoning    bool
	blankLines       bool
	loopGuard        int
	noReplay         bool
	replayIDs        int

	kvDir       string
	kvMB        int
	kvRate      int
	kvFormat    string
	kvSameQuant bool
	kvWipe      bool
	policy      kvstore.Policy

	verbose, quiet bool
}

func defaults() *options {
	o := &options{Config: engine.Defaults(), host: "127.0.0.1", port: 8000, tokens: 393216, queue: 64, snapshotMB: 2048, graceSeconds: 30,
		bodyMB: 64, temp: 1, thinkingSampling: "request", replayIDs: 100000, kvMB: kvstore.DefaultBudget >> 20, kvFormat: "blocks", policy: kvstore.DefaultPolicy()}
	o.Seqs = 4
	return o
}

func (o *options) flags(s *cli.Set) {
	s.Group("address")
	s.String(&o.host, "--host", "HOST", "address to listen on")
	s.Int(&o.port, "--port", "N", "port; 0 takes a free one", 0, 65535)
	s.String(&o.tlsCert, "--tls-cert", "FILE", "certificate chain (PEM); read again when it changes")
	s.String(&o.tlsKey, "--tls-key", "FILE", "its key")
	s.Group("who may use it")
	s.String(&o.keys, "--api-key", "LIST", "API keys, with commas between them, each KEY or NAME=KEY; also in DS4_API_KEY")
	s.String(&o.keyFile, "--api-key-file", "FILE", "the same, one a line")
	s.Bool(&o.noKey, "--no-api-key", "listen beyond this machine without a key")
	s.String(&o.hosts, "--allow-host", "LIST", "names that clients may call this server by, besides addresses and localhost; * is any")
	s.Bool(&o.anyOrigin, "--cors", "pages of every origin may use the server")
	s.String(&o.origins, "--cors-origin", "LIST", "pages of these origins may, such as https://chat.example")
	s.Group("requests")
	s.Int(&o.tokens, "-n, --tokens", "N", "longest answer in tokens, where a request does not say", 1, 1<<24)
	s.Int(&o.Seqs, "--sessions", "N", "sequences evaluated at once", 1, 256)
	s.Int(&o.queue, "--queue", "N", "requests that may wait; more are told to try again", 1, 1<<16)
	s.Int(&o.perClient, "--queue-per-client", "N", "of one client (no bound)", 0, 1<<16)
	s.Int(&o.chunk, "--prefill-chunk", "N", "tokens of prompts in one step (what suits the device)", 0, 1<<16)
	s.Int(&o.bodyMB, "--max-body-mb", "N", "longest request body, MiB", 1, 1024)
	s.Int(&o.graceSeconds, "--grace", "SECONDS", "time to finish what runs when told to stop", 0, 3600)
	s.Float(&o.temp, "--temp", "F", "temperature where a request does not say; with --demo 0", 0, 100)
	s.String(&o.thinkingSampling, "--thinking-sampling", "MODE", "\"fixed\" ignores temperature and the like in thinking mode, as ds4 does")
	s.Bool(&o.keepReasoning, "--keep-reasoning-with-calls", "keep earlier reasoning where the history has tool calls but no tools are declared")
	s.Bool(&o.strictCalls, "--strict-calls", "do not execute a call block that the model wrote inside its reasoning")
	s.Int(&o.loopGuard, "--loop-guard", "N", "end reasoning, or else an answer, that says the same (of 256 tokens or less) N times in a row; 0: never", 0, 1<<12)
	s.Bool(&o.blankLines, "--blank-lines", "send a line break now and then while a client waits for an answer that is no stream")
	s.Bool(&o.strictModel, "--strict-model", "refuse model names that this server does not list")
	s.Group("what is known of earlier prompts")
	s.Int(&o.snapshotMB, "--snapshot-mb", "N", "host memory for snapshots of conversations, MiB; 0: none are kept", 0, 1<<24)
	s.Bool(&o.noReplay, "--disable-exact-dsml-tool-replay", "render tool calls from JSON, not as the model wrote them")
	s.Int(&o.replayIDs, "--tool-memory-max-ids", "N", "tool calls whose text is remembered", 1, 1<<26)
	o.diskFlags(s)
	o.Flags(s)
	o.DraftFlags(s)
	s.Group("looking inside")
	s.String(&o.trace, "--trace", "FILE", "write prompts, cache decisions and answers, a line of JSON each")
	s.String(&o.chdir, "--chdir", "DIR", "change to this folder first")
	s.Bool(&o.verbose, "-v, --verbose", "log more")
	s.Bool(&o.quiet, "-q, --quiet", "log warnings only")
}

func (o *options) diskFlags(s *cli.Set) {
	p := &o.policy
	s.String(&o.kvDir, "--kv-disk-dir", "DIR", "keep caches in this folder; conversations can be read from it")
	s.Int(&o.kvMB, "--kv-disk-space-mb", "N", "budget of the folder, MiB", 1, 1<<30)
	s.Int(&o.kvRate, "--kv-disk-rate-mb", "N", "MiB a second to write at most (no bound)", 0, 1<<20)
	s.String(&o.kvFormat, "--kv-format", "NAME", "\"blocks\", or \"v1\" for files that ds4 reads")
	s.Int(&p.Min, "--kv-cache-min-tokens", "N", "never store or load less", 0, 1<<30)
	s.Int(&p.ColdMax, "--kv-cache-cold-max-tokens", "N", "store first prompts up to this length; 0: none", 0, 1<<30)
	s.Int(&p.Continued, "--kv-cache-continued-interval-tokens", "N", "store growing conversations this often; 0: never", 0, 1<<30)
	s.Int(&p.Trim, "--kv-cache-boundary-trim-tokens", "N", "left out at the end of first prompts", 0, 1<<30)
	s.Int(&p.Align, "--kv-cache-boundary-align-tokens", "N", "round lengths to multiples of this; 0: do not", 0, 1<<30)
	s.Bool(&o.kvSameQuant, "--kv-cache-reject-different-quant", "do not use caches of another quantisation of the model")
	s.Bool(&o.kvWipe, "--kv-disk-wipe", "empty the folder first")
}

// check finds what cannot be meant.
func (o *options) check(s *cli.Set, rest []string) error {
	switch {
	case len(rest) > 0:
		return s.Usagef("want flags only, got %q", rest[0])
	case (o.tlsCert == "") != (o.tlsKey == ""):
		return s.Usagef("--tls-cert and --tls-key: want both or none")
	case o.kvFormat != "blocks" && o.kvFormat != "v1":
		return s.Usagef("--kv-format: want blocks or v1, got %q", o.kvFormat)
	case o.thinkingSampling != "request" && o.thinkingSampling != "fixed":
		return s.Usagef("--thinking-sampling: want request or fixed, got %q", o.thinkingSampling)
	case o.kvWipe && o.kvDir == "":
		return s.Usagef("--kv-disk-wipe: want --kv-disk-dir as well")
	}
	if err := o.policy.Check(); err != nil {
		return s.Usagef("%s", strings.TrimPrefix(err.Error(), "kvstore: "))
	}
	if o.Demo && !s.Given("temp") {
		o.temp = 0 // so small a model goes astray at 1, which agents never think of changing
	}
	return o.Resolve(s)
}

// loopback says whether only this machine can reach the address.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}

func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// apiKeys gathers the keys of flag, environment and file.
func (o *options) apiKeys() ([]serve.Key, error) {
	given := append(list(o.keys), list(os.Getenv("DS4_API_KEY"))...)
	if o.keyFile != "" {
		b, err := os.ReadFile(o.keyFile)
		if err != nil {
			return nil, fmt.Errorf("--api-key-file: %w", err)
		}
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				given = append(given, line)
			}
		}
	}
	var keys []serve.Key
	for i, k := range given {
		name, secret, named := strings.Cut(k, "=")
		if !named {
			name, secret = fmt.Sprintf("key%d", i+1), k
		}
		if len(secret) < 8 {
			return nil, fmt.Errorf("API key %s: want at least 8 characters, got %d", name, len(secret))
		}
		keys = append(keys, serve.Key{Name: name, Secret: secret})
	}
	if len(keys) == 0 && !loopback(o.host) && !o.noKey {
		return nil, errors.New("--host " + o.host + ": other machines could use this server: want --api-key, or --no-api-key if that is meant")
	}
	return keys, nil
}
