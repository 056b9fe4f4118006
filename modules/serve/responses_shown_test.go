package serve

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// shown makes a request of /v1/responses whole and as a stream: both must have the same output, but for the ids.
func (b *bench) shown(fields string) (output []any, names []string, data []map[string]any) {
	b.Helper()
	output = at(b.post("/v1/responses", `{"input":"x","seed":1,`+fields+`}`), "output").([]any)
	names, data, _ = b.events("/v1/responses", `{"input":"x","seed":1,"stream":true,`+fields+`}`)
	streamed := at(data[len(data)-1], "response.output").([]any)
	for _, items := range [][]any{output, streamed} {
		for _, it := range items {
			delete(it.(map[string]any), "id")
		}
	}
	if !reflect.DeepEqual(output, streamed) {
		b.Errorf("want the stream's last event to say %v, got %v", output, streamed)
	}
	return output, names, data
}

// TestReasoningText: reasoning is shown as it is where include asks for it, and only there.
func TestReasoningText(t *testing.T) {
	b := newBench(t, pieces("Let me", " see.", "</think>", "Yes."), nil)
	output, names, data := b.shown(`"include":["reasoning.content"]`)
	if at(output[0], "content.0.type") != "reasoning_text" || at(output[0], "content.0.text") != "Let me see." || len(output) != 2 {
		t.Errorf("output: got %v", output)
	}
	text, order := "", ""
	for i, n := range names {
		if fmt.Sprint(at(data[i], "output_index")) == "0" {
			order += strings.TrimPrefix(n, "response.") + " "
		}
		if n == "response.reasoning_text.delta" {
			text += at(data[i], "delta").(string)
		}
	}
	for strings.Contains(order, "delta reasoning_text.delta") {
		order = strings.ReplaceAll(order, "delta reasoning_text.delta", "delta")
	}
	const want = "output_item.added content_part.added reasoning_text.delta reasoning_text.done content_part.done output_item.done "
	if text != "Let me see." || order != want {
		t.Errorf("events: want %q, got %q with %q", want, order, text)
	}
	if output, _, _ := b.shown(`"store":false`); len(output) != 1 {
		t.Errorf("without include: want the message alone, got %v", output)
	}
}

// TestResponseLogprobs: one entry for each token of the text, in the deltas as in the whole, with the best tokens beside it.
func TestResponseLogprobs(t *testing.T) {
	b := newBench(t, pieces("Hm.", "</think>", "Hello", " there"), nil)
	for fields, top := range map[string]int{`"top_logprobs":2`: 2, `"include":["message.output_text.logprobs"]`: 0} {
		output, names, data := b.shown(fields)
		entries := at(output[0], "content.0.logprobs").([]any)
		text, deltas := "", []any{}
		for _, e := range entries {
			text += at(e, "token").(string)
			if n := len(at(e, "top_logprobs").([]any)); n != top {
				t.Errorf("%s: want %d of the best, got %d", fields, top, n)
			}
		}
		for i, n := range names {
			if n == "response.output_text.delta" {
				deltas = append(deltas, at(data[i], "logprobs").([]any)...)
			}
		}
		if text != "Hello there" || !reflect.DeepEqual(entries, deltas) {
			t.Errorf("%s: want the entries of the text, got %q, and in the deltas %v", fields, text, deltas)
		}
	}
	if status, text := b.do("POST", "/v1/responses", `{"input":"x","top_logprobs":21}`); status != 400 || !strings.Contains(text, "top_logprobs") {
		t.Errorf("21: got %d %s", status, text)
	}
}
