package serve

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/julienschmidt/httprouter"
	"github.com/rs/zerolog"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
	"github.com/ds4-go/ds4/modules/serve/sched"
)

// Config is what a server is made from. Scheduler, Tokenizer, Ctx and Metrics are needed.
type Config struct {
	Scheduler  *sched.Scheduler
	Tokenizer  *tokenizer.Tokenizer
	Checkpoint *chat.Checkpoint // nil: chat.Preview
	Ctx        int              // tokens of a sequence
	Metrics    *Metrics         // also given to the scheduler
	Store      *kvstore.Store   // nil: none

	Model   string // what the file calls itself, for /props
	Backend string
	Version string

	DefaultTokens int      // longest answer where the request does not say; 0: 393216
	Temperature   *float32 // where the request does not say; nil: 1
	FixedThinking bool     // sample with ds4's settings while thinking mode is on, whatever the request says
	StrictModel   bool     // unknown model names are 404
	StrictCalls   bool     // a call block inside unfinished reasoning is not executed
	KeepReasoning bool     // see chat.Options.KeepReasoningWithCalls
	LoopGuard     int      // times in a row that a text may be said, before reasoning or an answer is ended for it; 0: any

	NoReplay  bool // render calls from JSON, always
	ReplayIDs int  // ids of calls to remember; 0: 100000

	Keys    []Key    // none: everybody may
	Hosts   []string // names in Host headers besides loopback's; "*": any
	Origins []string // that browsers may call from; "*": any

	MaxBody    int64         // bytes; 0: 64 MiB
	KeepAlive  time.Duration // of silence in a stream, before a comment is sent; 0: 5 s
	BlankLines bool          // keep clients that wait for whole answers alive too; see call.whole
	Timeout    time.Duration // without progress in writing, after which a client is given up; 0: 30 s

	Trace io.Writer // nil: none. One line of JSON for each thing that happens
	Log   zerolog.Logger
}

// Server answers HTTP requests with a scheduler's completions. It is a http.Handler.
type Server struct {
	c        Config
	router   *httprouter.Router
	prompts  *prompts
	replay   *replay
	grammars grammars
	stored   *responseStore
	started  time.Time

	traceMu sync.Mutex
}

// New makes a server.
func New(c Config) (*Server, error) {
	switch {
	case c.Scheduler == nil || c.Tokenizer == nil || c.Metrics == nil || c.Ctx <= 0:
		return nil, errors.New("serve: want a scheduler, a tokenizer, metrics and a context, got a configuration without")
	}
	if c.Checkpoint == nil {
		c.Checkpoint = chat.Preview
	}
	if c.DefaultTokens <= 0 {
		c.DefaultTokens = 393216
	}
	if c.MaxBody <= 0 {
		c.MaxBody = 64 << 20
	}
	if c.KeepAlive <= 0 {
		c.KeepAlive = 5 * time.Second
	}
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	if c.ReplayIDs <= 0 {
		c.ReplayIDs = 100000
	}
	s := &Server{c: c, prompts: newPrompts(c.Tokenizer), grammars: grammars{t: c.Tokenizer}, stored: newResponseStore(), started: time.Now()}
	if !c.NoReplay {
		s.replay = newReplay(c.ReplayIDs, c.Store)
	}
	s.routes()
	return s, nil
}

// routes is the whole of what the server answers to.
func (s *Server) routes() {
	r := httprouter.New()
	r.RedirectTrailingSlash, r.RedirectFixedPath, r.HandleOPTIONS = false, false, false
	s.router = r

	s.open(http.MethodGet, "/health", s.health)
	s.handle(http.MethodGet, "/metrics", openAI, s.metrics)
	s.handle(http.MethodGet, "/props", openAI, s.props)
	s.handle(http.MethodPost, "/tokenize", openAI, s.tokenize)
	s.handle(http.MethodPost, "/detokenize", openAI, s.detokenize)

	s.open(http.MethodOptions, "/*path", (*call).preflight)

	s.handle(http.MethodGet, "/v1/models", openAI, s.models)
	s.handle(http.MethodGet, "/v1/models/:id", openAI, s.model)
	s.handle(http.MethodPost, "/v1/chat/completions", openAI, s.chatCompletions)
	s.handle(http.MethodPost, "/v1/completions", openAI, s.completions)
	s.handle(http.MethodPost, "/v1/responses", openAI, s.responses)
	s.handle(http.MethodGet, "/v1/responses/:id", openAI, s.getResponse)
	s.handle(http.MethodDelete, "/v1/responses/:id", openAI, s.deleteResponse)
	s.handle(http.MethodGet, "/v1/responses/:id/input_items", openAI, s.responseItems)
	s.handle(http.MethodPost, "/v1/messages", anthropic, s.messages)
	s.handle(http.MethodPost, "/v1/messages/count_tokens", anthropic, s.countTokens)

	r.NotFound = s.wrap(openAI, true, func(c *call) error {
		return notFound("unknown endpoint: %s %s", c.r.Method, clip(c.r.URL.Path, 100))
	})
	r.MethodNotAllowed = s.wrap(openAI, true, func(c *call) error {
		return failure(http.StatusMethodNotAllowed, "method_not_allowed", "%s does not answer to %s", clip(c.r.URL.Path, 100), c.r.Method)
	})
}

// handle adds an endpoint that needs a key, where there are keys.
func (s *Server) handle(method, path string, d dialect, f func(*call) error) {
	s.router.Handler(method, path, s.wrap(d, true, f))
}

// open adds an endpoint that anybody may ask.
func (s *Server) open(method, path string, f func(*call) error) {
	s.router.Handler(method, path, s.wrap(openAI, false, f))
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.router.ServeHTTP(w, r) }
