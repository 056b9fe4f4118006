package serve

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/ds4-go/ds4/modules/serve/sched"
)

// TestConversations has eight conversations of six turns at once, each turn with a tool call in it. After the first turn at
// most what is new is evaluated, and all answers are those of a server without any cache. The model answers with a hash of
// its prompt, so that a prompt that differs shows.
func TestConversations(t *testing.T) {
	const talks, turns = 8, 6
	script := func(prompt string) []string {
		h := fnv.New32a()
		_, _ = h.Write([]byte(prompt))
		sum := fmt.Sprintf("%08x", h.Sum32())
		if strings.HasSuffix(prompt, "</tool_result><｜Assistant｜><think>") {
			return []string{"Got ", sum, "</think>", "The answer", " is ", sum}
		}
		return []string{"Need ", sum, ".", "</think>", "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"get_weather\">\n",
			"<｜DSML｜parameter name=\"days\" string=\"false\"> ", "7</｜DSML｜parameter>\n<｜DSML｜parameter name=\"city\" string=\"true\">", sum,
			"</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>"}
	}
	cached := newBench(t, script, nil)
	bare := newBench(t, script, nil)
	if err := bare.server.c.Scheduler.Close(t.Context()); err != nil { // first: one engine has one owner
		t.Fatal(err)
	}
	cold := sched.New(sched.Config{Engine: bare.engine, SnapshotBytes: -1, Log: zerolog.Nop()})
	bare.server.c.Scheduler = cold
	defer func() {
		if err := cold.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	var wg sync.WaitGroup
	for i := range talks {
		wg.Go(func() {
			c := talker{bench: cached, name: fmt.Sprint("talk ", i), warm: true}
			d := talker{bench: bare, name: c.name}
			for turn := range turns {
				said := fmt.Sprintf("Question %d of conversation %d: how is it?", turn, i)
				if a, b := c.turn(said), d.turn(said); a != b {
					t.Errorf("%s turn %d: with caches %q, without %q", c.name, turn, a, b)
				}
			}
		})
	}
	wg.Wait()
}

// talker is a client with a conversation.
type talker struct {
	*bench
	name     string
	warm     bool     // the server keeps what it knows
	messages []string // as JSON
}

// turn asks, has the tool called, and returns the answer. But for the first turn, nothing but what is new may be evaluated.
func (c *talker) turn(said string) string {
	first := len(c.messages) == 0
	c.messages = append(c.messages, `{"role":"user","content":`+quoted(said)+`}`)
	call := c.ask(c.warm && !first, len(said))
	id, _ := at(call, "tool_calls.0.id").(string)
	args, _ := at(call, "tool_calls.0.function.arguments").(string)
	if id == "" {
		c.Errorf("%s: want a call, got %v", c.name, call)
		return ""
	}
	result := "result of " + args
	c.messages = append(c.messages, `{"role":"tool","tool_call_id":`+quoted(id)+`,"content":`+quoted(result)+`}`)
	answer := c.ask(c.warm, len(result))
	text, _ := at(answer, "content").(string)
	return text + " " + args
}

// ask sends the conversation and appends the answer to it.
func (c *talker) ask(warm bool, bytes int) any {
	status, text := c.do(http.MethodPost, "/v1/chat/completions", `{"messages":[`+strings.Join(c.messages, ",")+`],`+tools+`}`)
	if status != http.StatusOK {
		c.Errorf("%s: %d %s", c.name, status, text)
		return nil
	}
	var v struct {
		Choices []struct{ Message json.RawMessage }
		Usage   struct {
			Prompt  int `json:"prompt_tokens"`
			Details struct {
				Cached int `json:"cached_tokens"`
			} `json:"prompt_tokens_details"`
		}
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil || len(v.Choices) != 1 {
		c.Errorf("%s: %v in %s", c.name, err, text)
		return nil
	}
	// The new message is a token a byte at most, with its wrapping.
	const wrapping = 40
	if new := v.Usage.Prompt - v.Usage.Details.Cached; warm && new > bytes+wrapping {
		c.Errorf("%s: want at most the %d bytes of the new message evaluated, got %d of %d tokens", c.name, bytes, new, v.Usage.Prompt)
	}
	c.messages = append(c.messages, string(v.Choices[0].Message))
	return parsed(c.TB, string(v.Choices[0].Message))
}
