package serve

import (
	"net/http"
	"strings"
	"time"

	"github.com/ds4-go/ds4/modules/serve/wire"
)

// modelEpoch is when the models of the list came to be, as ds4 says it: 2026-01-01.
const modelEpoch = 1767225600

type modelInfo struct {
	ID            string         `json:"id"`
	Object        string         `json:"object"`
	Created       int64          `json:"created"`
	OwnedBy       string         `json:"owned_by"`
	Name          string         `json:"name"`
	ContextLength int            `json:"context_length"`
	TopProvider   map[string]any `json:"top_provider"`
	Parameters    []string       `json:"supported_parameters"`
}

var modelNames = map[string]string{modelName: "DeepSeek V4 Flash", modelChat: "DeepSeek V4 Flash, not thinking", modelReasoner: "DeepSeek V4 Flash, thinking"}

func (s *Server) modelInfo(id string) modelInfo {
	return modelInfo{id, "model", modelEpoch, "ds4", modelNames[id], s.c.Ctx,
		map[string]any{"context_length": s.c.Ctx, "max_completion_tokens": min(s.c.DefaultTokens, s.c.Ctx), "is_moderated": false},
		[]string{"tools", "tool_choice", "parallel_tool_calls", "max_tokens", "temperature", "top_p", "top_k", "min_p", "frequency_penalty",
			"presence_penalty", "repetition_penalty", "logit_bias", "logprobs", "top_logprobs", "n", "stop", "seed", "stream", "thinking", "reasoning_effort"}}
}

type anthropicModel struct {
	Type        string `json:"type"`
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	CreatedAt   string `json:"created_at"`
}

func anthropicModelOf(id string) anthropicModel {
	return anthropicModel{"model", id, modelNames[id], time.Unix(modelEpoch, 0).UTC().Format(time.RFC3339)}
}

// forAnthropic says whether the client is one of Anthropic's, where the path does not tell.
func (c *call) forAnthropic() bool { return c.r.Header.Get("Anthropic-Version") != "" }

func (s *Server) models(c *call) error {
	ids := []string{modelName, modelChat, modelReasoner}
	if c.forAnthropic() {
		var data []anthropicModel
		for _, id := range ids {
			data = append(data, anthropicModelOf(id))
		}
		return c.json(http.StatusOK, map[string]any{"data": data, "has_more": false, "first_id": ids[0], "last_id": ids[len(ids)-1]})
	}
	var data []modelInfo
	for _, id := range ids {
		data = append(data, s.modelInfo(id))
	}
	return c.json(http.StatusOK, map[string]any{"object": "list", "data": data})
}

func (s *Server) model(c *call) error {
	id := c.param("id")
	if c.forAnthropic() {
		c.dialect = anthropic
	}
	if _, ok := modelNames[id]; !ok {
		return failure(http.StatusNotFound, "model_not_found", "model: want %s, %s or %s, got %q", modelName, modelChat, modelReasoner, clip(id, 100))
	}
	if c.forAnthropic() {
		return c.json(http.StatusOK, anthropicModelOf(id))
	}
	return c.json(http.StatusOK, s.modelInfo(id))
}

// health says that the model is loaded and the scheduler answers.
func (s *Server) health(c *call) error {
	return c.json(http.StatusOK, map[string]any{"status": "ok"})
}

func (s *Server) props(c *call) error {
	st := s.c.Scheduler.Stats()
	return c.json(http.StatusOK, map[string]any{
		"model": s.c.Model, "backend": s.c.Backend, "version": s.c.Version, "n_ctx": s.c.Ctx, "n_vocab": s.c.Tokenizer.Len(),
		"checkpoint": s.c.Checkpoint.Name, "sessions": s.c.Scheduler.Sessions(), "default_max_tokens": min(s.c.DefaultTokens, s.c.Ctx),
		"uptime_seconds": int(time.Since(s.started).Seconds()), "waiting": st.Waiting, "running": st.Running,
		"snapshots": st.Snapshots, "free_pages": st.FreePages, "disk_cache": s.c.Store != nil,
	})
}

// tokenize encodes a text: {"content": …, "special": true for template text, "pieces": true for the tokens' texts}.
func (s *Server) tokenize(c *call) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	text, special, pieces := "", false, false
	if !o.Has("content") {
		o.Fail("content", "want a string, got nothing")
	}
	o.String("content", &text)
	o.Bool("special", &special)
	o.Bool("pieces", &pieces)
	if err := o.Err(); err != nil {
		return err
	}
	t := s.c.Tokenizer
	ids := []int32{}
	if special {
		ids = t.EncodeTemplate(ids, text)
	} else {
		ids = t.Encode(ids, text)
	}
	out := map[string]any{"tokens": ids}
	if pieces {
		texts := make([]string, len(ids))
		for i, id := range ids {
			texts[i] = strings.ToValidUTF8(t.Text(id), "\uFFFD")
		}
		out["pieces"] = texts
	}
	return c.json(http.StatusOK, out)
}

func (s *Server) detokenize(c *call) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	ids := readTokens(o, "tokens", s.c.Tokenizer.Len())
	if err := o.Err(); err != nil {
		return err
	}
	text, err := s.c.Tokenizer.Decode(nil, ids)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, map[string]any{"content": strings.ToValidUTF8(string(text), "\uFFFD")})
}

// readTokens reads an array of token ids.
func readTokens(o wire.Obj, key string, vocab int) []int32 {
	items, ok := o.Array(key)
	if !ok {
		o.Fail(key, "want an array of tokens, got %s", o.Get(key).Kind)
		return nil
	}
	return tokensOf(o, key, items, vocab)
}
