package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var small = content{seed: 1, size: 9<<20 + 12345}

// TestMisbehaviour: every case gives the whole file, or an error that names the
// cause and no file.
func TestMisbehaviour(t *testing.T) {
	type answer = func(h *hub, w http.ResponseWriter, r *http.Request)
	status := func(code int, header ...string) answer {
		return func(_ *hub, w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
		}
	}
	cases := []struct {
		name   string
		bad    answer // what the store does
		first  int    // in how many of its answers; 0 all
		want   string // of the error; empty: the file
		noted  string // of the notes
		needed func(*Client)
	}{
		{name: "well behaved", bad: nil},
		{name: "408", bad: status(408), first: 3, noted: "408"},
		{name: "416 once", bad: status(416), first: 1, noted: "416"},
		{name: "416", bad: status(416), want: "416"},
		{name: "429", bad: status(429, "Retry-After", "1"), first: 1, noted: "again in 1s"},
		{name: "500", bad: status(500), first: 5, noted: "500"},
		{name: "503 for ever", bad: status(503), want: "503"},
		{name: "404 of the store", bad: status(404), want: "404"},
		{name: "reset", bad: reset, first: 5, noted: "EOF"},
		{name: "5xx in the middle", bad: breakOff, first: 9, noted: "EOF"},
		{name: "truncated", bad: truncated, first: 6, noted: "want bytes up to"},
		{name: "truncated at once for ever", bad: emptyBody, want: "want bytes up to"},
		{name: "wrong content length", bad: shorterRange, first: 2, noted: "want bytes"},
		{name: "shifted range", bad: shiftedRange, want: "want bytes"},
		{name: "wrong total", bad: wrongTotal, want: "want a file of"},
		{name: "no content range", bad: noContentRange, want: "want a content range"},
		{name: "too many bytes", bad: tooMany, first: 4, noted: "got more"},
		{name: "stalled before the header", bad: hang, first: 4, noted: "stalled", needed: impatient},
		{name: "stalled in the body", bad: stallInBody, first: 4, noted: "stalled", needed: impatient},
		{name: "stalled for ever", bad: hang, want: "stalled", needed: impatient},
		{name: "slow drip", bad: drip, first: 4, noted: "bytes/s", needed: func(c *Client) { impatient(c); c.MinRate = 10000 }},
		{name: "gzip once", bad: gzipped, first: 1, noted: "gzip"},
		{name: "gzip", bad: gzipped, want: "gzip"},
		{name: "ranges ignored", bad: ignoreRange, noted: "ignores ranges"},
		{name: "redirect loop", bad: redirectTo("/blob/file?Signature=secret-0"), want: "redirect loop"},
		{name: "redirects without end", bad: redirectOn, want: "redirects"},
		{name: "redirect to ftp", bad: redirectTo("ftp://example.org/file"), want: "want http or https"},
		{name: "redirect nowhere", bad: status(302), want: "without a location"},
		{name: "store changes its tag", bad: otherTag, first: 3, noted: "ETag"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHub(t, small)
			h.onStore(func(w http.ResponseWriter, r *http.Request, n int) bool {
				if c.bad == nil || c.first > 0 && n > c.first {
					return false
				}
				c.bad(h, w, r)
				return true
			})
			client, dest, j := h.client(), tempDest(t), &journalist{}
			if c.needed != nil {
				c.needed(client)
			}
			res, err := client.Get(t.Context(), h.request(dest, j))
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("want an error with %q, got %v", c.want, err)
				}
				if strings.Contains(err.Error(), "secret") {
					t.Errorf("the signature is in the error: %v", err)
				}
				wantNothing(t, dest)
				h.onStore(nil) // the cause is gone: the same call completes
				if res, err = h.client().Get(t.Context(), h.request(dest, j)); err != nil {
					t.Fatalf("once more: %v", err)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(j.text(), c.noted) {
				t.Errorf("want %q among the notes, got:\n%s", c.noted, j.text())
			}
			if !res.Verified || res.SHA256 != small.sha256() || res.Size != small.size || res.Path != dest {
				t.Errorf("result %+v", res)
			}
			wantFile(t, dest, small)
		})
	}
}

