package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/ds4-go/ds4/modules/model"
)

// UsageError is a command line that cannot be meant: exit code 2.
type UsageError struct {
	Command string // whose help tells more
	Message string
}

// Error implements error.
func (e *UsageError) Error() string {
	return fmt.Sprintf("%s (%q tells more)", e.Message, e.Command+" --help")
}

// Usagef makes a UsageError of this command.
func (s *Set) Usagef(format string, a ...any) error {
	return &UsageError{s.name, fmt.Sprintf(format, a...)}
}

// Silent ends a command with a code and no message, its output having said what is wrong.
type Silent int

// Error implements error.
func (s Silent) Error() string { return fmt.Sprintf("exit code %d", int(s)) }

// Exit prints the error as one line under the program's name, if there is anything to say, and returns the exit code.
func Exit(stderr io.Writer, program string, err error) int {
	var usage *UsageError
	var silent Silent
	code := 1
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &silent):
		return int(silent)
	case errors.Is(err, context.Canceled), errors.Is(err, model.ErrCanceled):
		_, _ = fmt.Fprintf(stderr, "%s: interrupted\n", program)
		return 130
	case errors.As(err, &usage):
		code = 2
	}
	_, _ = fmt.Fprintf(stderr, "%s: %s\n", program, OneLine(err.Error()))
	return code
}

// OneLine joins the lines of a text, such as that of several errors.
func OneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
