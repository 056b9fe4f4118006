package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"
)

const maxRedirects = 10

// source is one remote file: where it is asked for, and where it lies at the moment.
type source struct {
	http   *http.Client // follows no redirects
	origin *url.URL     // where the token may go
	asked  *url.URL     // the address of the request
	pinned string       // address with the commit in place of a branch, once known
	token  string
	agent  string
	hub    bool // asked is an address of the hub's API
	name   string
	req    *Request

	mu      sync.Mutex
	info    Info
	at      *url.URL // where the bytes are; signed, and may expire
	gen     int      // counts the addresses we have had
	rangeOK string   // ETag of the store where the bytes are
}

// Info is what the hub says about a file.
type Info struct {
	Size   int64  // bytes
	ETag   string // without quotes
	SHA256 string // lower-case hex; empty where the hub publishes none
	Commit string // of the repository; empty for a plain address
	gitSHA string
}

// newSource checks the request and works out its address.
func (c *Client) newSource(r *Request) (*source, error) {
	s := &source{token: r.Token, agent: c.UserAgent, req: r}
	if s.agent == "" {
		s.agent = "ds4-fetch/1"
	}
	if strings.ContainsFunc(r.Token, func(x rune) bool { return x <= ' ' || x >= 0x7f }) {
		return nil, errors.New("token: want printable ASCII without spaces") // and never show it
	}
	var err error
	if r.URL != "" {
		if r.Repo != "" || r.File != "" || r.Revision != "" {
			return nil, errors.New("want either URL or Repo, Revision and File, got both")
		}
		s.asked, err = url.Parse(r.URL)
	} else {
		s.hub = true
		s.asked, err = c.hubAddress(r, r.Revision)
	}
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	if (s.asked.Scheme != "https" && s.asked.Scheme != "http") || s.asked.Host == "" {
		return nil, fmt.Errorf("address: want http or https and a host, got %q", plainURL(s.asked))
	}
	s.origin = s.asked
	if s.token != "" && s.origin.Scheme == "http" && !loopback(s.origin.Hostname()) {
		return nil, fmt.Errorf("%s: the token would cross the network in the clear: %w", plainURL(s.origin), ErrInsecure)
	}
	hc := *c.client()
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s.http = &hc
	s.name = plainURL(s.asked)
	return s, nil
}

// hubAddress is {endpoint}/{repo}/resolve/{revision}/{file}.
func (c *Client) hubAddress(r *Request, revision string) (*url.URL, error) {
	parts := strings.Split(r.Repo, "/")
	if len(parts) == 3 && (parts[0] == "datasets" || parts[0] == "spaces") {
		parts = parts[1:]
	}
	if len(parts) != 2 || !pathName(parts[0]) || !pathName(parts[1]) {
		return nil, fmt.Errorf("want a repository as owner/name, got %q", r.Repo)
	}
	if r.File == "" || path.Clean("/"+r.File) != "/"+r.File {
		return nil, fmt.Errorf("want a file in the repository, got %q", r.File)
	}
	if revision == "" {
		revision = "main"
	}
	endpoint := c.Endpoint
	if endpoint == "" {
		endpoint = DefaultEndpoint
	}
	u, err := url.Parse(strings.TrimRight(endpoint, "/"))
	if err != nil {
		return nil, err
	}
	return u.JoinPath(r.Repo, "resolve", url.PathEscape(revision), escapePath(r.File)), nil
}

func pathName(s string) bool { return s != "" && s != "." && s != ".." }

func escapePath(file string) string {
	elems := strings.Split(file, "/")
	for i := range elems {
		elems[i] = url.PathEscape(elems[i])
	}
	return strings.Join(elems, "/")
}

func loopback(host string) bool {
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host)
}

// hop sends one request, follows nothing. The token goes to the origin alone.
func (s *source) hop(ctx context.Context, method string, u *url.URL, span *extent) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", plainURL(u), err)
	}
	req.Header.Set("User-Agent", s.agent)
	req.Header.Set("Accept-Encoding", "identity") // a range of gzip is no range of the file
	if span != nil {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", span.off, span.end-1))
	}
	if s.token != "" && sameOrigin(u, s.origin) {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, redact(u, err)
	}
	return resp, nil
}

