package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"

	"github.com/ds4-go/ds4/tests/internal/program"
)

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }

const talks, turns = 8, 6

// talk is a conversation with the demo model behind the real server. Every third has tools and thinks; in the others people
// just talk.
type talk struct {
	n        int
	c        openai.Client
	messages []openai.ChatCompletionMessageParamUnion
	known    int64    // tokens of the last prompt and of what answered it
	said     []string // by the model, with its reasoning and its calls
	failed   error
}

func (k *talk) tools() bool { return k.n%3 == 0 }

// lines are what the users of the conversations without tools say, turn by turn.
var lines = [turns]string{"Remember: the code of Anna is %d7.", "What is %d1 + 25?", "Count from %d to 12.", "Repeat: blue river %d", "What is ds4?", "What is the code of Anna?"}

var tools = []openai.ChatCompletionToolUnionParam{
	openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "read_file", Description: openai.String("Read the file"),
		Parameters: shared.FunctionParameters{"type": "object", "properties": map[string]any{"path": map[string]string{"type": "string"}}, "required": []string{"path"}}}),
}

// next adds what comes before turn i: words of the user, or what the tool says to the call before.
func (k *talk) next(i int, call string) {
	switch {
	case !k.tools():
		k.messages = append(k.messages, openai.UserMessage(strings.ReplaceAll(lines[i], "%d", fmt.Sprint(k.n))))
	case i%2 == 0:
		k.messages = append(k.messages, openai.UserMessage(fmt.Sprintf("Read the file with path docs/note%d%d.md", k.n, i)))
	default:
		k.messages = append(k.messages, openai.ToolMessage(fmt.Sprintf(`{"count": %d}`, 10*k.n+i), call))
	}
}

// ask has the model answer what there is. In a warm turn nothing may be evaluated but what is new.
func (k *talk) ask(i int, warm bool) error {
	p := openai.ChatCompletionNewParams{Model: "deepseek-chat", Messages: k.messages, MaxTokens: openai.Int(120), Temperature: openai.Float(0)}
	if k.tools() {
		p.Model, p.Tools = "deepseek-reasoner", tools
	}
	a, err := k.c.Chat.Completions.New(context.Background(), p)
	if err != nil {
		return err
	}
	m, u := a.Choices[0].Message, a.Usage
	answer, call, said := m.ToParam(), "", m.Content
	if raw, ok := m.JSON.ExtraFields["reasoning_content"]; ok { // goes back as it came: the model sees its reasoning again while it calls tools
		answer.OfAssistant.SetExtraFields(map[string]any{"reasoning_content": json.RawMessage(raw.Raw())})
		said = raw.Raw() + said
	}
	for _, c := range m.ToolCalls {
		said += c.Function.Name + c.Function.Arguments
		call = c.ID
	}
	k.said = append(k.said, said)
	if want := k.tools() && i%2 == 0; want != (len(m.ToolCalls) == 1) || a.Choices[0].FinishReason == "length" {
		return fmt.Errorf("want a call: %t, got %q, which ends for %s", want, said, a.Choices[0].FinishReason)
	}
	if fresh := u.PromptTokens - u.PromptTokensDetails.CachedTokens; warm && i > 0 && fresh > u.PromptTokens-k.known {
		return fmt.Errorf("want the %d tokens that are new evaluated at most, got %d of %d", u.PromptTokens-k.known, fresh, u.PromptTokens)
	}
	k.known = u.PromptTokens + u.CompletionTokens
	k.messages = append(k.messages, answer)
	if i+1 < turns {
		k.next(i+1, call)
	}
	return nil
}

// converse has all conversations at once for some of their turns.
func converse(t *testing.T, s *program.Server, list []*talk, from, to int, warm bool) {
	t.Helper()
	var all sync.WaitGroup
	for _, k := range list {
		k.c = openai.NewClient(option.WithBaseURL(s.URL+"/v1/"), option.WithAPIKey(program.Key), option.WithMaxRetries(0))
		all.Go(func() {
			for i := from; i < to && k.failed == nil; i++ {
				k.failed = k.ask(i, warm)
			}
		})
	}
	all.Wait()
	for _, k := range list {
		if k.failed != nil {
			t.Fatalf("conversation %d: after %q: %v\n%s", k.n, k.said, k.failed, s.Log())
		}
	}
}

// stored waits until the last turns are on the disk: a turn that is killed while it is written is lost, and rightly so. The
// token behind each ends it.
func stored(s *program.Server, list []*talk) {
	want := map[int64]int{}
	for _, k := range list {
		want[k.known+1]++
	}
	s.Await("checkpoints of the last turns", func() bool {
		log := s.Log()
		for tokens, n := range want {
			if strings.Count(log, fmt.Sprintf(`"reason":"continued","tokens":%d,`, tokens)) < n {
				return false
			}
		}
		return true
	})
}

func begin() (list []*talk) {
	for n := range talks {
		k := &talk{n: n}
		k.next(0, "")
		list = append(list, k)
	}
	return list
}

// TestConversations has eight conversations of six turns with the demo model, some of them with tools, on three servers:
// one without any cache; one that keeps all it knows and is killed half way; and one that goes on from what that one left
// on the disk. After the first turn only what is new is evaluated, and every answer is the same to the byte.
func TestConversations(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the demo model for half a minute")
	}
	args := []string{"--ctx", "4096", "--sessions", "8"}
	bare := program.Serve(t, program.Options{Args: append([]string{"--snapshot-mb", "0", "--disable-exact-dsml-tool-replay"}, args...)})
	want := begin()
	converse(t, bare, want, 0, turns, false)
	if n := bare.Metric("ds4_prompt_tokens_reused_total"); n != 0 {
		t.Errorf("without caches: want nothing reused, got %g tokens", n)
	}
	bare.Stop()

	disk := append([]string{"--kv-disk-dir", t.TempDir(), "--kv-cache-min-tokens", "16"}, args...)
	first := program.Serve(t, program.Options{Args: disk})
	got := begin()
	converse(t, first, got, 0, turns/2, true)
	stored(first, got)
	first.Kill()
	second := program.Serve(t, program.Options{Args: disk})
	converse(t, second, got, turns/2, turns, true)
	if none, disk := second.Metric(`ds4_prompts_total{source="none"}`), second.Metric(`ds4_prompts_total{source="disk"}`); none != 0 || disk != talks {
		t.Errorf("after the kill: want %d prompts that begin with what is on the disk and the rest in memory, got %g, and %g that begin with nothing", talks, disk, none)
	}
	second.Stop()
	for n := range got {
		for i := range turns {
			if got[n].said[i] != want[n].said[i] {
				t.Errorf("conversation %d, turn %d: without caches %q, with them %q", n, i, want[n].said[i], got[n].said[i])
			}
		}
	}
}