func reset(_ *hub, w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// breakOff sends half of what it promised, then drops the connection.
func breakOff(h *hub, w http.ResponseWriter, r *http.Request) {
	x, _ := h.span(r)
	rangeHeader(w, x, h.file.size, h.storeID)
	w.WriteHeader(http.StatusPartialContent)
	_, _ = io.Copy(w, io.NewSectionReader(h.file, x.off, x.len()/2))
	panic(http.ErrAbortHandler)
}

// truncated ends early but properly: chunked, so that only counting tells.
func truncated(h *hub, w http.ResponseWriter, r *http.Request) {
	x, _ := h.span(r)
	rangeHeader(w, x, h.file.size, h.storeID)
	w.Header().Del("Content-Length")
	w.WriteHeader(http.StatusPartialContent)
	_ = http.NewResponseController(w).Flush()
	_, _ = io.Copy(w, io.NewSectionReader(h.file, x.off, x.len()/2))
}

func emptyBody(h *hub, w http.ResponseWriter, r *http.Request) {
	x, _ := h.span(r)
	rangeHeader(w, x, h.file.size, h.storeID)
	w.Header().Del("Content-Length")
	w.WriteHeader(http.StatusPartialContent)
	_ = http.NewResponseController(w).Flush()
}

func shorterRange(h *hub, w http.ResponseWriter, r *http.Request) {
	x, _ := h.span(r)
	x.end -= 10
	rangeHeader(w, x, h.file.size, h.storeID)
	w.WriteHeader(http.StatusPartialContent)
	_, _ = io.Copy(w, io.NewSectionReader(h.file, x.off, x.len()))
}

func shiftedRange(h *hub, w http.ResponseWriter, r *http.Request) {
	x, _ := h.span(r)
	rangeHeader(w, extent{x.off + 1, x.end + 1}, h.file.size, h.storeID)
	w.WriteHeader(http.StatusPartialContent)
	_, _ = io.Copy(w, io.NewSectionReader(h.file, x.off, x.len()))
}

func wrongTotal(h *hub, w http.ResponseWriter, r *http.Request) {
	x, _ := h.span(r)
	rangeHeader(w, x, h.file.size+1, h.storeID)
	w.WriteHeader(http.StatusPartialContent)
	_, _ = io.Copy(w, io.NewSectionReader(h.file, x.off, x.len()))
}

func noContentRange(h *hub, w http.ResponseWriter, r *http.Request) {
	x, _ := h.span(r)
	w.WriteHeader(http.StatusPartialContent)
	_, _ = io.Copy(w, io.NewSectionReader(h.file, x.off, x.len()))
}

func tooMany(h *hub, w http.ResponseWriter, r *http.Request) {
	x, _ := h.span(r)
	rangeHeader(w, x, h.file.size, h.storeID)
	w.Header().Del("Content-Length")
	w.WriteHeader(http.StatusPartialContent)
	_, _ = io.Copy(w, io.NewSectionReader(h.file, x.off, x.len()))
	_, _ = w.Write(make([]byte, 1000))
}

func hang(_ *hub, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func stallInBody(h *hub, w http.ResponseWriter, r *http.Request) {
	x, _ := h.span(r)
	rangeHeader(w, x, h.file.size, h.storeID)
	w.WriteHeader(http.StatusPartialContent)
	_, _ = io.Copy(w, io.NewSectionReader(h.file, x.off, x.len()/3))
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// drip brings a byte now and then, which no timeout between two bytes notices.
func drip(h *hub, w http.ResponseWriter, r *http.Request) {
	x, _ := h.span(r)
	rangeHeader(w, x, h.file.size, h.storeID)
	w.WriteHeader(http.StatusPartialContent)
	b := make([]byte, 1)
	for off := x.off; off < x.end && r.Context().Err() == nil; off++ {
		_, _ = h.file.ReadAt(b, off)
		_, _ = w.Write(b)
		_ = http.NewResponseController(w).Flush()
		time.Sleep(20 * time.Millisecond)
	}
}

func gzipped(h *hub, w http.ResponseWriter, r *http.Request) {
	x, _ := h.span(r)
	w.Header().Set("Content-Encoding", "gzip")
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", x.off, x.end-1, h.file.size))
	w.WriteHeader(http.StatusPartialContent)
	_, _ = io.Copy(w, io.NewSectionReader(h.file, x.off, x.len()))
}

func ignoreRange(h *hub, w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", strconv.FormatInt(h.file.size, 10))
	_, _ = io.Copy(w, h.file.reader())
}

func redirectTo(where string) func(*hub, http.ResponseWriter, *http.Request) {
	return func(_ *hub, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", where)
		w.WriteHeader(http.StatusFound)
	}
}

func redirectOn(_ *hub, w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.Atoi(r.URL.Query().Get("n"))
	w.Header().Set("Location", fmt.Sprintf("/blob/file?Signature=secret-0&n=%d", n+1))
	w.WriteHeader(http.StatusFound)
}

func otherTag(h *hub, w http.ResponseWriter, r *http.Request) {
	x, _ := h.span(r)
	rangeHeader(w, x, h.file.size, "tag-"+strconv.FormatInt(x.off, 10))
	w.WriteHeader(http.StatusPartialContent)
	_, _ = io.Copy(w, io.NewSectionReader(h.file, x.off, x.len()))
}

// TestFront: what the hub itself may do wrong.
func TestFront(t *testing.T) {
	cases := []struct {
		name string
		hub  func(h *hub, w http.ResponseWriter, r *http.Request, n int64) bool
		want string
	}{
		{"private", func(_ *hub, w http.ResponseWriter, _ *http.Request, _ int64) bool {
			w.WriteHeader(401)
			return true
		}, "private, gated"},
		{"gated", func(_ *hub, w http.ResponseWriter, _ *http.Request, _ int64) bool {
			w.Header().Set("X-Error-Code", "GatedRepo")
			w.WriteHeader(403)
			return true
		}, "accept the terms"},
		{"missing", func(_ *hub, w http.ResponseWriter, _ *http.Request, _ int64) bool {
			w.Header().Set("X-Error-Code", "EntryNotFound")
			w.WriteHeader(404)
			return true
		}, "EntryNotFound"},
		{"busy, then well", func(_ *hub, w http.ResponseWriter, _ *http.Request, n int64) bool {
			if n < 4 {
				w.WriteHeader(502)
			}
			return n < 4
		}, ""},
		{"silent, then well", func(_ *hub, _ http.ResponseWriter, r *http.Request, n int64) bool {
			if n < 2 {
				<-r.Context().Done()
			}
			return n < 2
		}, ""},
		{"renamed", func(_ *hub, w http.ResponseWriter, r *http.Request, _ int64) bool {
			if strings.Contains(r.URL.RawQuery, "renamed") {
				return false
			}
			w.Header().Set("Location", r.URL.Path+"?renamed")
			w.WriteHeader(307)
			return true
		}, ""},
		{"size is no number", func(_ *hub, w http.ResponseWriter, _ *http.Request, _ int64) bool {
			w.Header().Set("X-Linked-Size", "-5")
			w.WriteHeader(302)
			return true
		}, "without a location"},
		{"loop", func(_ *hub, w http.ResponseWriter, r *http.Request, _ int64) bool {
			w.Header().Set("Location", r.URL.Path)
			w.WriteHeader(302)
			return true
		}, "redirect loop"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, dest := newHub(t, content{seed: 4, size: 3 << 20}), tempDest(t)
			var n atomic.Int64
			h.onFront(func(w http.ResponseWriter, r *http.Request) bool { return c.hub(h, w, r, n.Add(1)) })
			client := h.client()
			if strings.HasPrefix(c.name, "silent") {
				impatient(client)
			}
			_, err := client.Get(t.Context(), h.request(dest, nil))
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				wantFile(t, dest, h.file)
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("want an error with %q, got %v", c.want, err)
			}
			wantNothing(t, dest)
		})
	}
}

// TestPlainServer: no hub, no links, no HEAD; files of git; a file without bytes.
func TestPlainServer(t *testing.T) {
	file := content{seed: 9, size: 5<<20 + 1}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/nohead":
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			fallthrough
		case "/file":
			w.Header().Set("Etag", `W/"one"`)
			http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(file, 0, file.size))
		case "/owner/name/resolve/main/config.json", "/owner/name/resolve/" + strings.Repeat("ab", 20) + "/config.json":
			w.Header().Set("X-Repo-Commit", strings.Repeat("ab", 20))
			w.Header().Set("Etag", `"f891060d5b6dcb5fc89976e6cb12aed4f98ea8f2"`) // git hash-object of the text below
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader("{\"model_type\": \"x\"}\n"))
		case "/owner/name/resolve/main/wrong.json", "/owner/name/resolve/" + strings.Repeat("ab", 20) + "/wrong.json":
			w.Header().Set("Etag", `"f891060d5b6dcb5fc89976e6cb12aed4f98ea8f3"`)
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader("{\"model_type\": \"x\"}\n"))
		case "/empty":
			w.WriteHeader(http.StatusOK)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer srv.Close()
	client := &Client{Endpoint: srv.URL, Retries: -1}
	for _, path := range []string{"/file", "/nohead"} {
		dest := tempDest(t)
		res, err := client.Get(t.Context(), Request{URL: srv.URL + path, Dest: dest})
		if err != nil {
			t.Fatal(err)
		}
		if res.Verified {
			t.Error("verified without a hash to compare with")
		}
		wantFile(t, dest, file)
		if res, err = client.Get(t.Context(), Request{URL: srv.URL + path, Dest: dest, SHA256: file.sha256()}); err != nil || !res.Verified || res.Fetched != 0 || res.Found != file.size {
			t.Errorf("second time: %+v, %v", res, err)
		}
	}
	dest := tempDest(t)
	res, err := client.Get(t.Context(), Request{URL: srv.URL + "/empty", Dest: dest})
	if err != nil || res.Size != 0 {
		t.Fatalf("empty file: %+v, %v", res, err)
	}
	wantFile(t, dest, content{})

	dest = tempDest(t)
	res, err = client.Get(t.Context(), Request{Repo: "owner/name", File: "config.json", Dest: dest})
	if err != nil || !res.Verified || res.Commit != strings.Repeat("ab", 20) {
		t.Errorf("file of git: %+v, %v", res, err)
	}
	var he *HashError
	if _, err = client.Get(t.Context(), Request{Repo: "owner/name", File: "wrong.json", Dest: tempDest(t)}); !errors.As(err, &he) || he.Kind != "git sha1" {
		t.Errorf("want a git hash error, got %v", err)
	}
}

