package serve

import (
	"encoding/json"
	"fmt"
	"strings"
)

// streamed makes the same request as a stream and reads what its events say.
func (b *bench) streamed(endpoint, request string) (s said) {
	b.Helper()
	request = strings.Replace(request, "{", `{"stream":true,`, 1)
	names, data, _ := b.events(endpoint, request)
	type call struct{ name, args string }
	var calls []call
	for i, d := range data {
		str := func(path string) string { x, _ := at(d, path).(string); return x }
		switch endpoint {
		case "/v1/chat/completions":
			s.Content += str("choices.0.delta.content")
			s.Reasoning += str("choices.0.delta.reasoning_content")
			if f := str("choices.0.finish_reason"); f != "" {
				s.Finish = f
			}
			if n := str("choices.0.delta.tool_calls.0.function.name"); n != "" {
				calls = append(calls, call{name: n})
			}
			if a := str("choices.0.delta.tool_calls.0.function.arguments"); a != "" {
				calls[len(calls)-1].args += a
			}
		case "/v1/completions":
			s.Content += str("choices.0.text")
			if f := str("choices.0.finish_reason"); f != "" {
				s.Finish = f
			}
		case "/v1/messages":
			s.Content += str("delta.text")
			s.Reasoning += str("delta.thinking")
			if str("content_block.type") == "tool_use" {
				calls = append(calls, call{name: str("content_block.name")})
			}
			if a := str("delta.partial_json"); a != "" {
				calls[len(calls)-1].args += a
			}
			if f := str("delta.stop_reason"); f != "" {
				s.Finish = f
			}
		case "/v1/responses":
			switch names[i] {
			case "response.completed", "response.incomplete":
				out := saidBy(endpoint, at(d, "response"))
				if out.Content != s.Content || out.Reasoning != s.Reasoning {
					b.Errorf("the last event says %+v, the deltas %+v", out, s)
				}
				s = out
			case "response.output_text.delta":
				s.Content += str("delta")
			case "response.reasoning_summary_text.delta":
				s.Reasoning += str("delta")
			}
		}
	}
	for _, c := range calls {
		if !json.Valid([]byte(c.args)) {
			b.Errorf("arguments of %s in the stream are no JSON: %s", c.name, c.args)
		}
		s.Calls += fmt.Sprintf("%s(%s) ", c.name, compact(c.args))
	}
	return s
}
