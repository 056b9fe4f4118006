package stories

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/ds4-go/ds4/tests/internal/program"
)

func TestMain(m *testing.M) { os.Exit(program.Main(m)) }

// Models, by whether they think before they answer.
const (
	plain  = "deepseek-chat"
	thinks = "deepseek-reasoner"
)

// serve starts a server for one story.
func serve(t *testing.T, args ...string) *program.Server {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the demo model for seconds")
	}
	return program.Serve(t, program.Options{Args: append([]string{"--ctx", "8192"}, args...)})
}

func openAI(s *program.Server) openai.Client {
	return openai.NewClient(option.WithBaseURL(s.URL+"/v1/"), option.WithAPIKey(program.Key), option.WithMaxRetries(0))
}

func anthropicClient(s *program.Server) anthropic.Client {
	return anthropic.NewClient(anthropicoption.WithBaseURL(s.URL), anthropicoption.WithAPIKey(program.Key), anthropicoption.WithMaxRetries(0))
}

// question is a request of the Chat Completions API with one message.
func question(model, text string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{Model: model, Temperature: openai.Float(0), MaxTokens: openai.Int(200),
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)}}
}

// reasoning is what a message, or a part of one in a stream, says under the name that DeepSeek gave it.
func reasoning(t *testing.T, extra interface{ Raw() string }) string {
	t.Helper()
	var text *string
	if raw := extra.Raw(); raw != "" {
		if err := json.Unmarshal([]byte(raw), &text); err != nil {
			t.Fatalf("reasoning_content: %v", err)
		}
	}
	if text == nil {
		return ""
	}
	return *text
}
