package serve

import (
	"crypto/rand"
	"encoding/binary"
	"math"
	"strconv"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/sample"
	"github.com/ds4-go/ds4/modules/serve/constrain"
	"github.com/ds4-go/ds4/modules/serve/wire"
)

// Limits of requests.
const (
	maxStops       = 16
	maxChoices     = 16
	maxTopLogprobs = 20
	maxBias        = 1024
	maxMessages    = 20000
	maxTools       = 1024
)

// Names that a model may be asked for by. Others are echoed and mean the same.
const (
	modelName     = "deepseek-v4-flash"
	modelChat     = "deepseek-chat"     // thinking off, unless the request says otherwise
	modelReasoner = "deepseek-reasoner" // thinking on
)

// toolChoice says which tools a turn may or must call.
type toolChoice struct {
	none, required bool
	name           string // the one it must call
}

// completion is a request of any endpoint, understood.
type completion struct {
	model    string
	stream   bool
	usage    bool // in the stream too
	messages []chat.Message
	tools    []chat.Tool
	declared []constrain.Tool // the same, with the schemas of those that are strict
	session  string           // whose turn it is, as the client says
	again    bool             // a tool that is declared already may be so again
	choice   toolChoice
	oneCall  bool

	thinking chat.Thinking
	budget   int // tokens of reasoning
	params   sample.Params
	seeded   bool
	n        int
	limit    int // -1: the server's
	stops    []string
	format   format
	logprobs int // alternatives to report; -1: none
}

func (s *Server) newCompletion() *completion {
	params := sample.Default()
	if s.c.Temperature != nil {
		params.Temperature = *s.c.Temperature
	}
	return &completion{model: modelName, thinking: chat.On, params: params, n: 1, limit: -1, logprobs: -1}
}

// readModel reads the model's name.
func (q *completion) readModel(o wire.Obj) {
	o.String("model", &q.model)
	if len(q.model) > 256 {
		o.Fail("model", "want at most 256 bytes, got %d", len(q.model))
	}
}

// readSession reads what a client calls its conversation, or its user: of the names that the APIs have for it, the first that
// is a text. It is a hint, and no type is asked for.
func (q *completion) readSession(o wire.Obj) {
	for _, n := range []*wire.Node{o.Get("prompt_cache_key"), o.Get("user"), o.Get("metadata").Get("user_id")} {
		if n.Kind == wire.String && n.Text != "" {
			q.session = n.Text
			return
		}
	}
}

// readSampling reads what all endpoints call alike.
func (q *completion) readSampling(o wire.Obj) {
	q.readSession(o)
	float := func(key string, dst *float32, min, max float64) {
		f := 0.0
		if o.Float(key, &f, min, max) {
			*dst = float32(f)
		}
	}
	float("temperature", &q.params.Temperature, 0, 100)
	float("top_p", &q.params.TopP, 0, 1)
	float("min_p", &q.params.MinP, 0, 1)
	o.Int("top_k", &q.params.TopK, 0, math.MaxInt32)
	q.params.TopK = min(q.params.TopK, sample.MaxTopK)
	float("frequency_penalty", &q.params.FrequencyPenalty, -2, 2)
	float("presence_penalty", &q.params.PresencePenalty, -2, 2)
	float("repetition_penalty", &q.params.RepetitionPenalty, 0.01, 100)
	seed := 0
	if o.Int("seed", &seed, math.MinInt64, math.MaxInt64) && seed != 0 {
		q.params.Seed, q.seeded = uint64(seed), true
	}
	o.Bool("stream", &q.stream)
	if so, ok := o.Object("stream_options"); ok {
		so.Bool("include_usage", &q.usage)
	}
}

// readLimit reads the greatest number of tokens, under the first of the names that is there.
func (q *completion) readLimit(o wire.Obj, keys ...string) {
	for _, key := range keys {
		if o.Int(key, &q.limit, 0, math.MaxInt32) {
			return
		}
	}
}

// readBias reads logit_bias: token ids, or texts that are one token, with what to add.
func (q *completion) readBias(o wire.Obj, token func(string) (int32, bool), vocab int) {
	b, ok := o.Object("logit_bias")
	if !ok {
		return
	}
	if len(b.Node().Keys) > maxBias {
		o.Fail("logit_bias", "want at most %d tokens, got %d", maxBias, len(b.Node().Keys))
		return
	}
	q.params.LogitBias = map[int32]float32{}
	for _, key := range b.Node().Keys {
		v := 0.0
		if !b.Float(key, &v, -100, 100) {
			continue
		}
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil {
			t, ok := token(key)
			if !ok {
				b.Fail(key, "want a token's number or text")
				return
			}
			id = int64(t)
		}
		if id < 0 || id >= int64(vocab) {
			b.Fail(key, "want a token from 0 to %d", vocab-1)
			return
		}
		q.params.LogitBias[int32(id)] = float32(v)
	}
}

// readThinking reads all the ways of asking for more or less thinking; see the table in docs/clients.md. effort is the
// value of the endpoint's own effort field, which may be null; with effortExplicit it outweighs a model's name.
func (q *completion) readThinking(o wire.Obj, cp *chat.Checkpoint, ctx int, effortPath string, effort *wire.Node, effortExplicit bool) {
	explicit, on := false, true
	for i, key := range o.Node().Keys { // of two, the later one wins
		v := &o.Node().Items[i]
		if v.Kind == wire.Null || key != "thinking" && key != "think" {
			continue
		}
		switch {
		case v.Kind == wire.Bool:
			explicit, on = true, v.Text == "true"
		case v.Kind == wire.Object && key == "thinking":
			t, _ := o.Object(key)
			q.readThinkingObject(t, &explicit, &on)
		default:
			o.Fail(key, "want a boolean or an object, got %s", v.Kind)
		}
	}
	level := chat.On
	switch effort.Kind {
	case wire.Null:
	case wire.String:
		t, err := cp.Effort(effort.Text)
		if err != nil {
			o.Reader.Fail(effortPath, "want none, minimal, low, medium, high, xhigh, max or ultra, got %q", effort.Text)
			return
		}
		level = t
		if t == chat.Off {
			explicit, on = true, false
		} else if effortExplicit {
			explicit = true
		}
	default:
		o.Reader.Fail(effortPath, "want a string, got %s", effort.Kind)
	}
	if !explicit && q.model == modelChat {
		on = false
	}
	q.thinking = level.Fit(ctx)
	if !on {
		q.thinking = chat.Off
	}
}

func (q *completion) readThinkingObject(t wire.Obj, explicit, on *bool) {
	kind := ""
	t.String("type", &kind)
	switch kind {
	case "enabled":
		*explicit, *on = true, true
	case "disabled":
		*explicit, *on = true, false
	case "", "adaptive":
	default:
		t.Fail("type", "want enabled, disabled or adaptive, got %q", kind)
	}
	t.Int("budget_tokens", &q.budget, 0, math.MaxInt32)
}

// fixedThinking is what ds4 samples with in thinking mode, whatever the request says.
func (q *completion) fixedThinking() {
	d := sample.Default()
	q.params.Temperature, q.params.TopP, q.params.MinP, q.params.TopK = d.Temperature, d.TopP, d.MinP, d.TopK
}

// choices are the sampling parameters of each choice.
func (q *completion) choices() []sample.Params {
	seed := q.params.Seed
	if !q.seeded {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		seed = binary.LittleEndian.Uint64(b[:])
	}
	out := make([]sample.Params, q.n)
	for i := range out {
		out[i] = q.params
		out[i].Seed = sample.Stream(seed, i)
	}
	return out
}
