package serve

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
	"github.com/rs/zerolog"

	"github.com/ds4-go/ds4/modules/serve"
	"github.com/ds4-go/ds4/modules/serve/sched"
	"github.com/ds4-go/ds4/modules/serve/servetest"
)

const call = "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"get_weather\">\n<｜DSML｜parameter name=\"city\" string=\"true\">Paris</｜DSML｜parameter>\n" +
	"</｜DSML｜invoke>\n</｜DSML｜tool_calls>"

// server answers by a script: a call where tools are declared and nothing was called yet, else a sentence.
func server(t *testing.T) string {
	t.Helper()
	tok := servetest.Tokenizer()
	e := servetest.NewEngine(tok, servetest.Limits())
	e.Script = func(prompt string) []string {
		if strings.Contains(prompt, "### Available Tool Schemas") && !strings.Contains(prompt, "<tool_result>") {
			return []string{"I need ", "it.", "</think>", "One ", "moment.", call}
		}
		return []string{"Hm", "m.", "</think>", "Hello ", "world"}
	}
	m := serve.NewMetrics()
	sc := sched.New(sched.Config{Engine: e, Metrics: m, Log: zerolog.Nop()})
	s, err := serve.New(serve.Config{Scheduler: sc, Tokenizer: tok, Ctx: servetest.Limits().CtxTokens, Metrics: m, Log: zerolog.Nop(),
		Keys: []serve.Key{{Name: "test", Secret: "sk-test-key"}}})
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
	return h.URL
}

func openAI(t *testing.T) openai.Client {
	return openai.NewClient(option.WithBaseURL(server(t)+"/v1/"), option.WithAPIKey("sk-test-key"), option.WithMaxRetries(0))
}

var weather = shared.FunctionDefinitionParam{Name: "get_weather", Description: openai.String("Weather of a city."),
	Parameters: shared.FunctionParameters{"type": "object", "properties": map[string]any{"city": map[string]string{"type": "string"}}}}

