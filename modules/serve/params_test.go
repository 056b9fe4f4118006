package serve

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ds4-go/ds4/modules/serve/wire"
)

// TestTemperature: each endpoint samples at the request's temperature, else at the server's, else at 1.
func TestTemperature(t *testing.T) {
	zero := float32(0)
	for _, c := range []struct {
		server *float32
		field  string
		want   float32
	}{{nil, ``, 1}, {&zero, ``, 0}, {&zero, `,"temperature":0.5`, 0.5}, {nil, `,"temperature":0`, 0}} {
		b := newBench(t, pieces("x"), func(k *Config) { k.Temperature = c.server })
		for name, read := range map[string]func(wire.Obj) *completion{
			`"messages":[{"role":"user","content":"Hi"}]`:                   b.server.readChat,
			`"max_tokens":9,"messages":[{"role":"user","content":"Hello"}]`: b.server.readAnthropic,
			`"prompt":"Hi"`: func(o wire.Obj) *completion { return b.server.readRaw(o).completion },
			`"input":"Hi"`: func(o wire.Obj) *completion {
				r, err := b.server.readResponse(o)
				if err != nil {
					t.Error(err)
				}
				return r.completion
			},
		} {
			o, err := wire.Body(fmt.Appendf(nil, `{%s%s}`, name, c.field))
			if err != nil {
				t.Fatal(err)
			}
			if got := read(o).choices()[0].Temperature; got != c.want {
				t.Errorf("{%s%s}: want temperature %g, got %g", name, c.field, c.want, got)
			}
		}
	}
}

// TestSession reads whose turn a request takes: the header says it before the body, and the body in each API's way.
func TestSession(t *testing.T) {
	b := newBench(t, pieces("x"), nil)
	for _, c := range []struct{ header, body, want string }{
		{"", `{}`, "me@192.0.2.1"},
		{"", `{"user":3,"metadata":"x"}`, "me@192.0.2.1"},
		{"", `{"user":"ann"}`, "me/ann"},
		{"", `{"user":"ann","prompt_cache_key":"talk"}`, "me/talk"},
		{"", `{"metadata":{"user_id":"bob"}}`, "me/bob"},
		{"head", `{"user":"ann"}`, "me/head"},
	} {
		o, err := wire.Body([]byte(c.body))
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "/v1/responses", nil)
		r.Header.Set("X-Session-Id", c.header)
		q := b.server.newCompletion()
		q.readSampling(o)
		if got := (&call{r: r, key: "me"}).client(q.session); got != c.want {
			t.Errorf("%q %s: want %s, got %s", c.header, c.body, c.want, got)
		}
	}
}
