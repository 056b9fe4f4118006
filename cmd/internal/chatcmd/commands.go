package chatcmd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/model/chat"
)

var errQuit = errors.New("quit")

// slash is a command of the conversation. do may return a text, which then is the user's next message.
type slash struct {
	name, arg, help string
	do              func(c *conversation, ctx context.Context, arg string) (message string, err error)
}

// slashes is a function, not a variable, because /help lists it.
func slashes() []slash {
	return []slash{
		{"/help", "", "this list", (*conversation).help},
		{"/think", "", "reason before answering", func(c *conversation, _ context.Context, _ string) (string, error) { return c.think(chat.On) }},
		{"/think-max", "", "reason as much as it takes", func(c *conversation, _ context.Context, _ string) (string, error) { return c.think(chat.Max) }},
		{"/nothink", "", "answer at once", func(c *conversation, _ context.Context, _ string) (string, error) { return c.think(chat.Off) }},
		{"/ctx", "N", "change the context to N tokens; the conversation is kept", (*conversation).resize},
		{"/read", "FILE", "send a file's content as the next message", func(_ *conversation, _ context.Context, arg string) (string, error) {
			return readText("/read", arg)
		}},
		{"/save", "FILE", "save the conversation", (*conversation).save},
		{"/load", "FILE", "go on with a saved conversation", (*conversation).load},
		{"/stats", "", "tokens, memory and speed", (*conversation).stats},
		{"/quit", "", "leave; so does Ctrl+D", quit},
		{"/exit", "", "", quit},
	}
}

func quit(*conversation, context.Context, string) (string, error) { return "", errQuit }

// command runs a line that begins with a slash.
func (c *conversation) command(ctx context.Context, line string) (message string, err error) {
	name, arg, _ := strings.Cut(line, " ")
	arg = strings.TrimSpace(arg)
	var names []string
	for _, s := range slashes() {
		names = append(names, s.name)
		if s.name != name {
			continue
		}
		if (s.arg == "") != (arg == "") {
			return "", fmt.Errorf("want %s, got %q", strings.TrimSpace(s.name+" "+s.arg), line)
		}
		return s.do(c, ctx, arg)
	}
	hint := "/help lists them"
	if near := cli.Nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	return "", fmt.Errorf("unknown command %s; %s", name, hint)
}

func (c *conversation) help(context.Context, string) (string, error) {
	var b strings.Builder
	for _, s := range slashes() {
		if s.help != "" {
			fmt.Fprintf(&b, "  %-12s %s\n", strings.TrimSpace(s.name+" "+s.arg), s.help)
		}
	}
	b.WriteString("Arrows edit and recall. A pasted text stays one message, its line breaks shown as ⏎;\n" +
		"a line that ends with \\ goes on in the next. Ctrl+C stops an answer.")
	c.say("%s", b.String())
	return "", nil
}

func (c *conversation) think(t chat.Thinking) (string, error) {
	c.o.thinking = fit(t, c.o.Ctx, func(s string) { c.say("%s", s) })
	c.say("thinking: %s", c.o.thinking)
	return "", nil
}

// resize opens the model again: a device takes its memory for one context size.
func (c *conversation) resize(ctx context.Context, arg string) (string, error) {
	n, err := strconv.Atoi(arg)
	if err != nil || n < 1 || n > 1<<24 {
		return "", fmt.Errorf("/ctx: want a number of tokens from 1 to %d, got %q", 1<<24, arg)
	}
	old := c.o.Ctx
	if err := c.s.m.Close(); err != nil {
		return "", err
	}
	if err := c.reopen(ctx, n); err != nil { // a context that does not fit must not end the conversation
		return "", errors.Join(err, c.reopen(ctx, old))
	}
	c.say("context: %d tokens; the conversation is read again with the next message", n)
	c.o.thinking = fit(c.o.thinking, n, func(s string) { c.say("%s", s) })
	return "", nil
}

// reopen replaces the session, which is nil if that fails.
func (c *conversation) reopen(ctx context.Context, n int) error {
	c.o.Ctx, c.s = n, nil
	m, err := engine.Open(ctx, c.o.Config, engine.Hooks{})
	if err != nil {
		return err
	}
	s, err := newSession(m, &c.o.Config, c.stderr)
	if err != nil {
		return errors.Join(err, m.Close())
	}
	c.s = s
	return nil
}

func (c *conversation) stats(context.Context, string) (string, error) {
	ids, err := c.transcript()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  turns       %d, %d tokens of %d\n", len(c.turns), len(ids), c.o.Ctx)
	fmt.Fprintf(&b, "  thinking    %s\n", c.o.thinking)
	fmt.Fprintf(&b, "  sampling    temperature %g, top-p %g, top-k %d, min-p %g, seed %d\n", c.o.temp, c.o.topP, c.o.topK, c.o.minP, c.o.seed)
	if len(c.turns) > 0 && c.last.generated > 0 {
		fmt.Fprintf(&b, "  last answer %d tokens in, %d out: %.2f and %.2f t/s\n", c.last.fed, len(c.last.tokens),
			rate(c.last.fed, c.last.prefill), rate(len(c.last.tokens), c.last.generated))
		if drafted, _ := c.last.guesses.Guesses(); drafted > 0 {
			fmt.Fprintf(&b, "  guesses     %s\n", c.last.guesses.String())
		}
	}
	mem := c.s.m.Memory()
	total := int64(0)
	for _, u := range mem.Uses {
		if u.Name != "pages, free" {
			total += u.Bytes
		}
	}
	fmt.Fprintf(&b, "  memory      %s beside the weights of %s, on %s", cli.Bytes(total), cli.Bytes(c.s.m.File().Size()), deviceName(c.s.m.Backend))
	c.say("%s", b.String())
	return "", nil
}
