package serve

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// TestFirstToken: every endpoint says when the first token came, in the head or, of a stream, in the usage.
func TestFirstToken(t *testing.T) {
	b := newBench(t, pieces("a", "</think>", "b"), nil)
	const messages = `"max_tokens":9,"messages":[{"role":"user","content":"x"}]`
	for path, c := range map[string]struct{ body, usage string }{
		"/v1/chat/completions": {messages + `,"stream_options":{"include_usage":true}`, "usage"},
		"/v1/completions":      {`"prompt":"x","stream_options":{"include_usage":true}`, "usage"},
		"/v1/messages":         {messages, "usage"},
		"/v1/responses":        {`"input":"x"`, "response.usage"},
	} {
		r, err := http.Post(b.http.URL+path, "application/json", strings.NewReader("{"+c.body+"}"))
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		if ms, err := strconv.Atoi(r.Header.Get(firstTokenHeader)); err != nil || ms < 0 {
			t.Errorf("%s: header: got %q", path, r.Header.Get(firstTokenHeader))
		}
		_, data, _ := b.events(path, `{"stream":true,`+c.body+`}`)
		got := ""
		for _, d := range data {
			if ms, ok := at(d, c.usage+".first_token_ms").(string); ok {
				got += ms + " "
			}
		}
		if ms, err := strconv.Atoi(strings.TrimSuffix(got, " ")); err != nil || ms < 0 {
			t.Errorf("%s: stream: want one first_token_ms, got %q", path, got)
		}
	}
}
