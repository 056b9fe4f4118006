package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// DefaultEndpoint is the public hub.
const DefaultEndpoint = "https://huggingface.co"

// A Request names a remote file and where it goes.
type Request struct {
	Repo     string // "owner/name"; a data set is "datasets/owner/name"
	Revision string // branch, tag or commit; empty is "main"
	File     string // path in the repository
	URL      string // instead of the three above: a plain address, not of a hub

	Dest  string // path of the file; its folder is made if it is missing
	Token string // of the hub; sent to the host of the request and to no other

	SHA256 string // if not empty: the only content that is accepted, hex
	Size   int64  // if not zero: the only size that is accepted, bytes

	Parts    int   // connections; 0 is 8
	PartSize int64 // bytes of one range, 1 MiB to 16 GiB; 0 chooses by the size of the file
	Limit    int64 // bytes per second over all connections; 0 is no limit

	Wait   bool // for another program that fetches to Dest, instead of a LockedError
	Sparse bool // leave holes for zeros and reserve no space

	Progress func(Progress) // may be nil
}

// A Result says what a call has done.
type Result struct {
	Path     string // the file
	Size     int64  // bytes
	SHA256   string // hex, computed from the bytes on the disk
	Verified bool   // compared with a hash of the request or the hub; false if neither has one
	ETag     string
	Commit   string // of the repository; empty for a plain address
	Found    int64  // bytes that were there already
	Fetched  int64  // bytes that came over the network
	Elapsed  time.Duration
}

// A Client fetches files. The zero value is ready for use; a Client must not be
// changed or copied once it is used.
type Client struct {
	// HTTP sends the requests. Its CheckRedirect is not used: redirects are
	// followed by hand. Nil is a client with its own connections, HTTP/1.1 for
	// the sake of speed: parts that share one HTTP/2 connection share its one
	// congestion window too. HTTP/2 works where the client given here offers it.
	HTTP *http.Client

	// Endpoint is the address of the hub; empty is DefaultEndpoint. Whoever
	// honours HF_ENDPOINT puts it here.
	Endpoint string

	UserAgent string

	// Retries bounds the tries of one part that bring not a single byte; 0 is
	// 20, about eight minutes, negative is none.
	Retries int

	// Backoff is the pause before try n, counted from 1; nil doubles from half a
	// second to half a minute, with jitter.
	Backoff func(n int) time.Duration

	// Stall is how long a connection may bring nothing; 0 is 30 s.
	Stall time.Duration

	// MinRate is what a connection must bring on average over Stall to be kept,
	// bytes per second; 0 is 1024, negative anything.
	MinRate int64

	once sync.Once
	own  *http.Client
}

// Get fetches a file with a Client of its own.
func Get(ctx context.Context, r Request) (Result, error) {
	var c Client
	defer c.CloseIdleConnections()
	return c.Get(ctx, r)
}

// Get fetches the file that r names to r.Dest. It returns when the file is
// there, whole and verified, or with an error, after which Dest is as it was
// and a further Get goes on from where this one stopped.
func (c *Client) Get(ctx context.Context, r Request) (Result, error) {
	res, err := c.get(ctx, r)
	return res, public(ctx, err)
}

// Stat asks the hub about the file that r names; r.Dest may be empty.
func (c *Client) Stat(ctx context.Context, r Request) (Info, error) {
	s, err := c.newSource(&r)
	if err != nil {
		return Info{}, public(ctx, err)
	}
	if err := c.stat(ctx, s, func(string) {}); err != nil {
		return Info{}, public(ctx, err)
	}
	return s.info, nil
}

// stat fills in s.info and the first address of the bytes.
func (c *Client) stat(ctx context.Context, s *source, note func(string)) error {
	wait := patience{client: c, note: note}
	for {
		var info Info
		var at *url.URL
		err := c.timed(ctx, func(ctx context.Context) (err error) {
			info, at, err = s.resolve(ctx)
			return err
		})
		if err == nil {
			s.settle(c, info, at)
			return nil
		}
		if err := wait.failed(ctx, err, "asking for the file"); err != nil {
			return err
		}
	}
}

// settle keeps what resolve found, and pins the commit: what the branch points
// to later is another file.
func (s *source) settle(c *Client, info Info, at *url.URL) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.info, s.at, s.rangeOK = info, at, ""
	if sameOrigin(at, s.origin) {
		s.rangeOK = info.ETag
	}
	if s.hub && info.Commit != "" {
		if u, err := c.hubAddress(s.req, info.Commit); err == nil {
			s.pinned = u.String()
		}
	}
}

// timed runs one exchange of headers under the stall limit.
func (c *Client) timed(ctx context.Context, f func(context.Context) error) error {
	stall := c.stall()
	tctx, cancel := context.WithTimeoutCause(ctx, stall, fmt.Errorf("no answer for %v: %w", stall, ErrStalled))
	defer cancel()
	err := f(tctx)
	if err != nil && tctx.Err() != nil && ctx.Err() == nil {
		return context.Cause(tctx)
	}
	return err
}

// CloseIdleConnections closes the connections that wait for another call.
func (c *Client) CloseIdleConnections() { c.client().CloseIdleConnections() }

func (c *Client) client() *http.Client {
	if c.HTTP != nil {
		return c.HTTP
	}
	c.once.Do(func() { c.own = newHTTPClient() })
	return c.own
}

// newHTTPClient is net/http's default, proxies from the environment included,
// with as many idle connections as parts and without HTTP/2.
func newHTTPClient() *http.Client {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // somebody has replaced it, and knows why
		return &http.Client{Transport: http.DefaultTransport}
	}
	t = t.Clone()
	t.MaxIdleConnsPerHost = 64
	t.DisableCompression = true
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	return &http.Client{Transport: t}
}

func (c *Client) retries() int {
	switch {
	case c.Retries < 0:
		return 0
	case c.Retries == 0:
		return 20
	}
	return c.Retries
}

func (c *Client) pause(n int) time.Duration {
	if c.Backoff != nil {
		return c.Backoff(n)
	}
	return backoff(n)
}

func (c *Client) stall() time.Duration {
	if c.Stall <= 0 {
		return 30 * time.Second
	}
	return c.Stall
}

// minRate is never above what a limit leaves to a connection.
func (c *Client) minRate(limit int64) int64 {
	switch {
	case c.MinRate < 0 || limit > 0 && limit < 64<<10:
		return 0
	case c.MinRate == 0:
		return 1024
	}
	return c.MinRate
}

// check refuses requests that make no sense before anything is touched.
func (r *Request) check() error {
	if r.Dest == "" {
		return errors.New("want a destination, got none")
	}
	if r.SHA256 != "" && !isHex(r.SHA256, 64) {
		return fmt.Errorf("want a sha256 of 64 hexadecimal digits, got %q", r.SHA256)
	}
	if r.Size < 0 || r.Limit < 0 || r.PartSize < 0 || r.Parts < 0 || r.Parts > 64 {
		return fmt.Errorf("want no negative numbers and at most 64 parts, got size %d, limit %d, part size %d, %d parts",
			r.Size, r.Limit, r.PartSize, r.Parts)
	}
	return nil
}
