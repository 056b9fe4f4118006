package stories

import (
	"context"
	"testing"
)

// TestCancelAndResume takes a request back, once while it is answered and once while its prompt is read. The program then
// stops working on it, and answers as if nothing had been when it is asked again.
func TestCancelAndResume(t *testing.T) {
	s := serve(t)
	c := openAI(s)
	idle := func() bool { return s.Metric("ds4_requests_running") == 0 && s.Metric("ds4_sequences_running") == 0 }

	const words = "small amber river clock 52 honey castle quiet piano lamp forest"
	const repeat = "Please repeat this text: " + words // long enough to be kept, and to be stopped
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream := c.Chat.Completions.NewStreaming(ctx, question(plain, repeat))
	seen := ""
	for stream.Next() && len(seen) < 8 {
		for _, choice := range stream.Current().Choices {
			seen += choice.Delta.Content
		}
	}
	cancel()
	if err := stream.Close(); err != nil {
		t.Log(err) // the client says that it was cancelled
	}
	s.Await("the cancelled answer to end", idle)
	if len(seen) < 8 || len(seen) >= len(words) || seen != words[:len(seen)] {
		t.Errorf("before it was cancelled: want a beginning of %q, got %q", words, seen)
	}
	a, err := c.Chat.Completions.New(t.Context(), question(plain, repeat))
	if err != nil {
		t.Fatal(err)
	}
	if got := a.Choices[0].Message.Content; got != words {
		t.Errorf("asked again: want %q, got %q", words, got)
	}
	if n := a.Usage.PromptTokensDetails.CachedTokens; n == 0 {
		t.Errorf("asked again: want the prompt known, got nothing of %d tokens", a.Usage.PromptTokens)
	}

	k := key{"code", "Otto", "4817"}
	long := question(plain, document(150, []key{k})+"\n\n"+k.question())
	before := s.Metric("ds4_prefill_tokens_total")
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := c.Chat.Completions.New(ctx, long)
		done <- err
	}()
	s.Await("the first chunk of a prompt", func() bool { return s.Metric("ds4_prefill_tokens_total") > before })
	cancel()
	if err := <-done; err == nil {
		t.Error("a cancelled request: want an error, got none")
	}
	s.Await("the cancelled prompt to end", idle)
	read := s.Metric("ds4_prefill_tokens_total") - before
	a, err = c.Chat.Completions.New(t.Context(), long)
	if err != nil {
		t.Fatal(err)
	}
	if int64(read) >= a.Usage.PromptTokens {
		t.Errorf("cancelled after its first chunk: want a prompt of %d tokens left unread, got %g of them read", a.Usage.PromptTokens, read)
	}
	if n := a.Usage.PromptTokensDetails.CachedTokens; n < int64(read) {
		t.Errorf("asked again: want the %g tokens known that were read before, got %d", read, n)
	}
	if got := a.Choices[0].Message.Content; got != k.answer() {
		t.Errorf("asked again: want %q, got %q", k.answer(), got)
	}
}