func TestOpenAIChat(t *testing.T) {
	c, ctx := openAI(t), context.Background()
	p := openai.ChatCompletionNewParams{Model: "deepseek-v4-flash", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Weather in Paris?")},
		Tools: []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(weather)}, StreamOptions: openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}}
	stream, acc := c.Chat.Completions.NewStreaming(ctx, p), openai.ChatCompletionAccumulator{}
	finished := 0
	for stream.Next() {
		if !acc.AddChunk(stream.Current()) {
			t.Fatal("the client cannot add a chunk up")
		}
		if _, ok := acc.JustFinishedToolCall(); ok {
			finished++
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	m := acc.Choices[0].Message
	if len(m.ToolCalls) != 1 || m.ToolCalls[0].Function.Arguments != `{"city":"Paris"}` || m.Content != "One moment." || acc.Usage.CompletionTokens == 0 || finished != 1 {
		t.Fatalf("got %+v, usage %+v, finished calls %d", m, acc.Usage, finished)
	}
	p.Messages = append(p.Messages, m.ToParam(), openai.ToolMessage("sunny", m.ToolCalls[0].ID))
	p.StreamOptions = openai.ChatCompletionStreamOptionsParam{}
	answer, err := c.Chat.Completions.New(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Choices[0].Message.Content != "Hello world" || answer.Choices[0].FinishReason != "stop" || answer.Usage.CompletionTokensDetails.ReasoningTokens == 0 {
		t.Errorf("got %+v", answer)
	}
}

func TestOpenAIResponses(t *testing.T) {
	c, ctx := openAI(t), context.Background()
	p := responses.ResponseNewParams{Model: "deepseek-v4-flash", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Weather in Paris?")},
		Reasoning: shared.ReasoningParam{Summary: shared.ReasoningSummaryAuto},
		Tools:     []responses.ToolUnionParam{{OfFunction: &responses.FunctionToolParam{Name: "get_weather", Parameters: weather.Parameters}}}}
	stream := c.Responses.NewStreaming(ctx, p)
	text, args, seq := "", "", int64(0)
	var last responses.Response
	for stream.Next() {
		e := stream.Current()
		if e.SequenceNumber != seq {
			t.Fatalf("sequence number: want %d, got %d", seq, e.SequenceNumber)
		}
		seq++
		switch v := e.AsAny().(type) {
		case responses.ResponseTextDeltaEvent:
			text += v.Delta
		case responses.ResponseFunctionCallArgumentsDeltaEvent:
			args += v.Delta
		case responses.ResponseCompletedEvent:
			last = v.Response
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if text != "One moment." || args != `{"city":"Paris"}` || len(last.Output) != 3 || last.OutputText() != text {
		t.Fatalf("got %q, %q and %+v", text, args, last)
	}
	fc := last.Output[2].AsFunctionCall()
	result := responses.ResponseInputItemParamOfFunctionCallOutput("sunny")
	result.OfFunctionCallOutput.CallID = openai.String(fc.CallID)
	next, err := c.Responses.New(ctx, responses.ResponseNewParams{Model: "deepseek-v4-flash", PreviousResponseID: openai.String(last.ID), Tools: p.Tools,
		Input: responses.ResponseNewParamsInputUnion{OfInputItemList: responses.ResponseInputParam{result}}})
	if err != nil {
		t.Fatal(err)
	}
	if next.OutputText() != "Hello world" {
		t.Errorf("got %q", next.OutputText())
	}
	if got, err := c.Responses.Get(ctx, next.ID, responses.ResponseGetParams{}); err != nil || got.ID != next.ID {
		t.Errorf("get: %v", err)
	}
}

func TestOpenAIErrors(t *testing.T) {
	url := server(t)
	c := openai.NewClient(option.WithBaseURL(url+"/v1/"), option.WithAPIKey("wrong"), option.WithMaxRetries(0))
	_, err := c.Models.List(context.Background())
	if err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("want 401, got %v", err)
	}
	good := openAI(t)
	page, err := good.Models.List(context.Background())
	if err != nil || len(page.Data) != 3 {
		t.Errorf("models: %v", err)
	}
}

func TestAnthropic(t *testing.T) {
	c, ctx := anthropic.NewClient(anthropicoption.WithBaseURL(server(t)), anthropicoption.WithAPIKey("sk-test-key"), anthropicoption.WithMaxRetries(0)), context.Background()
	p := anthropic.MessageNewParams{Model: "deepseek-v4-flash", MaxTokens: 1000, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("Weather in Paris?"))},
		Tools: []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{Name: "get_weather", InputSchema: anthropic.ToolInputSchemaParam{Properties: weather.Parameters["properties"]}}}}}
	stream, m := c.Messages.NewStreaming(ctx, p), anthropic.Message{}
	for stream.Next() {
		if err := m.Accumulate(stream.Current()); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if len(m.Content) != 3 || m.Content[0].AsThinking().Thinking != "I need it." || m.Content[1].AsText().Text != "One moment." || m.StopReason != anthropic.StopReasonToolUse {
		t.Fatalf("got %+v", m)
	}
	use := m.Content[2].AsToolUse()
	if string(use.Input) != `{"city":"Paris"}` || use.Name != "get_weather" {
		t.Errorf("call: got %s", use.Input)
	}
	p.Messages = append(p.Messages, m.ToParam(), anthropic.NewUserMessage(anthropic.NewToolResultBlock(use.ID, "sunny", false)))
	answer, err := c.Messages.New(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	if answer.Content[1].AsText().Text != "Hello world" || answer.Usage.CacheReadInputTokens < m.Usage.InputTokens {
		t.Errorf("got %+v after %+v", answer, m.Usage)
	}
	n, err := c.Messages.CountTokens(ctx, anthropic.MessageCountTokensParams{Model: p.Model, Messages: p.Messages[:1]})
	if err != nil || n.InputTokens == 0 {
		t.Errorf("count: %v", err)
	}
	p.Messages[0].Content = []anthropic.ContentBlockParamUnion{anthropic.NewImageBlockBase64("image/png", "AAAA")}
	if _, err = c.Messages.New(ctx, p); err == nil || !strings.Contains(err.Error(), "invalid_request_error") {
		t.Errorf("image: want invalid_request_error, got %v", err)
	}
}
