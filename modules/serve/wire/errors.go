package wire

import (
	"fmt"
	"net/http"
)

// Error is what a client is told. The same error has one shape for clients of OpenAI's APIs and one for Anthropic's.
type Error struct {
	Status     int    // of HTTP
	Message    string // what was wrong, and where
	Param      string // the field, if there is one
	Code       string // of OpenAI's table, if it has one
	RetryAfter int    // seconds; 0: not said

	Prompt, Context int // tokens, where the prompt is too long
}

func (e *Error) Error() string { return e.Message }

// BadRequest is an error about a field of the body.
func BadRequest(param, format string, a ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Param: param, Message: fmt.Sprintf(format, a...)}
}

// Failure is an error with another status.
func Failure(status int, code, format string, a ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, a...)}
}

// statusOverloaded is Anthropic's status for a server with too much to do.
const statusOverloaded = 529

// Types of errors by status, in either shape.
var errorTypes = map[int]struct{ openAI, anthropic string }{
	http.StatusBadRequest:            {"invalid_request_error", "invalid_request_error"},
	http.StatusUnauthorized:          {"authentication_error", "authentication_error"},
	http.StatusForbidden:             {"permission_error", "permission_error"},
	http.StatusNotFound:              {"invalid_request_error", "not_found_error"},
	http.StatusMethodNotAllowed:      {"invalid_request_error", "invalid_request_error"},
	http.StatusRequestTimeout:        {"invalid_request_error", "invalid_request_error"},
	http.StatusConflict:              {"invalid_request_error", "invalid_request_error"},
	http.StatusRequestEntityTooLarge: {"invalid_request_error", "request_too_large"},
	http.StatusUnsupportedMediaType:  {"invalid_request_error", "invalid_request_error"},
	http.StatusTooManyRequests:       {"rate_limit_error", "rate_limit_error"},
	http.StatusServiceUnavailable:    {"server_error", "overloaded_error"},
	statusOverloaded:                 {"server_error", "overloaded_error"},
}

// Type is the error's type in OpenAI's table.
func (e *Error) Type() string {
	if t, ok := errorTypes[e.Status]; ok {
		return t.openAI
	}
	return "server_error"
}

// AnthropicType is the error's type in Anthropic's table.
func (e *Error) AnthropicType() string {
	if t, ok := errorTypes[e.Status]; ok {
		return t.anthropic
	}
	return "api_error"
}

// AnthropicStatus is the status as Anthropic's clients know it.
func (e *Error) AnthropicStatus() int {
	if e.Status == http.StatusServiceUnavailable {
		return statusOverloaded
	}
	return e.Status
}

type openAIError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
	Prompt  int     `json:"n_prompt_tokens,omitempty"`
	Context int     `json:"n_ctx,omitempty"`
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// OpenAI is the body for clients of OpenAI's APIs.
func (e *Error) OpenAI() any {
	return struct {
		Error openAIError `json:"error"`
	}{openAIError{e.Message, e.Type(), optional(e.Param), optional(e.Code), e.Prompt, e.Context}}
}

type anthropicError struct {
	Type    string `json:"type"`
	Message string `json:"message"`
	Prompt  int    `json:"n_prompt_tokens,omitempty"`
	Context int    `json:"n_ctx,omitempty"`
}

// Anthropic is the body for clients of Anthropic's API.
func (e *Error) Anthropic(requestID string) any {
	return struct {
		Type      string         `json:"type"`
		Error     anthropicError `json:"error"`
		RequestID string         `json:"request_id,omitempty"`
	}{"error", anthropicError{e.AnthropicType(), e.Message, e.Prompt, e.Context}, requestID}
}
