package wire

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"
)

// Encode writes v as one line of JSON that ends with a line break, with no escapes that JSON does not demand.
func Encode(b *bytes.Buffer, v any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// WriteJSON answers with a JSON body.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	var b bytes.Buffer
	if err := Encode(&b, v); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, err := w.Write(b.Bytes())
	return err
}

// Stream writes server-sent events. Events are gathered until Flush; the first error sticks.
type Stream struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	buf     bytes.Buffer
	json    *json.Encoder
	timeout time.Duration
	until   time.Time // the deadline of writes that is set
	err     error
}

// NewStream starts an event stream: it sends the head at once. A client that takes nothing for the timeout is given up.
func NewStream(w http.ResponseWriter, timeout time.Duration) *Stream {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no") // proxies would hold the events back
	s := &Stream{w: w, rc: http.NewResponseController(w), timeout: timeout}
	s.json = json.NewEncoder(&s.buf)
	s.json.SetEscapeHTML(false)
	w.WriteHeader(http.StatusOK)
	s.flush()
	return s
}

// Event adds an event with JSON data. Without a name it has no event line.
func (s *Stream) Event(name string, v any) {
	if name != "" {
		s.buf.WriteString("event: ")
		s.buf.WriteString(name)
		s.buf.WriteByte('\n')
	}
	s.buf.WriteString("data: ")
	if err := s.json.Encode(v); err != nil && s.err == nil { // ends the line
		s.err = err
	}
	s.buf.WriteByte('\n')
}

// Text adds an event without a name whose data is a text of a JSON document, between what comes before and after it.
func (s *Stream) Text(before, text, after string) {
	s.buf.WriteString("data: ")
	s.buf.WriteString(before)
	s.buf.Write(AppendString(s.buf.AvailableBuffer(), text))
	s.buf.WriteString(after)
	s.buf.WriteString("\n\n")
}

// Data adds an event with raw data.
func (s *Stream) Data(text string) {
	s.buf.WriteString("data: ")
	s.buf.WriteString(text)
	s.buf.WriteString("\n\n")
}

// Comment adds a comment, which clients skip.
func (s *Stream) Comment(text string) {
	s.buf.WriteString(": ")
	s.buf.WriteString(text)
	s.buf.WriteString("\n\n")
}

// Flush sends what was gathered.
func (s *Stream) Flush() error {
	if s.err == nil && s.buf.Len() > 0 {
		s.flush()
	}
	return s.err
}

func (s *Stream) flush() {
	// Setting a deadline for every token costs more than making its event: one in eight parts of the timeout will do.
	if now := time.Now(); s.timeout > 0 && s.until.Sub(now) < s.timeout-s.timeout/8 {
		s.until = now.Add(s.timeout)
		_ = s.rc.SetWriteDeadline(s.until) // recorders have none
	}
	if _, err := s.w.Write(s.buf.Bytes()); err != nil && s.err == nil {
		s.err = err
	}
	s.buf.Reset()
	if err := s.rc.Flush(); err != nil && s.err == nil {
		s.err = err
	}
}

// ID makes a random id: the prefix and n hexadecimal digits.
func ID(prefix string, n int) string {
	b := make([]byte, (n+1)/2)
	_, _ = rand.Read(b) // never fails
	return prefix + hex.EncodeToString(b)[:n]
}
