package stories

import (
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
)

const (
	sum        = "What is 17 + 25?"
	sumSteps   = "Ones: 7 + 5 = 12. Write 2, carry 1. Tens: 1 + 2 + 1 = 4. Together 42."
	sumAnswer  = "17 + 25 = 42."
	then       = "Repeat: calm river"
	thenAnswer = "calm river"
)

// TestThinkingIsShown streams a sum in three APIs. Each shows the steps as its clients know reasoning, all of them before
// the answer, and does without where it is told to.
func TestThinkingIsShown(t *testing.T) {
	s := serve(t)
	t.Run("chat", func(t *testing.T) {
		c := openAI(s)
		stream := c.Chat.Completions.NewStreaming(t.Context(), question(thinks, sum))
		steps, answer := "", ""
		for stream.Next() {
			for _, choice := range stream.Current().Choices {
				part := reasoning(t, choice.Delta.JSON.ExtraFields["reasoning_content"])
				if part != "" && answer != "" {
					t.Errorf("reasoning %q after the answer began", part)
				}
				steps, answer = steps+part, answer+choice.Delta.Content
			}
		}
		if err := stream.Err(); err != nil || steps != sumSteps || answer != sumAnswer {
			t.Errorf("want %q, then %q, got %q, %q, %v", sumSteps, sumAnswer, steps, answer, err)
		}
		a, err := c.Chat.Completions.New(t.Context(), question(plain, sum))
		if err != nil {
			t.Fatal(err)
		}
		if m := a.Choices[0].Message; m.Content != sumAnswer || reasoning(t, m.JSON.ExtraFields["reasoning_content"]) != "" || a.Usage.CompletionTokensDetails.ReasoningTokens != 0 {
			t.Errorf("without thinking: want %q alone, got %s", sumAnswer, m.RawJSON())
		}
	})
	t.Run("responses", func(t *testing.T) {
		c := openAI(s)
		stream := c.Responses.NewStreaming(t.Context(), responses.ResponseNewParams{Model: thinks, Temperature: openai.Float(0),
			Reasoning: shared.ReasoningParam{Summary: shared.ReasoningSummaryAuto},
			Input:     responses.ResponseNewParamsInputUnion{OfString: openai.String(sum)}})
		steps, answer := "", ""
		var last responses.Response
		for stream.Next() {
			switch e := stream.Current().AsAny().(type) {
			case responses.ResponseReasoningSummaryTextDeltaEvent:
				steps += e.Delta
			case responses.ResponseTextDeltaEvent:
				answer += e.Delta
			case responses.ResponseCompletedEvent:
				last = e.Response
			}
		}
		if err := stream.Err(); err != nil || steps != sumSteps || answer != sumAnswer || last.OutputText() != sumAnswer || last.Usage.OutputTokensDetails.ReasoningTokens == 0 {
			t.Errorf("want %q, then %q, got %q, %q, %v and %s", sumSteps, sumAnswer, steps, answer, err, last.RawJSON())
		}
	})
	t.Run("messages", func(t *testing.T) {
		c := anthropicClient(s)
		p := anthropic.MessageNewParams{Model: "deepseek-v4-flash", MaxTokens: 2000, Temperature: anthropic.Float(0),
			Thinking: anthropic.ThinkingConfigParamOfEnabled(1024), Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(sum))}}
		m := anthropic.Message{}
		stream := c.Messages.NewStreaming(t.Context(), p)
		for stream.Next() {
			if err := m.Accumulate(stream.Current()); err != nil {
				t.Fatal(err)
			}
		}
		if err := stream.Err(); err != nil || len(m.Content) != 2 || m.Content[0].AsThinking().Thinking != sumSteps || m.Content[1].AsText().Text != sumAnswer {
			t.Fatalf("want %q, then %q, got %v and %s", sumSteps, sumAnswer, err, m.RawJSON())
		}
		// The client sends its blocks back, and goes on without thinking.
		p.Messages = append(p.Messages, m.ToParam(), anthropic.NewUserMessage(anthropic.NewTextBlock(then)))
		p.Thinking = anthropic.ThinkingConfigParamUnion{OfDisabled: &anthropic.ThinkingConfigDisabledParam{}}
		next, err := c.Messages.New(t.Context(), p)
		if err != nil || len(next.Content) != 1 || next.Content[0].AsText().Text != thenAnswer {
			t.Errorf("without thinking: want %q alone, got %v, %v", thenAnswer, next, err)
		}
	})
}
