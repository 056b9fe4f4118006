package chatcmd

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"golang.org/x/term"
)

var errInterrupt = errors.New("interrupt")

// editor reads messages from the terminal: line editing by x/term, which does not know of messages with several lines.
// So a line break of a paste is kept in the line as ⏎, a tab as ⇥, and turned back when the message is sent.
//
// The terminal is in raw mode only while a message is typed, so that Ctrl+C is a signal during an answer.
type editor struct {
	in      *pasteReader
	out     *os.File
	history *history
	t       *term.Terminal
}

// newEditor edits on stdout, or on stderr where stdout is no terminal.
func newEditor(stdout, stderr *os.File) *editor {
	out := stdout
	if !cli.IsTerminal(out) {
		out = stderr
	}
	e := &editor{in: &pasteReader{r: os.Stdin}, out: out, history: openHistory()}
	e.reset()
	return e
}

// reset drops a line that was not finished.
func (e *editor) reset() {
	e.in.queue = nil
	e.t = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{e.in, e.out}, "")
	e.t.History = e.history
}

const (
	pasteOn  = "\x1b[?2004h"
	pasteOff = "\x1b[?2004l"
)

// read reads a message. Errors: io.EOF when the user leaves, errInterrupt.
func (e *editor) read(prompt string) (string, error) {
	fd := int(os.Stdin.Fd())
	old, err := term.MakeRaw(fd)
	if err != nil {
		return "", err
	}
	defer func() {
		_, _ = io.WriteString(e.out, pasteOff)
		_ = term.Restore(fd, old)
	}()
	if w, h, err := term.GetSize(int(e.out.Fd())); err == nil && w > 0 {
		_ = e.t.SetSize(w, h) // a size that cannot be set leaves the old one; some terminals say 0 for unknown
	}
	_, _ = io.WriteString(e.out, pasteOn)
	var lines []string
	for {
		e.t.SetPrompt(prompt)
		line, err := e.t.ReadLine()
		if e.in.interrupted {
			e.in.interrupted = false
			_, _ = io.WriteString(e.out, "^C\r\n")
			e.reset()
			return "", errInterrupt
		}
		if err != nil && !errors.Is(err, term.ErrPasteIndicator) {
			if errors.Is(err, io.EOF) {
				_, _ = io.WriteString(e.out, "\r\n")
			}
			return "", err
		}
		if head, ok := strings.CutSuffix(line, `\`); ok {
			lines, prompt = append(lines, head), "...> "
			continue
		}
		text := unfold(strings.Join(append(lines, line), "\n"))
		e.history.remember(text)
		return text, nil
	}
}

// Stand-ins for what an edited line cannot hold.
const (
	foldedBreak = "⏎"
	foldedTab   = "⇥"
)

func fold(s string) string {
	return strings.NewReplacer("\r\n", foldedBreak, "\n", foldedBreak, "\r", foldedBreak, "\t", foldedTab).Replace(s)
}

func unfold(s string) string {
	return strings.NewReplacer(foldedBreak, "\n", foldedTab, "\t").Replace(s)
}

// pasteReader passes what a terminal sends, folds pasted text into one line, and notices Ctrl+C.
type pasteReader struct {
	r           io.Reader
	queue       []byte // to be read
	inside      bool   // of a paste
	seen        int    // bytes of the mark that is looked for
	cr          bool   // the last byte of the paste was a carriage return
	interrupted bool
}

const (
	pasteStart = "\x1b[200~"
	pasteEnd   = "\x1b[201~"
	ctrlC      = 3
)

// keys turns what some terminals send for Home and End into what x/term knows. A key arrives in one read.
var keys = strings.NewReplacer("\x1b[1~", "\x1b[H", "\x1b[7~", "\x1b[H", "\x1bOH", "\x1b[H", "\x1b[4~", "\x1b[F", "\x1b[8~", "\x1b[F", "\x1bOF", "\x1b[F")

// Read implements io.Reader.
func (p *pasteReader) Read(b []byte) (int, error) {
	for len(p.queue) == 0 {
		var buf [512]byte
		n, err := p.r.Read(buf[:])
		for _, c := range []byte(keys.Replace(string(buf[:n]))) {
			p.take(c)
		}
		if err != nil && len(p.queue) == 0 {
			return 0, err
		}
	}
	n := copy(b, p.queue)
	p.queue = p.queue[n:]
	return n, nil
}

func (p *pasteReader) take(c byte) {
	if !p.inside {
		p.queue = append(p.queue, c)
		p.interrupted = p.interrupted || c == ctrlC
		if p.match(c, pasteStart) {
			p.inside = true
		}
		return
	}
	if p.match(c, pasteEnd) {
		p.inside, p.cr = false, false
		p.queue = append(p.queue, pasteEnd...)
		return
	}
	if p.seen > 0 {
		return // perhaps the end mark; an escape sequence that is none has no place in a message
	}
	switch {
	case c == '\n' && p.cr:
	case c == '\n' || c == '\r':
		p.queue = append(p.queue, foldedBreak...)
	case c == '\t':
		p.queue = append(p.queue, foldedTab...)
	case c >= ' ' && c != 0x7f:
		p.queue = append(p.queue, c)
	}
	p.cr = c == '\r'
}

// match follows a mark byte by byte and says when it is complete.
func (p *pasteReader) match(c byte, mark string) bool {
	switch {
	case c == mark[p.seen]:
		p.seen++
	case c == mark[0]:
		p.seen = 1
	default:
		p.seen = 0
	}
	if p.seen == len(mark) {
		p.seen = 0
		return true
	}
	return false
}
