package serve

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ds4-go/ds4/modules/model/draft"
	"github.com/ds4-go/ds4/modules/serve/kvstore"
	"github.com/ds4-go/ds4/modules/serve/sched"
)

// Metrics counts what a server does, for Prometheus. It is also the scheduler's sched.Metrics.
type Metrics struct {
	registry *prometheus.Registry
	handler  http.Handler

	requests   *prometheus.CounterVec   // by method, path, status
	duration   *prometheus.HistogramVec // by path
	prompts    *prometheus.CounterVec   // by source of the prefix
	reused     prometheus.Counter
	prefilled  prometheus.Counter
	decoded    prometheus.Counter
	steps      *prometheus.CounterVec // seconds, by what the step did
	finishes   *prometheus.CounterVec
	reasoning  prometheus.Counter
	generated  prometheus.Counter
	waited     prometheus.Histogram
	firstToken prometheus.Histogram
	gap        prometheus.Histogram // between tokens
	preempted  prometheus.Counter
}

// NewMetrics makes the counters, with the process's own beside them.
func NewMetrics() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "ds4", Name: name, Help: help})
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "ds4", Name: name, Help: help}, labels)
	}
	seconds := prometheus.ExponentialBuckets(0.001, 2, 20)
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "ds4", Name: name, Help: help, Buckets: seconds})
	}
	m.requests = vec("http_requests_total", "HTTP requests answered.", "method", "path", "status")
	m.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "ds4", Name: "http_request_seconds",
		Help: "Time to answer HTTP requests, streams included.", Buckets: seconds}, []string{"path"})
	m.prompts = vec("prompts_total", "Prompts started, by where their known prefix came from.", "source")
	m.reused = counter("prompt_tokens_reused_total", "Tokens of prompts that did not have to be evaluated.")
	m.prefilled = counter("prefill_tokens_total", "Tokens of prompts evaluated.")
	m.decoded = counter("decode_tokens_total", "Generated tokens evaluated.")
	m.steps = vec("step_seconds_total", "Time in the engine, by what a step did.", "kind")
	m.finishes = vec("completions_total", "Completions, by finish reason.", "finish")
	m.reasoning = counter("reasoning_tokens_total", "Generated tokens that were reasoning.")
	m.generated = counter("generated_tokens_total", "Tokens generated.")
	m.waited = histogram("queue_seconds", "Time that requests waited.")
	m.firstToken = histogram("first_token_seconds", "Time from submission to the first event of a completion.")
	m.gap = histogram("inter_token_seconds", "Time of the steps in which sequences generated: the time between two tokens.")
	m.preempted = counter("preemptions_total", "Sequences that were evaluated again for want of cache pages.")
	m.registry.MustRegister(m.requests, m.duration, m.prompts, m.reused, m.prefilled, m.decoded, m.steps, m.finishes, m.reasoning,
		m.generated, m.waited, m.firstToken, m.gap, m.preempted,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	return m
}

// Step implements sched.Metrics.
func (m *Metrics) Step(prefill, decode int, took time.Duration) {
	m.prefilled.Add(float64(prefill))
	m.decoded.Add(float64(decode))
	kind := "mixed"
	switch {
	case prefill == 0:
		kind = "decode"
	case decode == 0:
		kind = "prefill"
	}
	m.steps.WithLabelValues(kind).Add(took.Seconds())
	if decode > 0 {
		m.gap.Observe(took.Seconds())
	}
}

// Started implements sched.Metrics.
func (m *Metrics) Started(source string, prompt, cached int, waited time.Duration) {
	m.prompts.WithLabelValues(source).Inc()
	m.reused.Add(float64(cached))
	m.waited.Observe(waited.Seconds())
}

// Preempted implements sched.Metrics.
func (m *Metrics) Preempted() { m.preempted.Inc() }

func (m *Metrics) finished(finish string, tokens, reasoning int) {
	m.finishes.WithLabelValues(finish).Inc()
	m.generated.Add(float64(tokens))
	m.reasoning.Add(float64(reasoning))
}