// TestWrongBytes: right length, wrong content. The part is kept aside, both hashes are named.
func TestWrongBytes(t *testing.T) {
	h, dest := newHub(t, small), tempDest(t)
	liar := content{seed: 77, size: small.size}
	h.onStore(func(w http.ResponseWriter, r *http.Request, _ int) bool {
		x, _ := h.span(r)
		rangeHeader(w, x, liar.size, h.storeID)
		w.WriteHeader(http.StatusPartialContent)
		_, _ = io.Copy(w, io.NewSectionReader(liar, x.off, x.len()))
		return true
	})
	_, err := h.client().Get(t.Context(), h.request(dest, nil))
	var he *HashError
	if !errors.As(err, &he) || !he.Aside || he.Want != small.sha256() || he.Got != liar.sha256() {
		t.Fatalf("want a hash error with both hashes, got %v", err)
	}
	wantNothing(t, dest)
	if fi, err := os.Stat(he.Path); err != nil || fi.Size() != liar.size {
		t.Errorf("the part is not kept aside: %v", err)
	}
	h.onStore(nil)
	if _, err := h.client().Get(t.Context(), h.request(dest, nil)); err != nil {
		t.Fatal(err)
	}
	wantFile(t, dest, small)
}

// TestChanged: another file under the same name, half-way.
func TestChanged(t *testing.T) {
	h, dest, j := newHub(t, small), tempDest(t), &journalist{}
	after := content{seed: 2, size: small.size + 4096}
	h.onStore(func(w http.ResponseWriter, r *http.Request, n int) bool {
		if n == 5 {
			h.replace(after)
		}
		return false
	})
	res, err := h.client().Get(t.Context(), h.request(dest, j))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(j.text(), "remote file changed") || res.ETag != after.sha256() {
		t.Errorf("result %+v, notes:\n%s", res, j.text())
	}
	wantFile(t, dest, after)

	// with the content pinned, another file is no substitute
	r := h.request(tempDest(t), nil)
	r.SHA256 = small.sha256()
	if _, err := h.client().Get(t.Context(), r); !errors.Is(err, ErrChanged) {
		t.Errorf("want ErrChanged, got %v", err)
	}
	wantNothing(t, r.Dest)

	// a file that changes all the time
	seed := uint64(100)
	h.onStore(func(w http.ResponseWriter, r *http.Request, n int) bool {
		if n%3 == 0 {
			h.mu.Lock()
			seed++
			s := seed
			h.mu.Unlock()
			h.replace(content{seed: s, size: small.size})
		}
		return false
	})
	r = h.request(tempDest(t), nil)
	if _, err := h.client().Get(t.Context(), r); !errors.Is(err, ErrChanged) {
		t.Errorf("want ErrChanged, got %v", err)
	}
	wantNothing(t, r.Dest)
}