// next returns where a redirect leads, nil if resp is none. It refuses what is not safe to follow.
func (s *source) next(from *url.URL, resp *http.Response, seen map[string]bool) (*url.URL, error) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	where := resp.Header.Get("Location")
	if where == "" {
		return nil, &answerError{plainURL(from), "redirect without a location", resp.StatusCode}
	}
	to, err := from.Parse(where)
	if err != nil {
		return nil, &answerError{plainURL(from), "redirect to a malformed address", resp.StatusCode}
	}
	to.User, to.Fragment = nil, ""
	if to.Scheme != "https" && to.Scheme != "http" || to.Host == "" {
		return nil, fmt.Errorf("%s: redirect to %q: want http or https: %w", plainURL(from), to.Scheme, ErrInsecure)
	}
	if from.Scheme == "https" && to.Scheme == "http" {
		return nil, fmt.Errorf("%s: redirect from https to plain http at %s: %w", plainURL(from), plainURL(to), ErrInsecure)
	}
	if s.leaks(to) {
		return nil, fmt.Errorf("%s: redirect with the token in its address: %w", s.name, ErrInsecure)
	}
	if seen[to.String()] {
		return nil, fmt.Errorf("%s: redirect loop through %s: %w", s.name, plainURL(to), errRedirect)
	}
	if len(seen) >= maxRedirects {
		return nil, fmt.Errorf("%s: want at most %d redirects, got more, the last to %s: %w", s.name, maxRedirects, plainURL(to), errRedirect)
	}
	seen[to.String()] = true
	return to, nil
}

// leaks reports whether an address that the token must not reach contains it.
func (s *source) leaks(to *url.URL) bool {
	if s.token == "" {
		return false
	}
	plain, err := url.QueryUnescape(to.String())
	return strings.Contains(to.String(), s.token) || err == nil && strings.Contains(plain, s.token)
}

// resolve asks for the metadata and for the present address of the bytes.
func (s *source) resolve(ctx context.Context) (Info, *url.URL, error) {
	u := s.asked
	if s.pinned != "" {
		if p, err := url.Parse(s.pinned); err == nil {
			u = p
		}
	}
	known := metadata{size: -1}
	seen := map[string]bool{u.String(): true}
	for {
		resp, err := s.hop(ctx, http.MethodHead, u, nil)
		if err != nil {
			return Info{}, nil, err
		}
		_ = resp.Body.Close()
		to, err := s.next(u, resp, seen)
		if err != nil {
			return Info{}, nil, err
		}
		// only the host that was asked may say what the file is
		if sameOrigin(u, s.origin) {
			m, err := readMetadata(resp.Header, to == nil)
			if err != nil {
				return Info{}, nil, &answerError{plainURL(u), err.Error(), resp.StatusCode}
			}
			known.add(m)
		}
		if to != nil {
			if !sameOrigin(to, s.origin) && known.linked {
				return s.infoOf(known), to, nil
			}
			u = to
			continue
		}
		switch resp.StatusCode {
		case http.StatusOK:
		case http.StatusMethodNotAllowed, http.StatusNotImplemented:
			// a server without HEAD is asked for one byte below
		case http.StatusForbidden:
			if sameOrigin(u, s.origin) {
				return Info{}, nil, s.status(u, resp)
			} // links are often signed for GET alone
		default:
			return Info{}, nil, s.status(u, resp)
		}
		if known.size < 0 || known.etag == "" && resp.StatusCode != http.StatusOK {
			m, err := s.probe(ctx, u)
			if err != nil {
				return Info{}, nil, err
			}
			known.add(m)
		}
		return s.infoOf(known), u, nil
	}
}

// add takes over what an earlier hop has not said.
func (m *metadata) add(n metadata) {
	if m.size < 0 {
		m.size, m.linked = n.size, n.linked
	}
	if m.etag == "" {
		m.etag = n.etag
	}
	if m.commit == "" {
		m.commit = n.commit
	}
}

func (s *source) infoOf(m metadata) Info {
	if s.hub { // elsewhere 64 digits may be any digest
		m.hashes()
	}
	return Info{Size: m.size, ETag: m.etag, SHA256: m.sha256, Commit: m.commit, gitSHA: m.gitSHA}
}

