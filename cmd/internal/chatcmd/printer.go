package chatcmd

import (
	"bufio"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/modules/model/chat"
)

// printer writes an answer: reasoning in grey where that can be shown, then a line break, then the content.
type printer struct {
	w       *bufio.Writer
	tty     bool // whoever reads must be spared control characters
	colour  bool
	grey    bool // the colour is on
	reasons bool // reasoning was written, and no content yet
	last    byte // last byte written
	wrote   bool
}

const (
	greyOn  = "\x1b[90m"
	greyOff = "\x1b[0m"
)

func newPrinter(f *os.File) *printer {
	return &printer{w: bufio.NewWriter(f), tty: cli.IsTerminal(f), colour: cli.Colour(f)}
}

// events writes what the parser understood, and flushes.
func (p *printer) events(list []chat.Event) error {
	for _, e := range list {
		switch {
		case e.Text == "":
		case e.Kind == chat.Reasoning:
			if p.colour && !p.grey {
				p.grey = true
				p.raw(greyOn)
			}
			p.reasons = true
			p.text(e.Text)
		case e.Kind == chat.Content:
			p.endReasoning()
			p.text(e.Text)
		}
	}
	return p.w.Flush()
}

func (p *printer) endReasoning() {
	if p.grey {
		p.raw(greyOff)
		p.grey = false
	}
	if p.reasons && p.last != '\n' {
		p.text("\n")
	}
	p.reasons = false
}

// end closes the answer with a line break.
func (p *printer) end() error {
	p.endReasoning()
	if p.wrote && p.last != '\n' || !p.wrote {
		p.text("\n")
	}
	p.wrote, p.last = false, 0
	return p.w.Flush()
}

func (p *printer) raw(s string) { _, _ = p.w.WriteString(s) } // a bufio.Writer keeps its error for Flush

func (p *printer) text(s string) {
	if s == "" {
		return
	}
	if p.tty {
		s = harmless(s)
	}
	p.raw(s)
	p.last, p.wrote = s[len(s)-1], true
}

// harmless replaces what a terminal might obey: control characters other than line breaks and tabs.
func harmless(s string) string {
	obeyed := func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 }
	if utf8.ValidString(s) && strings.IndexFunc(s, obeyed) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if obeyed(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}
