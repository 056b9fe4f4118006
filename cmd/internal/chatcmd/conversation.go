package chatcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/cmd/internal/engine"
	"github.com/ds4-go/ds4/modules/model"
	"github.com/ds4-go/ds4/modules/model/chat"
)

// exchange is one turn: what the user said and what came back.
type exchange struct {
	user     string
	thinking chat.Thinking
	tokens   []int32 // of the answer, without the one that ends it
}

// conversation is a chat in the terminal.
type conversation struct {
	o      *options
	s      *session
	turns  []exchange
	last   answer // for /stats
	out    *printer
	stderr *os.File
	grey   bool // stderr shows colours
}

const greeting = `Type a message, or /help. Ctrl+C stops an answer, Ctrl+D leaves.`

// converse chats until the user leaves.
func (o *options) converse(ctx context.Context, stdout, stderr *os.File) error {
	m, err := o.open(ctx, stderr, engine.Hooks{})
	if err != nil {
		return err
	}
	s, err := newSession(m, &o.Config, stderr)
	if err != nil {
		return errors.Join(err, m.Close())
	}
	c := &conversation{o: o, s: s, out: newPrinter(stdout), stderr: stderr, grey: cli.Colour(stderr)}
	defer func() {
		if c.s != nil { // /ctx may have replaced it, or failed to
			_ = c.s.m.Close()
		}
	}()
	ed := newEditor(stdout, stderr)
	c.say("%s, context %d, on %s. %s", m.Name, o.Ctx, deviceName(m.Backend), greeting)
	for {
		text, err := ed.read("ds4> ")
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errInterrupt):
			c.say("Ctrl+D or /quit leaves.")
			continue
		case err != nil:
			return err
		case strings.TrimSpace(text) == "":
			continue
		}
		if strings.HasPrefix(text, "/") {
			text, err = c.command(ctx, strings.TrimSpace(text))
		}
		switch {
		case errors.Is(err, errQuit):
			return nil
		case err == nil && text != "":
			err = c.ask(ctx, text)
		}
		if err != nil && c.s == nil {
			return err
		}
		if err != nil {
			c.say("%s", cli.OneLine(err.Error()))
		}
	}
}

func deviceName(backend string) string {
	if backend == "cpu" {
		return "the CPU"
	}
	return backend
}

// say tells the user something that is no answer.
func (c *conversation) say(format string, a ...any) {
	s := fmt.Sprintf(format, a...)
	if c.grey {
		s = greyOn + s + greyOff
	}
	_, _ = fmt.Fprintln(c.stderr, s)
}

// transcript is the token list of the conversation so far.
func (c *conversation) transcript() ([]int32, error) {
	t := c.s.m.Tokenizer
	ids, err := head(t, c.s.m.Checkpoint, c.o.system, c.o.thinking)
	if err != nil {
		return nil, err
	}
	for _, e := range c.turns {
		ids = append(ids, turn(t, e.user, e.thinking)...)
		ids = append(append(ids, e.tokens...), t.Special().EOS)
	}
	return ids, nil
}

// ask sends a message and prints the answer. Interrupted before the first token, the turn never happened.
func (c *conversation) ask(ctx context.Context, text string) error {
	ids, err := c.transcript()
	if err != nil {
		return err
	}
	ids = append(ids, turn(c.s.m.Tokenizer, text, c.o.thinking)...)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	r := request{prompt: ids, thinking: c.o.thinking != chat.Off, limit: c.o.tokens, params: c.o.params(c.o.seed + uint64(len(c.turns)))}
	a, err := c.s.generate(ctx, r, c.out.events)
	interrupted := errors.Is(err, model.ErrCanceled)
	if len(a.tokens) > 0 || err == nil {
		if e := c.out.end(); e != nil && err == nil {
			err = e
		}
		c.turns = append(c.turns, exchange{text, c.o.thinking, a.tokens})
		c.last = a
	}
	switch {
	case interrupted && len(a.tokens) == 0:
		c.say("interrupted; the message was taken back")
	case interrupted:
		c.say("interrupted after %d tokens; the conversation goes on from here", len(a.tokens))
	case err != nil:
		return err
	case !a.ended:
		c.say("stopped at %d tokens (-n sets the limit)", len(a.tokens))
	}
	if len(a.tokens) > 0 {
		c.say("%s", a.rates())
	}
	return nil
}