// probe asks for the first byte, whose Content-Range tells the size.
func (s *source) probe(ctx context.Context, u *url.URL) (metadata, error) {
	resp, err := s.hop(ctx, http.MethodGet, u, &extent{0, 1})
	if err != nil {
		return metadata{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	m := metadata{size: -1, etag: cleanETag(resp.Header.Get("Etag"))}
	if !identityCoded(resp.Header) {
		return m, s.gzipped(u, resp)
	}
	switch resp.StatusCode {
	case http.StatusPartialContent:
		_, _, size, err := parseContentRange(resp.Header.Get("Content-Range"))
		if err != nil {
			return m, &answerError{plainURL(u), err.Error(), resp.StatusCode}
		}
		m.size = size
	case http.StatusRequestedRangeNotSatisfiable: // an empty file has no first byte
		if resp.Header.Get("Content-Range") == "bytes */0" {
			m.size = 0
		}
	case http.StatusOK:
		m.size = resp.ContentLength
	default:
		return m, s.status(u, resp)
	}
	if m.size < 0 {
		return m, fmt.Errorf("%s: want the length of the file, got none", plainURL(u))
	}
	return m, nil
}

func (s *source) gzipped(u *url.URL, resp *http.Response) error {
	return &answerError{plainURL(u), fmt.Sprintf("want the file as it is, got content encoding %q that was not asked for",
		resp.Header.Get("Content-Encoding")), resp.StatusCode}
}

// status turns an answer into an error. What the server says about it is shown,
// but never the token, should the server repeat it.
func (s *source) status(u *url.URL, resp *http.Response) *StatusError {
	clean := func(text string) string {
		if s.token != "" {
			text = strings.ReplaceAll(text, s.token, "[token]")
		}
		return text[:min(len(text), 300)]
	}
	return &StatusError{
		Status: resp.StatusCode, Address: plainURL(u), Hub: sameOrigin(u, s.origin),
		Code: clean(resp.Header.Get("X-Error-Code")), Message: clean(resp.Header.Get("X-Error-Message")),
		retryAfter: parseRetryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
}

// address returns where the bytes are and the count of addresses so far.
func (s *source) address() (*url.URL, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at, s.gen
}

// refresh asks for a new address unless another connection has got one since
// gen. A file that is no longer the same is ErrChanged.
func (s *source) refresh(ctx context.Context, gen int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gen != gen {
		return nil
	}
	info, at, err := s.resolve(ctx)
	if err != nil {
		return err
	}
	if err := s.info.differs(info); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	s.at, s.rangeOK = at, ""
	s.gen++
	return nil
}

// differs says how b is another file than a, nil if it is not.
func (a Info) differs(b Info) error {
	if a.Size != b.Size {
		return fmt.Errorf("want %d bytes, got %d: %w", a.Size, b.Size, ErrChanged)
	}
	if a.ETag != b.ETag {
		return fmt.Errorf("want ETag %q, got %q: %w", a.ETag, b.ETag, ErrChanged)
	}
	return nil
}

// open asks for the bytes of span. The body has exactly those bytes unless whole
// is true: then the server ignores ranges, and the body is the file from its start.
func (s *source) open(ctx context.Context, span extent) (body io.ReadCloser, whole bool, gen int, err error) {
	u, gen := s.address()
	seen := map[string]bool{u.String(): true}
	for {
		resp, err := s.hop(ctx, http.MethodGet, u, &span)
		if err != nil {
			return nil, false, gen, err
		}
		to, err := s.next(u, resp, seen)
		if err == nil && to == nil {
			whole, err = s.accept(u, resp, span)
			if err == nil {
				return resp.Body, whole, gen, nil
			}
		}
		_ = resp.Body.Close()
		if err != nil {
			return nil, false, gen, err
		}
		u = to
	}
}

// accept checks that an answer is the one that was asked for.
func (s *source) accept(u *url.URL, resp *http.Response, span extent) (whole bool, err error) {
	bad := func(format string, a ...any) (bool, error) {
		return false, &answerError{plainURL(u), fmt.Sprintf(format, a...), resp.StatusCode}
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		return false, s.status(u, resp)
	}
	if !identityCoded(resp.Header) {
		return false, s.gzipped(u, resp)
	}
	want := span.len()
	if resp.StatusCode == http.StatusOK {
		if want = s.info.Size; resp.ContentLength >= 0 && resp.ContentLength != want {
			return bad("want the file of %d bytes, got %d", want, resp.ContentLength)
		}
	} else {
		first, last, size, err := parseContentRange(resp.Header.Get("Content-Range"))
		if err != nil {
			return bad("%v", err)
		}
		if first != span.off || last != span.end-1 {
			return bad("want bytes %d-%d, got %d-%d", span.off, span.end-1, first, last)
		}
		if size >= 0 && size != s.info.Size {
			return bad("want a file of %d bytes, got %d", s.info.Size, size)
		}
		if resp.ContentLength >= 0 && resp.ContentLength != want {
			return bad("want a body of %d bytes, got %d", want, resp.ContentLength)
		}
	}
	if etag := cleanETag(resp.Header.Get("Etag")); etag != "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.rangeOK == "" {
			s.rangeOK = etag
		} else if s.rangeOK != etag {
			return bad("want ETag %q, got %q", s.rangeOK, etag)
		}
	}
	return resp.StatusCode == http.StatusOK && span != extent{0, s.info.Size}, nil
}
