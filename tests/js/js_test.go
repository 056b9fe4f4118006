package js

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/ds4-go/ds4/modules/serve"
	"github.com/ds4-go/ds4/modules/serve/sched"
	"github.com/ds4-go/ds4/modules/serve/servetest"
	"github.com/ds4-go/ds4/tests/internal/program"
)

const key = program.Key

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }

const call = "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"get_weather\">\n<｜DSML｜parameter name=\"city\" string=\"true\">Paris</｜DSML｜parameter>\n" +
	"</｜DSML｜invoke>\n</｜DSML｜tool_calls>"

// script answers with a call where tools are declared and nothing was called yet, with many numbers where it is to
// count, and else with a sentence.
func script(prompt string) []string {
	switch {
	case strings.Contains(prompt, "### Available Tool Schemas") && !strings.Contains(prompt, "<tool_result>"):
		return []string{"I need ", "it.", "</think>", "One ", "moment.", call}
	case strings.Contains(prompt, "<｜User｜>Count<｜Assistant｜>"):
		return strings.SplitAfter(strings.Repeat("one two three ", 10000), " ")
	case strings.HasSuffix(prompt, "</think>"):
		return []string{"Hello ", "world"}
	}
	return []string{"Hm", "m.", "</think>", "Hello ", "world"}
}

// scripted is a server whose answers are written above.
func scripted(t *testing.T, sessions, queue int, pace time.Duration) string {
	t.Helper()
	tok := servetest.Tokenizer()
	e := servetest.NewEngine(tok, servetest.Limits())
	e.Script, e.Pace = script, pace
	m := serve.NewMetrics()
	sc := sched.New(sched.Config{Engine: e, Sessions: sessions, Queue: queue, Metrics: m, Log: zerolog.Nop()})
	m.Watch(sc, nil)
	s, err := serve.New(serve.Config{Scheduler: sc, Tokenizer: tok, Ctx: servetest.Limits().CtxTokens, Metrics: m, Log: zerolog.Nop(),
		Keys: []serve.Key{{Name: "test", Secret: key}}})
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		h.Close()
		if err := sc.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if n := e.Seqs.Load(); n != 0 {
			t.Errorf("%d sequences were not freed", n)
		}
	})
	return h.URL
}

func TestClients(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node here; the JavaScript clients are not tested")
	}
	if _, err := os.Stat("node_modules"); err != nil {
		t.Skip("tests/js/node_modules is missing; \"go tool task test:js\" installs it and runs this test")
	}
	demo := program.Serve(t, program.Options{})
	for _, file := range []string{"openai.test.mjs", "anthropic.test.mjs", "demo.test.mjs"} {
		t.Run(file, func(t *testing.T) { // one after the other: a file counts who else is served
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			c := exec.CommandContext(ctx, node, "--test", file)
			c.Env = append(os.Environ(), "DS4_TEST_KEY="+key, "DS4_TEST_SCRIPTED="+scripted(t, 0, 0, 0),
				"DS4_TEST_NARROW="+scripted(t, 1, 1, time.Millisecond), "DS4_TEST_DEMO="+demo.URL)
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("node --test: %v\n%s", err, out)
			}
		})
	}
}
