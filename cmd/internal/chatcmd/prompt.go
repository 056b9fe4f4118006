package chatcmd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/modules/model/chat"
	"github.com/ds4-go/ds4/modules/model/tokenizer"
)

// maxPrompt bounds what is read as a prompt: more than any context holds.
const maxPrompt = 64 << 20

// readPrompt finds the prompt's text: the flag, a file, or standard input where that is no terminal. ok is false where
// there is none and the user is there to chat.
func (o *options) readPrompt() (text string, ok bool, err error) {
	switch {
	case o.prompted:
		return o.prompt, true, nil
	case o.promptFile != "" && o.promptFile != "-":
		text, err = readText("--prompt-file", o.promptFile)
	case o.promptFile == "-" || !cli.IsTerminal(os.Stdin):
		text, err = readAll("standard input", os.Stdin)
		if err == nil && strings.TrimSpace(text) == "" {
			err = &cli.UsageError{Command: "ds4", Message: "no prompt: standard input is empty; give -p TEXT, or run ds4 in a terminal to chat"}
		}
	default:
		return "", false, nil
	}
	return text, true, err
}

func readText(what, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", plain(what, err)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return "", fmt.Errorf("%s %s: want a text file, got a directory", what, path)
	}
	return readAll(what+" "+path, f)
}

func readAll(what string, r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxPrompt+1))
	if err != nil {
		return "", plain(what, err)
	}
	if len(b) > maxPrompt {
		return "", fmt.Errorf("%s: want at most %d bytes", what, maxPrompt)
	}
	return string(b), nil
}

// plain says what the system said about a file, without the name of the call.
func plain(what string, err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("%s: %s: %w", what, p.Path, p.Err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// rendered encodes a whole one-shot prompt. A text that begins with the token that begins sentences is taken as it is.
func rendered(t *tokenizer.Tokenizer, cp *chat.Checkpoint, system, user string, thinking chat.Thinking) (ids []int32, thinks bool, err error) {
	if strings.HasPrefix(user, tokenizer.BOS) {
		ids = t.EncodeTemplate(nil, user)
		return ids, ids[len(ids)-1] == t.Special().Think, nil
	}
	head, err := head(t, cp, system, thinking)
	if err != nil {
		return nil, false, err
	}
	return append(head, turn(t, user, thinking)...), thinking != chat.Off, nil
}

// head is what a conversation begins with: the first token, the text that asks for much reasoning, the system text.
func head(t *tokenizer.Tokenizer, cp *chat.Checkpoint, system string, thinking chat.Thinking) ([]int32, error) {
	segments, err := chat.Render([]chat.Message{{Role: chat.RoleSystem, Content: system}}, chat.Options{Checkpoint: cp, Thinking: thinking})
	if err != nil {
		return nil, err
	}
	ids, _ := chat.Tokens(t, segments)
	return ids, nil
}

// turn is a user's message and the header of the answer. It begins and ends with a special token, so that it can be
// encoded without what surrounds it.
func turn(t *tokenizer.Tokenizer, user string, thinking chat.Thinking) []int32 {
	b := t.NewBuilder(nil)
	b.Template(tokenizer.User)
	b.Data(user)
	b.Template(tokenizer.Assistant)
	if thinking == chat.Off {
		b.Template(tokenizer.EndThink)
	} else {
		b.Template(tokenizer.Think)
	}
	return b.Tokens()
}
