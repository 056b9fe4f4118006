package metal

import (
	"errors"
	"fmt"
)

// What a caller branches on.
var (
	ErrUnsupported = errors.New("no Metal on this machine")
	ErrMemory      = errors.New("out of device memory")
)

// CompileError is the compiler's log.
type CompileError struct{ Log string }

func (e *CompileError) Error() string { return "metal: compile: " + e.Log }

// CommandError says why a command buffer did not complete. Code is MTLCommandBufferError.
type CommandError struct {
	Code int
	Text string
}

// Codes of MTLCommandBufferError.
const (
	codeTimeout     = 2
	codePageFault   = 3
	codeRevoked     = 4
	codeOutOfMemory = 8
)

func (e *CommandError) Error() string {
	return fmt.Sprintf("metal: command buffer: %s (code %d)", e.Text, e.Code)
}

// Lost says that the device stopped working for this process, or that the watchdog ended the work.
func (e *CommandError) Lost() bool {
	return e.Code == codeTimeout || e.Code == codePageFault || e.Code == codeRevoked
}

// Unwrap is ErrMemory where memory was the cause.
func (e *CommandError) Unwrap() error {
	if e.Code == codeOutOfMemory {
		return ErrMemory
	}
	return nil
}
