package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/rs/zerolog"
	"golang.org/x/term"
)

// IsTerminal says whether f is one.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Colour says whether to write colours to f: a terminal that can show them, and a user who did not set NO_COLOR.
func Colour(f *os.File) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && IsTerminal(f)
}

// Logger writes log lines for people to stderr: "ds4: loading …", "ds4: warning: …".
func Logger(stderr *os.File, program string) zerolog.Logger {
	w := zerolog.ConsoleWriter{Out: stderr, NoColor: !Colour(stderr), PartsOrder: []string{zerolog.LevelFieldName, zerolog.MessageFieldName},
		FormatLevel: func(level any) string {
			switch level {
			case "warn":
				return program + ": warning:"
			case "error":
				return program + ": error:"
			}
			return program + ":"
		},
		FormatMessage:   func(m any) string { return fmt.Sprint(m) }, // not in bold
		FormatFieldName: func(name any) string { return fmt.Sprintf("%v=", name) },
	}
	return zerolog.New(w).Level(zerolog.InfoLevel)
}

// Line shows progress: on a terminal one line that is rewritten, elsewhere nothing but what Done leaves.
type Line struct {
	w     io.Writer
	live  bool
	width int
}

// NewLine returns a line on f.
func NewLine(f *os.File) *Line { return &Line{w: f, live: IsTerminal(f)} }

// Show replaces the line, where it is one that can be.
func (l *Line) Show(format string, a ...any) {
	if !l.live {
		return
	}
	s := fmt.Sprintf(format, a...)
	n := utf8.RuneCountInString(s)
	_, _ = fmt.Fprintf(l.w, "\r%s%s", s, strings.Repeat(" ", max(0, l.width-n)))
	l.width = n
}

// Done ends the line. With a text, that is its last state; without, it vanishes.
func (l *Line) Done(text string) {
	switch {
	case l.live && text == "":
		if l.width > 0 {
			_, _ = fmt.Fprintf(l.w, "\r%s\r", strings.Repeat(" ", l.width))
		}
	case l.live:
		l.Show("%s", text)
		_, _ = io.WriteString(l.w, "\n")
	case text != "":
		_, _ = fmt.Fprintln(l.w, text)
	}
	l.width = 0
}

// Bytes is a size for people: "80.6 GiB".
func Bytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for ; v >= 1024 && i < len(units)-1; i++ {
		v /= 1024
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
