package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	firstPause = 500 * time.Millisecond
	maxPause   = 30 * time.Second
)

// backoff is the pause before try n, counted from 1: it doubles, and is
// jittered so that the connections that failed together do not come back together.
func backoff(n int) time.Duration {
	d := maxPause
	if n < 7 {
		d = min(firstPause<<(n-1), maxPause)
	}
	return d/2 + rand.N(d/2)
}

// sleep waits, or returns why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A remedy is what may help after a failure.
type remedy int

const (
	giveUp    remedy = iota
	again            // the same request
	freshLink        // ask the hub where the bytes are now, then again
)

// remedyFor sorts errors into those that time mends and those that it does not.
func remedyFor(err error) remedy {
	var disk *diskError
	var cert *tls.CertificateVerificationError
	var auth x509.UnknownAuthorityError
	if errors.As(err, &disk) || errors.As(err, &cert) || errors.As(err, &auth) ||
		errors.Is(err, ErrInsecure) || errors.Is(err, ErrChanged) || errors.Is(err, errRedirect) {
		return giveUp
	}
	var st *StatusError
	if errors.As(err, &st) {
		switch {
		case st.Status == http.StatusRequestTimeout, st.Status == http.StatusTooEarly,
			st.Status == http.StatusTooManyRequests, st.Status >= 500:
			return again
		case !st.Hub: // a signed link that has expired is a 400, 401, 403, 404 or 410
			return freshLink
		case st.Status == http.StatusRequestedRangeNotSatisfiable:
			return freshLink // which will say that the file has changed, if so
		}
		return giveUp
	}
	var answer *answerError
	if errors.As(err, &answer) {
		return freshLink
	}
	return again
}

// refusals bounds how often a fresh link may be refused like the last one.
const refusals = 6

// patience counts the failures of one part since it last got a byte.
type patience struct {
	client  *Client
	tries   int
	refused int
	note    func(string)
}

// failed decides about a failure: nil, after a pause, if another try makes sense.
func (p *patience) failed(ctx context.Context, err error, what string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r := remedyFor(err)
	if r == giveUp {
		return err
	}
	p.tries++
	if r == freshLink {
		p.refused++
	}
	if p.tries > p.client.retries() || p.refused > refusals {
		return &triesError{p.tries, err}
	}
	pause := p.client.pause(p.tries)
	var st *StatusError
	if errors.As(err, &st) && st.retryAfter > 0 {
		pause = st.retryAfter
	}
	p.note(what + ": " + err.Error() + ": trying again in " + pause.Round(100*time.Millisecond).String())
	return sleep(ctx, pause)
}

// progressed forgets the failures: a line that moves may fail as often as it likes.
func (p *patience) progressed() { p.tries, p.refused = 0, 0 }
