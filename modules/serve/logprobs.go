package serve

import (
	"strings"

	"github.com/ds4-go/ds4/modules/serve/sched"
)

// whole replaces bytes that are no UTF-8, as they may stand at the end of a text that was cut off.
func whole(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

type chatLogprobs struct {
	Content   []tokenLogprob `json:"content"`
	Reasoning []tokenLogprob `json:"reasoning_content,omitempty"` // an extension
	Refusal   *struct{}      `json:"refusal"`
}

type tokenLogprob struct {
	Token   string       `json:"token"`
	Logprob float64      `json:"logprob"`
	Bytes   []int        `json:"bytes"`
	Top     []topLogprob `json:"top_logprobs"`
}

type topLogprob struct {
	Token   string  `json:"token"`
	Logprob float64 `json:"logprob"`
	Bytes   []int   `json:"bytes"`
}

func (l *chatLogprobs) empty() bool { return len(l.Content)+len(l.Reasoning) == 0 }

// chatLogprobs are the entries of tokens of content, and of reasoning.
func (s *Server) chatLogprobs(tokens []sched.Token) *chatLogprobs {
	out := &chatLogprobs{Content: []tokenLogprob{}}
	for _, t := range tokens {
		switch t.Part {
		case sched.PartContent:
			out.Content = append(out.Content, s.tokenLogprob(t))
		case sched.PartReasoning:
			out.Reasoning = append(out.Reasoning, s.tokenLogprob(t))
		}
	}
	return out
}

func (s *Server) tokenLogprob(t sched.Token) tokenLogprob {
	out := tokenLogprob{Top: []topLogprob{}, Logprob: finite(t.Logprob)}
	out.Token, out.Bytes = s.spelled(t.ID)
	for _, p := range t.Top {
		l := topLogprob{Logprob: finite(p.Logprob)}
		l.Token, l.Bytes = s.spelled(p.ID)
		out.Top = append(out.Top, l)
	}
	return out
}

func (s *Server) spelled(id int32) (string, []int) {
	text := s.c.Tokenizer.Text(id)
	bytes := make([]int, len(text))
	for i := range bytes {
		bytes[i] = int(text[i])
	}
	return whole(text), bytes
}

// finite keeps a log-probability writable as JSON; -9999 is what the APIs say for nothing.
func finite(l float64) float64 {
	if !(l > -9999) {
		return -9999
	}
	return l
}
