package serve

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/ds4-go/ds4/tests/internal/program"
)

// TestFirstToken measures the time to the first token of a long prompt to the demo model on the CPU: cold, with the
// conversation in memory, and with it on the disk after a restart. It is for a quiet machine and asserts no time:
//
//	DS4_FIRST_TOKEN=32768 go test -count=1 -v -run TestFirstToken ./tests/serve
func TestFirstToken(t *testing.T) {
	want, err := strconv.Atoi(os.Getenv("DS4_FIRST_TOKEN"))
	if err != nil || want < 1024 {
		t.Skip("measures only with DS4_FIRST_TOKEN, a number of tokens from 1024")
	}
	args := []string{"--ctx", strconv.Itoa(want + 1024), "--kv-disk-dir", t.TempDir(), "--kv-cache-cold-max-tokens", strconv.Itoa(2 * want)}
	s := program.Serve(t, program.Options{Args: args})
	p := openai.ChatCompletionNewParams{Model: "deepseek-chat", Temperature: openai.Float(0), MaxTokens: openai.Int(40),
		StreamOptions: openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)},
		Messages:      []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text(want) + "What is 12 + 30?")}}
	first(t, s, "cold", "none", &p)
	p.Messages = append(p.Messages, openai.UserMessage("What is 40 + 11?"))
	first(t, s, "from memory", "memory", &p)
	s.Stop()
	s = program.Serve(t, program.Options{Args: args})
	p.Messages = append(p.Messages, openai.UserMessage("What is 7 + 8?"))
	first(t, s, "from disk", "disk", &p)
}

// text is sentences of about n tokens in all, as the demo model counts them: nine a sentence.
func text(n int) string {
	var b strings.Builder
	for i := range n / 9 {
		fmt.Fprintf(&b, "Clara can walk %d times. ", i%100)
	}
	return b.String()
}

// first has the conversation answered, and tells the time to the first piece of text.
func first(t *testing.T, s *program.Server, what, source string, p *openai.ChatCompletionNewParams) {
	t.Helper()
	c := openai.NewClient(option.WithBaseURL(s.URL+"/v1/"), option.WithAPIKey(program.Key), option.WithMaxRetries(0))
	var acc openai.ChatCompletionAccumulator
	var took time.Duration
	start := time.Now()
	stream := c.Chat.Completions.NewStreaming(t.Context(), *p)
	for stream.Next() {
		if acc.AddChunk(stream.Current()); took == 0 && len(acc.Choices) > 0 && acc.Choices[0].Message.Content != "" {
			took = time.Since(start)
		}
	}
	if err := stream.Err(); err != nil || took == 0 {
		t.Fatalf("%s: want an answer, got %v after %v\n%s", what, err, took, s.Log())
	}
	if n := s.Metric(fmt.Sprintf("ds4_prompts_total{source=%q}", source)); n != 1 {
		t.Errorf("%s: want one prompt that begins with what is there (%s), got %g", what, source, n)
	}
	u := acc.Usage
	t.Logf("%s: %.3f s to the first token of %d, %d of them known", what, took.Seconds(), u.PromptTokens, u.PromptTokensDetails.CachedTokens)
	p.Messages = append(p.Messages, acc.Choices[0].Message.ToParam())
}
