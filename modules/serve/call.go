package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"
	"github.com/rs/zerolog"

	"github.com/ds4-go/ds4/modules/serve/sched"
	"github.com/ds4-go/ds4/modules/serve/wire"
)

// dialect is whose API an endpoint speaks: it decides the shape of errors.
type dialect uint8

const (
	openAI dialect = iota
	anthropic
)

// call is one HTTP request being answered.
type call struct {
	s       *Server
	w       *recorder
	r       *http.Request
	dialect dialect
	id      string // x-request-id
	key     string // name of the key it came with
	log     zerolog.Logger
	stream  *wire.Stream // set once the answer is a stream
	begun   bool         // the head was sent, and blank lines: JSON is to follow
}

// recorder remembers what was sent.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// wrap makes a handler: checks first, then f; its error becomes the answer. A panic ends this request alone.
func (s *Server) wrap(d dialect, keyed bool, f func(*call) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		c := &call{s: s, w: &recorder{ResponseWriter: w}, r: r, dialect: d, id: requestID(r)}
		c.log = s.c.Log.With().Str("request", c.id).Logger()
		c.w.Header().Set("X-Request-Id", c.id)
		if d == anthropic {
			c.w.Header().Set("Request-Id", c.id)
		}
		defer func() {
			if v := recover(); v != nil {
				c.log.Error().Interface("panic", v).Bytes("stack", debug.Stack()).Msg("a request failed inside")
				c.fail(failure(http.StatusInternalServerError, "", "internal error"))
			}
			s.c.Metrics.request(r.Method, r.URL.Path, c.w.status, time.Since(began))
			c.log.Info().Str("method", r.Method).Str("path", clip(r.URL.Path, 100)).Int("status", c.w.status).
				Dur("took", time.Since(began)).Str("key", c.key).Msg("answered")
		}()
		if err := c.admitted(keyed); err != nil {
			c.fail(err)
			return
		}
		if err := f(c); err != nil {
			c.fail(err)
		}
	})
}

// requestID is the client's own, if it is one that can be echoed.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	ok := id != "" && len(id) <= 64
	for i := 0; ok && i < len(id); i++ {
		b := id[i]
		ok = b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || strings.IndexByte("-_.:", b) >= 0
	}
	if !ok {
		return wire.ID("req_", 24)
	}
	return id
}

func clip(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

// param is a part of the path.
func (c *call) param(name string) string {
	return httprouter.ParamsFromContext(c.r.Context()).ByName(name)
}

// client is whose turn in the queue the request takes: that of the session which the header or the body names, or the host's.
func (c *call) client(session string) string {
	if id := cmp.Or(c.r.Header.Get("X-Session-Id"), session); id != "" {
		return c.key + "/" + clip(id, 128)
	}
	host, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil {
		host = c.r.RemoteAddr
	}
	return c.key + "@" + host
}

// bodyTimeout is how long a client may take to send a body.
const bodyTimeout = time.Minute

// body reads and parses the request's body.
func (c *call) body() (wire.Obj, error) {
	if t := c.r.Header.Get("Content-Type"); t != "" && !strings.Contains(t, "json") && !strings.HasPrefix(t, "text/plain") &&
		!strings.HasPrefix(t, "application/x-www-form-urlencoded") { // curl -d without a header
		return wire.Obj{}, failure(http.StatusUnsupportedMediaType, "", "content-type: want application/json, got %q", clip(t, 80))
	}
	// A deadline left on the connection would end the request's context in the middle of its answer.
	rc := http.NewResponseController(c.w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout)) // recorders have none
	defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, c.s.c.MaxBody))
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		return wire.Obj{}, failure(http.StatusRequestEntityTooLarge, "", "body: want at most %d bytes", c.s.c.MaxBody)
	case err != nil:
		return wire.Obj{}, failure(http.StatusBadRequest, "", "body: %s", "could not be read to its end")
	}
	c.trace("request", map[string]any{"path": c.r.URL.Path, "body": string(data)})
	o, bad := wire.Body(data)
	if bad != nil {
		return o, bad
	}
	return o, nil
}

func (c *call) deadline() {
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(c.s.c.Timeout)) // recorders have none
}

// start makes the answer a stream.
func (c *call) start() *wire.Stream {
	c.stream = wire.NewStream(c.w, c.s.c.Timeout)
	return c.stream
}

func failure(status int, code, format string, a ...any) error {
	return wire.Failure(status, code, format, a...)
}

func notFound(format string, a ...any) error {
	return failure(http.StatusNotFound, "not_found", format, a...)
}

// errGone is for a client that has left: there is nobody to answer.
var errGone = errors.New("the client is gone")

// explain is the one table from errors to what clients are told.
func explain(err error) *wire.Error {
	var e *wire.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, sched.ErrBusy):
		e = wire.Failure(http.StatusTooManyRequests, "queue_full", "too many requests wait already; try again")
		e.RetryAfter = 2
	case errors.Is(err, sched.ErrClosed):
		e = wire.Failure(http.StatusServiceUnavailable, "shutting_down", "server is shutting down")
	case errors.Is(err, sched.ErrMemory):
		e = wire.Failure(http.StatusServiceUnavailable, "out_of_memory", "not enough memory for the caches of this request; try again when less is running")
		e.RetryAfter = 10
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e = wire.Failure(http.StatusServiceUnavailable, "canceled", "request was cancelled")
	default:
		e = wire.Failure(http.StatusInternalServerError, "", "internal error")
	}
	return e
}

// fail answers with an error, in the endpoint's shape; in a stream it is its last event.
func (c *call) fail(err error) {
	if errors.Is(err, errGone) || c.r.Context().Err() != nil {
		if c.w.status == 0 {
			c.w.status = 499 // nobody reads it; for the log
		}
		return
	}
	e := explain(err)
	if e.Status >= 500 {
		c.log.Error().Err(err).Msg("a request failed")
	} else {
		c.log.Info().Err(err).Int("status", e.Status).Msg("refused")
	}
	body, status := e.OpenAI(), e.Status
	if c.dialect == anthropic {
		body, status = e.Anthropic(c.id), e.AnthropicStatus()
	}
	if c.stream != nil {
		c.stream.Event("error", body)
		_ = c.stream.Flush() // it failed already
		return
	}
	if c.w.status != 0 && !c.begun {
		return
	}
	if e.RetryAfter > 0 {
		c.w.Header().Set("Retry-After", fmt.Sprint(e.RetryAfter))
	}
	_ = c.json(status, body)
}
