//go:build unix

package agents

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ds4-go/ds4/modules/serve"
	"github.com/ds4-go/ds4/modules/serve/sched"
	"github.com/ds4-go/ds4/modules/serve/servetest"
)

// server is where an agent is to go.
type server struct{ url, key string }

// reader plays a model that reads a file when it has a tool for that, and then says what the file's key is. It keeps every
// prompt.
type reader struct {
	dir, file string

	mu      sync.Mutex
	prompts []string
}

// toolLine is a declaration as the prompt has it.
type toolLine struct {
	Name       string `json:"name"`
	Parameters struct {
		Properties map[string]struct {
			Type any `json:"type"`
		} `json:"properties"`
	} `json:"parameters"`
}

var (
	keyIn   = regexp.MustCompile(`The key is ([A-Z]+-\d+)`)
	results = regexp.MustCompile(`(?s)<tool_result>(.*?)</tool_result>`)
)

// answer is the script of an engine.
func (r *reader) answer(prompt string) []string {
	r.mu.Lock()
	r.prompts = append(r.prompts, prompt)
	r.mu.Unlock()
	var text string
	if result := results.FindAllStringSubmatch(prompt, -1); len(result) > 0 {
		text = "I found no key."
		if k := keyIn.FindStringSubmatch(result[len(result)-1][1]); k != nil {
			text = "The key is " + k[1] + "."
		}
	} else if call := r.call(prompt); call != "" {
		text = "I will look.\n\n" + call
	} else {
		text = "Reading a file"
	}
	if !strings.HasSuffix(prompt, "</think>") {
		text = "Hm.</think>" + text
	}
	return strings.SplitAfter(text, " ")
}

// call is a call of the first tool that can read a file, by its name and its parameters.
func (r *reader) call(prompt string) string {
	_, rest, ok := strings.Cut(prompt, "### Available Tool Schemas\n\n")
	if !ok {
		return ""
	}
	declared := map[string]toolLine{}
	for line := range strings.Lines(rest) {
		var t toolLine
		if json.Unmarshal([]byte(line), &t) != nil || t.Name == "" {
			break
		}
		declared[t.Name] = t
	}
	for _, name := range []string{"read", "Read", "exec_command", "shell", "shell_command", "Bash"} {
		t, ok := declared[name]
		if !ok {
			continue
		}
		for _, p := range []string{"path", "file_path", "filePath", "filepath"} {
			if _, ok := t.Parameters.Properties[p]; ok {
				return invoke(name, p, "true", path.Join(r.dir, r.file))
			}
		}
		for _, p := range []string{"cmd", "command"} {
			switch t.Parameters.Properties[p].Type {
			case "string":
				return invoke(name, p, "true", "cat "+r.file)
			case "array":
				return invoke(name, p, "false", `["cat", "`+r.file+`"]`)
			}
		}
	}
	return ""
}

func invoke(tool, parameter, isString, value string) string {
	return "<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"" + tool + "\">\n<｜DSML｜parameter name=\"" + parameter + "\" string=\"" + isString + "\">" +
		value + "</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"
}

// seen reports whether a prompt held a tool's result with the text in it.
func (r *reader) seen(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.prompts {
		for _, result := range results.FindAllStringSubmatch(p, -1) {
			if strings.Contains(result[1], text) {
				return true
			}
		}
	}
	return false
}

// longest is the length of the longest prompt in bytes.
func (r *reader) longest() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, p := range r.prompts {
		n = max(n, len(p))
	}
	return n
}

// scripted is a server whose model is r, with room for the prompt of any agent.
func scripted(t *testing.T, r *reader) server {
	t.Helper()
	tok, lim := servetest.Tokenizer(), servetest.Limits()
	lim.CtxTokens = 1 << 19
	e := servetest.NewEngine(tok, lim)
	e.Script = r.answer
	m := serve.NewMetrics()
	sc := sched.New(sched.Config{Engine: e, Metrics: m, Log: zerolog.Nop()})
	m.Watch(sc, nil)
	s, err := serve.New(serve.Config{Scheduler: sc, Tokenizer: tok, Ctx: lim.CtxTokens, Metrics: m, Log: zerolog.New(zerolog.NewTestWriter(t))})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		h.Close()
		if err := sc.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return server{url: h.URL}
}