// TestChangedBetweenRuns: the journal tells that the part is of another version.
func TestChangedBetweenRuns(t *testing.T) {
	h, dest, j := newHub(t, small), tempDest(t), &journalist{}
	interrupt(t, h, dest, 3)
	after := content{seed: 3, size: small.size}
	h.replace(after)
	if _, err := h.client().Get(t.Context(), h.request(dest, j)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(j.text(), "of another version") {
		t.Errorf("notes:\n%s", j.text())
	}
	wantFile(t, dest, after)
}

// interrupt cancels a download after so many answers of the store.
func interrupt(t *testing.T, h *hub, dest string, answers int) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	why := errors.New("the user has had enough")
	h.mu.Lock()
	before, from := h.atStore, h.asked
	h.mu.Unlock()
	h.onStore(func(w http.ResponseWriter, r *http.Request, n int) bool {
		if n-from > answers {
			cancel(why)
			<-r.Context().Done()
			return true
		}
		return false
	})
	_, err := h.client().Get(ctx, h.request(dest, nil))
	if !errors.Is(err, context.Canceled) || !errors.Is(err, why) {
		t.Fatalf("want context.Canceled and its cause, got %v", err)
	}
	wantNothing(t, dest)
	h.onStore(before)
}

// TestExpired: links stop working in the middle and have to be asked for again.
func TestExpired(t *testing.T) {
	h, dest, j := newHub(t, small), tempDest(t), &journalist{}
	h.onStore(func(w http.ResponseWriter, r *http.Request, n int) bool {
		if n%7 == 0 {
			h.mu.Lock()
			h.key++
			h.mu.Unlock()
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	})
	if _, err := h.client().Get(t.Context(), h.request(dest, j)); err != nil {
		t.Fatal(err)
	}
	wantFile(t, dest, small)
	if !strings.Contains(j.text(), "403") || strings.Contains(j.text(), "secret") {
		t.Errorf("notes:\n%s", j.text())
	}

	h.onStore(func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	r := h.request(tempDest(t), nil)
	var st *StatusError
	if _, err := h.client().Get(t.Context(), r); !errors.As(err, &st) || st.Status != 403 {
		t.Errorf("want a status error 403, got %v", err)
	}
	wantNothing(t, r.Dest)
}

// TestRangesIgnoredOnResume: what is there already is read again but not lost.
func TestRangesIgnoredOnResume(t *testing.T) {
	h, dest := newHub(t, small), tempDest(t)
	interrupt(t, h, dest, 4)
	h.onStore(func(w http.ResponseWriter, r *http.Request, _ int) bool { ignoreRange(h, w, r); return true })
	res, err := h.client().Get(t.Context(), h.request(dest, nil))
	if err != nil || res.Found == 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	wantFile(t, dest, small)
}

// TestHTTP2: the client brings HTTP/2 and the hub's certificates; downgrades are refused.
func TestHTTP2(t *testing.T) {
	h, dest := newTLSHub(t, small), tempDest(t)
	c := h.client()
	c.HTTP = h.front.Client()
	if _, err := c.Get(t.Context(), h.request(dest, nil)); err != nil {
		t.Fatal(err)
	}
	wantFile(t, dest, small)
	for _, r := range h.requests() {
		if r.proto != "HTTP/2.0" {
			t.Errorf("%s %s: want HTTP/2.0, got %s", r.method, r.url, r.proto)
		}
	}

	plain := httptest.NewServer(http.HandlerFunc(h.serveStore))
	defer plain.Close()
	away := plain.URL + "/blob/file?Signature=secret-0"
	for _, set := range []func(){
		func() { h.onFront(redirectFront(away)) },
		func() {
			h.onFront(nil)
			h.onStore(func(w http.ResponseWriter, r *http.Request, _ int) bool {
				if r.TLS != nil {
					redirectTo(away)(h, w, r)
				}
				return r.TLS != nil
			})
		},
	} {
		set()
		r := h.request(tempDest(t), nil)
		if _, err := c.Get(t.Context(), r); !errors.Is(err, ErrInsecure) || !strings.Contains(err.Error(), "plain http") {
			t.Errorf("redirect to plain http: want ErrInsecure, got %v", err)
		}
		wantNothing(t, r.Dest)
	}

	// a certificate that nobody vouches for is not a line that mends itself
	own := h.client()
	if _, err := own.Get(t.Context(), h.request(tempDest(t), nil)); err == nil || strings.Contains(err.Error(), "tries") {
		t.Errorf("want a certificate error at once, got %v", err)
	}
}

func redirectFront(where string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("X-Linked-Size", strconv.FormatInt(small.size, 10))
		w.Header().Set("X-Linked-Etag", small.sha256())
		w.Header().Set("Location", where)
		w.WriteHeader(http.StatusFound)
		return true
	}
}

// TestProxy: everything goes through the proxy that the client names.
func TestProxy(t *testing.T) {
	h, dest := newHub(t, small), tempDest(t)
	var seen atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		(&httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}}).ServeHTTP(w, r)
	}))
	defer proxy.Close()
	to, _ := url.Parse(proxy.URL)
	c := h.client()
	c.HTTP = &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(to)}}
	if _, err := c.Get(t.Context(), h.request(dest, nil)); err != nil {
		t.Fatal(err)
	}
	wantFile(t, dest, small)
	if n := len(h.requests()); seen.Load() != int64(n) {
		t.Errorf("want %d requests through the proxy, got %d", n, seen.Load())
	}
}

