package serve

import (
	"container/list"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"sync"

	"github.com/ds4-go/ds4/modules/model/chat"
)

// responseStore keeps responses, so that the next request can go on from one by its id. It is memory: a restart empties it.
type responseStore struct {
	aead cipher.AEAD // for reasoning that clients carry without seeing it; its key dies with the process

	mu     sync.Mutex
	byID   map[string]*list.Element
	recent list.List // of *storedResponse, the last used first
	bytes  int
}

type storedResponse struct {
	id      string
	body    json.RawMessage
	input   []json.RawMessage
	history []chat.Message // the answer's last
	found   []json.RawMessage
	bytes   int
}

// Bounds of what is kept.
const (
	storedResponses     = 1000
	storedResponseBytes = 256 << 20
)

func newResponseStore() *responseStore {
	var key [32]byte
	_, _ = rand.Read(key[:])          // never fails
	block, _ := aes.NewCipher(key[:]) // the key has a length that fits
	aead, _ := cipher.NewGCM(block)   // and the block a size
	return &responseStore{aead: aead, byID: map[string]*list.Element{}}
}

func (t *responseStore) seal(text string) string {
	nonce := make([]byte, t.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return base64.RawURLEncoding.EncodeToString(t.aead.Seal(nonce, nonce, []byte(text), nil))
}

func (t *responseStore) unseal(sealed string) (string, bool) {
	b, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(b) < t.aead.NonceSize() {
		return "", false
	}
	n := t.aead.NonceSize()
	text, err := t.aead.Open(nil, b[:n], b[n:], nil)
	return string(text), err == nil
}

func (t *responseStore) get(id string) (*storedResponse, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.byID[id]
	if !ok {
		return nil, false
	}
	t.recent.MoveToFront(e)
	return e.Value.(*storedResponse), true
}

func (t *responseStore) put(r *storedResponse) {
	for _, m := range r.history {
		r.bytes += len(m.Content) + len(m.Reasoning) + 200
		for _, p := range m.Parts {
			r.bytes += len(p.Text)
		}
	}
	r.bytes += len(r.body)
	for _, i := range append(r.input[:len(r.input):len(r.input)], r.found...) {
		r.bytes += len(i)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byID[r.id] = t.recent.PushFront(r)
	t.bytes += r.bytes
	for len(t.byID) > storedResponses || t.bytes > storedResponseBytes && len(t.byID) > 1 {
		t.drop(t.recent.Back())
	}
}

func (t *responseStore) drop(e *list.Element) {
	r := t.recent.Remove(e).(*storedResponse)
	delete(t.byID, r.id)
	t.bytes -= r.bytes
}

func (t *responseStore) remove(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.byID[id]
	if ok {
		t.drop(e)
	}
	return ok
}

// keep stores a finished response, if it is to be stored.
func (s *Server) keep(q responseRequest, j *job, r *response) {
	if !q.store {
		return
	}
	body, err := json.Marshal(r)
	if err != nil {
		j.c.log.Error().Err(err).Msg("response was not stored")
		return
	}
	history := append(q.history[:len(q.history):len(q.history)], j.ends[0].Outcome.Message)
	s.stored.put(&storedResponse{id: r.ID, body: body, input: q.input, history: history, found: q.found})
}

func (c *call) storedResponse() (*storedResponse, error) {
	r, ok := c.s.stored.get(c.param("id"))
	if !ok {
		return nil, notFound("response: this server does not have %q (any more)", clip(c.param("id"), 100))
	}
	return r, nil
}

// getResponse is GET /v1/responses/{id}.
func (s *Server) getResponse(c *call) error {
	r, err := c.storedResponse()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, r.body)
}

// deleteResponse is DELETE /v1/responses/{id}.
func (s *Server) deleteResponse(c *call) error {
	r, err := c.storedResponse()
	if err != nil {
		return err
	}
	s.stored.remove(r.id)
	return c.json(http.StatusOK, map[string]any{"id": r.id, "object": "response", "deleted": true})
}

// responseItems is GET /v1/responses/{id}/input_items.
func (s *Server) responseItems(c *call) error {
	r, err := c.storedResponse()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, map[string]any{"object": "list", "data": r.input, "has_more": false})
}
