package fetch

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// metadata is what the headers of one answer say about a file.
type metadata struct {
	size   int64 // bytes; -1 unknown
	etag   string
	sha256 string // hex; empty unless the ETag is one
	gitSHA string // hex; the ETag of files that the hub keeps in git
	commit string
	linked bool // from the X-Linked headers: the file itself, wherever it is stored
}

// readMetadata reads the headers of the hub's answer. X-Linked-Size and
// X-Linked-Etag describe the file behind a redirect, Content-Length and ETag
// the answer itself, so the latter count only on a final answer.
func readMetadata(h http.Header, final bool) (metadata, error) {
	m := metadata{size: -1, commit: h.Get("X-Repo-Commit")}
	if !isHex(m.commit, 40) {
		m.commit = ""
	}
	if s := h.Get("X-Linked-Size"); s != "" {
		n, err := parseSize(s)
		if err != nil {
			return m, fmt.Errorf("X-Linked-Size: %w", err)
		}
		m.size, m.linked = n, true
	}
	m.etag = cleanETag(h.Get("X-Linked-Etag"))
	if !final {
		return m, nil
	}
	if m.etag == "" {
		m.etag = cleanETag(h.Get("Etag"))
	}
	if s := h.Get("Content-Length"); m.size < 0 && s != "" && identityCoded(h) {
		n, err := parseSize(s)
		if err != nil {
			return m, fmt.Errorf("Content-Length: %w", err)
		}
		m.size = n
	}
	return m, nil
}

// hashes fills in the digest that the ETag of the hub is.
func (m *metadata) hashes() {
	switch {
	case isHex(m.etag, 64):
		m.sha256 = m.etag
	case isHex(m.etag, 40):
		m.gitSHA = m.etag
	}
}

// cleanETag takes the quotes and the weak mark off, and refuses what no ETag may contain.
func cleanETag(s string) string {
	s = strings.TrimPrefix(strings.TrimSpace(s), "W/")
	s = strings.TrimSuffix(strings.TrimPrefix(s, `"`), `"`)
	if len(s) > 256 {
		return ""
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == '"' || s[i] >= 0x7f {
			return ""
		}
	}
	return s
}

func identityCoded(h http.Header) bool {
	c := h.Get("Content-Encoding")
	return c == "" || strings.EqualFold(c, "identity")
}

// isHex reports whether s is n lower-case hexadecimal digits.
func isHex(s string, n int) bool {
	if len(s) != n || strings.ToLower(s) != s {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}

// parseSize reads a count of bytes: digits only, no sign, within 8 EiB.
func parseSize(s string) (int64, error) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, fmt.Errorf("want a number of bytes, got %q", s)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("want a number of bytes, got %q", s)
	}
	return n, nil
}

// parseContentRange reads "bytes 0-99/1000"; size is -1 where it says "*".
func parseContentRange(s string) (first, last, size int64, err error) {
	bad := func() (int64, int64, int64, error) {
		return 0, 0, 0, fmt.Errorf("want a content range like \"bytes 0-99/1000\", got %q", s)
	}
	unit, rest, ok := strings.Cut(s, " ")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return bad()
	}
	span, of, ok := strings.Cut(rest, "/")
	if !ok {
		return bad()
	}
	a, b, ok := strings.Cut(span, "-")
	if !ok {
		return bad()
	}
	if first, err = parseSize(a); err != nil {
		return bad()
	}
	if last, err = parseSize(b); err != nil || last < first {
		return bad()
	}
	if of == "*" {
		return first, last, -1, nil
	}
	if size, err = parseSize(of); err != nil || last >= size {
		return bad()
	}
	return first, last, size, nil
}

// maxRetryAfter is the longest that a server may make us wait before we ask again.
const maxRetryAfter = 10 * time.Minute

// parseRetryAfter reads seconds or an HTTP date; zero if there is none or it is over.
func parseRetryAfter(s string, now time.Time) time.Duration {
	if s == "" {
		return 0
	}
	if n, err := parseSize(s); err == nil {
		return time.Duration(min(n, int64(maxRetryAfter/time.Second))) * time.Second
	}
	t, err := http.ParseTime(s)
	if err != nil {
		return 0
	}
	return min(max(t.Sub(now), 0), maxRetryAfter)
}
