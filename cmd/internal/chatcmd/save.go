package chatcmd

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

const (
	savedFormat  = "ds4-chat"
	savedVersion = 1
)

// saved is the file of a conversation; see the package's comment.
type saved struct {
	Format     string      `json:"format"`
	Version    int         `json:"version"`
	Model      string      `json:"model"`
	Vocabulary int         `json:"vocabulary"`
	System     string      `json:"system"`
	Turns      []savedTurn `json:"turns"`
}

type savedTurn struct {
	User     string  `json:"user"`
	Thinking string  `json:"thinking"`
	Answer   string  `json:"answer"`
	Tokens   []int32 `json:"tokens"`
}

func (c *conversation) save(_ context.Context, path string) (string, error) {
	m := c.s.m
	f := saved{savedFormat, savedVersion, m.Name, m.Tokenizer.Len(), c.o.system, []savedTurn{}}
	for _, e := range c.turns {
		text, err := m.Tokenizer.Decode(nil, e.tokens)
		if err != nil {
			return "", err
		}
		f.Turns = append(f.Turns, savedTurn{e.user, e.thinking.String(), string(text), e.tokens})
	}
	err := replaceFile("/save", path, func(w *bufio.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(f)
	})
	if err == nil {
		c.say("saved %d turns to %s", len(c.turns), path)
	}
	return "", err
}

func (c *conversation) load(_ context.Context, path string) (string, error) {
	text, err := readText("/load", path)
	if err != nil {
		return "", err
	}
	system, turns, err := parseSaved([]byte(text), c.s.m.Tokenizer)
	if err != nil {
		return "", fmt.Errorf("/load %s: %w", path, err)
	}
	c.o.system, c.turns, c.last = system, turns, answer{}
	c.say("loaded %d turns; they are read with the next message", len(turns))
	return "", nil
}

// parseSaved reads a saved conversation for a tokenizer.
func parseSaved(data []byte, t *tokenizer.Tokenizer) (system string, turns []exchange, err error) {
	var f saved
	if err := json.Unmarshal(data, &f); err != nil {
		return "", nil, fmt.Errorf("want a conversation saved by /save, got: %w", err)
	}
	if f.Format != savedFormat || f.Version != savedVersion {
		return "", nil, fmt.Errorf("format: want %q version %d, got %q version %d", savedFormat, savedVersion, f.Format, f.Version)
	}
	for i, e := range f.Turns {
		x := exchange{user: e.User, tokens: e.Tokens}
		ok := false
		for x.thinking = chat.Off; x.thinking <= chat.Max && !ok; x.thinking++ {
			ok = x.thinking.String() == e.Thinking
		}
		if x.thinking--; !ok {
			return "", nil, fmt.Errorf("turn %d: thinking: want none, default, low, high or max, got %q", i+1, e.Thinking)
		}
		if f.Vocabulary != t.Len() || len(e.Tokens) == 0 {
			x.tokens = encodeAnswer(t, e.Answer, x.thinking)
		}
		for _, id := range x.tokens {
			if id < 0 || int(id) >= t.Len() {
				return "", nil, fmt.Errorf("turn %d: token: want 0 to %d, got %d", i+1, t.Len()-1, id)
			}
		}
		turns = append(turns, x)
	}
	return f.System, turns, nil
}

// encodeAnswer encodes what a model wrote: nothing in it is special but the tag that ends the reasoning.
func encodeAnswer(t *tokenizer.Tokenizer, text string, thinking chat.Thinking) []int32 {
	b := t.NewBuilder(nil)
	if reasoning, content, ok := strings.Cut(text, tokenizer.EndThink); ok && thinking != chat.Off {
		b.Data(reasoning)
		b.Template(tokenizer.EndThink)
		text = content
	}
	b.Data(text)
	return b.Tokens()
}
