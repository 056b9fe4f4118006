package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// What a caller may want to branch on. The errors returned wrap these.
var (
	// ErrChanged: the file on the hub is not the one that was asked for, or
	// changes faster than it can be fetched.
	ErrChanged = errors.New("remote file changed")
	// ErrInsecure: going on would send the token, or take the file, in the clear.
	ErrInsecure = errors.New("refused: not secure")
	// ErrStalled: a connection brought nothing, or nearly nothing, for too long.
	ErrStalled = errors.New("connection stalled")
	// ErrCorrupt: a file of ours on the disk is damaged.
	ErrCorrupt = errors.New("corrupt")
	// ErrExists: Dest holds something that is not this file nor the start of it.
	ErrExists = errors.New("destination holds another file")
)

// StatusError is an HTTP answer that ends a request.
type StatusError struct {
	Status  int    // 404
	Address string // without query: signed addresses are secrets
	Code    string // X-Error-Code of the hub, such as GatedRepo
	Message string // X-Error-Message of the hub
	Hub     bool   // answered by the hub itself rather than by a store it pointed to

	retryAfter time.Duration
}

func (e *StatusError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: want the file, got %d %s", e.Address, e.Status, http.StatusText(e.Status))
	if e.Code != "" {
		b.WriteString(" (" + e.Code + ")")
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if hint := e.hint(); hint != "" {
		b.WriteString(": " + hint)
	}
	return b.String()
}

// hint says what a person can do about it.
func (e *StatusError) hint() string {
	switch {
	case e.Code == "GatedRepo":
		return "accept the terms on the repository's page and use a token of that account"
	case e.Status == http.StatusUnauthorized && e.Hub:
		return "the repository is private, gated or does not exist, or the token is not valid"
	case e.Status == http.StatusForbidden && e.Hub:
		return "the token may not read this repository"
	case e.Status == http.StatusNotFound && e.Hub:
		return "no such repository, revision or file"
	case e.Status == http.StatusRequestedRangeNotSatisfiable:
		return "the file is shorter than announced"
	}
	return ""
}

// HashError says that the bytes are not the ones asked for.
type HashError struct {
	Path    string // where the bytes are now
	Kind    string // "sha256" or "git sha1"
	Want    string
	Got     string
	Aside   bool // Path is a part file that was moved aside
	Adopted bool // the beginning came from a file that another program had left
}

func (e *HashError) Error() string {
	msg := fmt.Sprintf("%s: want %s %s, got %s", e.Path, e.Kind, e.Want, e.Got)
	switch {
	case e.Adopted:
		msg += ": the partial file it began with was damaged or of another version; it is kept under this name, run again to fetch everything afresh"
	case e.Aside:
		msg += ": kept under this name, run again to fetch afresh; if the same hash comes back the source is wrong, if another one, test disk, memory and proxy"
	default:
		msg += ": move it away and run again"
	}
	return msg
}

// SpaceError says that the disk cannot take the file.
type SpaceError struct {
	Dir  string
	Need int64 // bytes still to be written, with a margin
	Free int64 // bytes
}

func (e *SpaceError) Error() string {
	return fmt.Sprintf("%s: want %d bytes of free space, got %d: free at least %d more, or choose another folder",
		e.Dir, e.Need, e.Free, e.Need-e.Free)
}

// LockedError says that another program is fetching to the same place.
type LockedError struct {
	Path   string
	Holder string // as the holder described itself; empty where unknown
}

func (e *LockedError) Error() string {
	who := e.Holder
	if who == "" {
		who = "another program"
	}
	return fmt.Sprintf("%s: held by %s", e.Path, who)
}

// answerError is a reply that does not fit the request: a server or a proxy
// misbehaves. It is tried again, since often only one of many replies is bad.
type answerError struct {
	address string
	problem string
	status  int
}

func (e *answerError) Error() string { return e.address + ": " + e.problem }

// diskError marks a failure of the local disk, which no repetition mends.
type diskError struct{ err error }

func (e *diskError) Error() string { return e.err.Error() }
func (e *diskError) Unwrap() error { return e.err }

func onDisk(err error) error {
	if err == nil {
		return nil
	}
	return &diskError{err}
}

// plainURL is an address as errors may show it: without user, query and fragment.
func plainURL(u *url.URL) string {
	c := *u
	c.User, c.RawQuery, c.Fragment, c.ForceQuery = nil, "", "", false
	return c.String()
}

// redact takes the query of a signed address out of an error of net/http.
func redact(u *url.URL, err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return fmt.Errorf("%s: %w", plainURL(u), ue.Err)
	}
	return err
}

// triesError says how often it was tried.
type triesError struct {
	tries int
	err   error
}

func (e *triesError) Error() string {
	return fmt.Sprintf("given up after %d tries: %v", e.tries, e.err)
}
func (e *triesError) Unwrap() error { return e.err }

// errRedirect marks redirects that lead nowhere.
var errRedirect = errors.New("bad redirect")

// public puts the package's name before an error, and the context's own error,
// which callers ask for, beside the cause it was given.
func public(ctx context.Context, err error) error {
	switch e := ctx.Err(); {
	case err == nil:
		return nil
	case e != nil && !errors.Is(err, e):
		return fmt.Errorf("fetch: %w: %w", e, err)
	}
	return fmt.Errorf("fetch: %w", err)
}