// request counts an answer. Paths that are not endpoints count as one, or a scanner would fill the memory.
func (m *Metrics) request(method, path string, status int, took time.Duration) {
	path = endpointOf(path)
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodDelete, http.MethodOptions:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(method, path, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(path).Observe(took.Seconds())
}

var endpoints = map[string]bool{"/health": true, "/metrics": true, "/props": true, "/tokenize": true, "/detokenize": true,
	"/v1/models": true, "/v1/chat/completions": true, "/v1/completions": true, "/v1/responses": true, "/v1/messages": true,
	"/v1/messages/count_tokens": true}

func endpointOf(path string) string {
	switch {
	case endpoints[path]:
		return path
	case strings.HasPrefix(path, "/v1/models/"):
		return "/v1/models/:id"
	case strings.HasPrefix(path, "/v1/responses/"):
		return "/v1/responses/:id"
	}
	return "other"
}

// Watch adds gauges of the scheduler and the store, which may be nil. Call it once.
func (m *Metrics) Watch(s *sched.Scheduler, store *kvstore.Store) {
	gauge := func(name, help string, f func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "ds4", Name: name, Help: help}, f))
	}
	gauge("queue_length", "Requests that wait.", func() float64 { return float64(s.Stats().Waiting) })
	gauge("requests_running", "Requests being evaluated.", func() float64 { return float64(s.Stats().Running) })
	gauge("sequences_running", "Sequences being evaluated.", func() float64 { return float64(s.Stats().Sequences) })
	gauge("snapshots", "Snapshots in memory.", func() float64 { return float64(s.Stats().Snapshots) })
	gauge("snapshot_bytes", "Host memory of snapshots.", func() float64 { return float64(s.Stats().SnapshotBytes) })
	gauge("cache_pages_free", "Cache pages that nobody holds, of 2048 tokens each.", func() float64 { return float64(s.Stats().FreePages) })
	m.watchGuesses(s)
	if store == nil {
		return
	}
	gauge("disk_bytes", "Bytes of the disk cache.", func() float64 { return float64(store.Stats().Bytes) })
	gauge("disk_files", "Files of the disk cache.", func() float64 { return float64(store.Stats().Files) })
	gauge("disk_hits", "Checkpoints used since the start.", func() float64 { return float64(store.Stats().Hits) })
	gauge("disk_misses", "Look-ups without a checkpoint since the start.", func() float64 { return float64(store.Stats().Misses) })
	gauge("disk_saves", "Checkpoints stored since the start.", func() float64 { return float64(store.Stats().Saves) })
	gauge("disk_evictions", "Files evicted since the start.", func() float64 { return float64(store.Stats().Evictions) })
}

// watchGuesses adds what came of guessing ahead.
func (m *Metrics) watchGuesses(s *sched.Scheduler) {
	counter := func(name, help string, labels prometheus.Labels, f func(g *draft.Stats) int) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "ds4", Name: name, Help: help, ConstLabels: labels},
			func() float64 { g := s.Stats().Guesses; return float64(f(&g)) }))
	}
	for i := range draft.Sources {
		source := prometheus.Labels{"source": i.String()}
		counter("guesses_total", "Tokens guessed ahead and evaluated.", source, func(g *draft.Stats) int { return g.Drafted[i] })
		counter("guesses_right_total", "Of these, those that were what the model chose.", source, func(g *draft.Stats) int { return g.Kept[i] })
	}
	for i := range draft.Most + 1 {
		depth := prometheus.Labels{"depth": strconv.Itoa(i)}
		counter("guess_depth_total", "Steps of sequences, by how many tokens they guessed.", depth, func(g *draft.Stats) int { return g.Depths[i] })
	}
	counter("guess_probes_total", "Guesses made against the odds, to find out.", nil, func(g *draft.Stats) int { return g.Probes })
}

func (s *Server) metrics(c *call) error {
	s.c.Metrics.handler.ServeHTTP(c.w, c.r)
	return nil
}