// TestRequest: what cannot be meant is refused before anything is touched.
func TestRequest(t *testing.T) {
	good := Request{Repo: "owner/name", File: "f", Dest: "x"}
	for name, change := range map[string]func(*Request){
		"no destination": func(r *Request) { r.Dest = "" },
		"no owner":       func(r *Request) { r.Repo = "name" },
		"upwards":        func(r *Request) { r.File = "../f" },
		"repo upwards":   func(r *Request) { r.Repo = "../name" },
		"no file":        func(r *Request) { r.File = "" },
		"hash":           func(r *Request) { r.SHA256 = "123" },
		"two sources":    func(r *Request) { r.URL = "https://example.org/f" },
		"scheme":         func(r *Request) { r.Repo, r.File, r.URL = "", "", "file:///etc/passwd" },
		"parts":          func(r *Request) { r.Parts = 1000 },
		"token":          func(r *Request) { r.Token = "a b" },
	} {
		r := good
		change(&r)
		c := Client{Endpoint: "http://127.0.0.1:1", Retries: -1}
		_, err := c.Get(t.Context(), r)
		if err == nil || !strings.HasPrefix(err.Error(), "fetch: ") || strings.Contains(err.Error(), "refused") {
			t.Errorf("%s: got %v", name, err)
		}
		if r.Token != "" && strings.Contains(err.Error(), r.Token) {
			t.Errorf("the token is in the error: %v", err)
		}
	}
}
