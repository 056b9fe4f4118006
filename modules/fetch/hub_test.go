package fetch

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// content is a file made from a seed, as long as one likes, readable anywhere.
type content struct {
	seed   uint64
	size   int64
	sparse bool   // zeros, but for one block in each 8 GiB and the last one
	block  []byte // if not nil: repeated to make the file, which costs the server nothing
}

func (c content) ReadAt(p []byte, off int64) (int, error) {
	if off >= c.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), c.size-off))
	p = p[:n]
	if c.block != nil {
		for i := 0; i < n; {
			i += copy(p[i:], c.block[(off+int64(i))%int64(len(c.block)):])
		}
		return n, nil
	}
	if c.sparse && !c.island(off) && !c.island(off+int64(n)-1) {
		clear(p)
		return n, nil
	}
	var w [8]byte
	for i := 0; i < n; {
		at := off + int64(i)
		if i+8 <= n && at%8 == 0 {
			binary.LittleEndian.PutUint64(p[i:], c.word(at/8))
			i += 8
			continue
		}
		binary.LittleEndian.PutUint64(w[:], c.word(at/8))
		i += copy(p[i:], w[at%8:])
	}
	return n, nil
}

func (c content) island(off int64) bool {
	return off%(8<<30) < 1<<20 || off >= c.size-(1<<20)
}

func (c content) word(i int64) uint64 {
	if c.sparse && !c.island(i*8) {
		return 0
	}
	z := uint64(i)*0x9e3779b97f4a7c15 + c.seed
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (c content) reader() io.Reader { return io.NewSectionReader(c, 0, c.size) }

func (c content) sha256() string {
	h := sha256.New()
	_, _ = io.Copy(h, c.reader())
	return hex.EncodeToString(h.Sum(nil))
}

func (c content) bytes() []byte {
	b := make([]byte, c.size)
	_, _ = c.ReadAt(b, 0)
	return b
}

// hub behaves like the real one: metadata and redirects at one host, bytes at
// another, behind links that are signed. Hooks make it misbehave.
type hub struct {
	t     testing.TB
	front *httptest.Server // the hub
	store *httptest.Server // the host it points to

	mu      sync.Mutex
	file    content
	etag    string // what the hub says; SHA-256 of file unless told otherwise
	storeID string // ETag of the store
	key     int    // signature that links carry now
	asked   int    // requests to the store, so far
	log     []request
	commits bool

	// atFront and atStore may answer in place of the hub; n counts from 1.
	atFront func(w http.ResponseWriter, r *http.Request) bool
	atStore func(w http.ResponseWriter, r *http.Request, n int) bool
}

type request struct {
	host   string
	method string
	url    string
	span   string
	proto  string
	header http.Header
}

const hubPath = "/owner/name/resolve/"

func newHub(t testing.TB, file content) *hub {
	h := &hub{t: t, file: file, commits: true}
	h.etag = file.sha256()
	h.storeID = "store-" + h.etag[:8]
	h.store = httptest.NewServer(http.HandlerFunc(h.serveStore)) // first: the hub's answers name it
	h.front = httptest.NewServer(http.HandlerFunc(h.serveFront))
	t.Cleanup(h.close)
	return h
}

// newTLSHub is a hub with TLS and HTTP/2 on both hosts.
func newTLSHub(t testing.TB, file content) *hub {
	h := newHub(t, file)
	h.close()
	h.front = httptest.NewUnstartedServer(http.HandlerFunc(h.serveFront))
	h.store = httptest.NewUnstartedServer(http.HandlerFunc(h.serveStore))
	for _, s := range []*httptest.Server{h.store, h.front} {
		s.EnableHTTP2 = true
		s.StartTLS()
	}
	return h
}

// onFront and onStore set or, with nil, take back the misbehaviour.
func (h *hub) onFront(f func(w http.ResponseWriter, r *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.atFront = f
}

func (h *hub) onStore(f func(w http.ResponseWriter, r *http.Request, n int) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.atStore = f
}

func (h *hub) close() {
	for _, s := range []*httptest.Server{h.front, h.store} {
		s.CloseClientConnections()
		s.Close()
	}
}

func (h *hub) record(host string, r *http.Request) {
	h.log = append(h.log, request{host, r.Method, r.URL.String(), r.Header.Get("Range"), r.Proto, r.Header.Clone()})
}

func (h *hub) requests() []request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]request(nil), h.log...)
}

// replace puts another file in the place of the present one.
func (h *hub) replace(file content) {
	etag := file.sha256()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.file, h.etag = file, etag
	h.storeID = "store-" + etag[:8]
}

// resize makes the hub say another length, and nothing else.
func (h *hub) resize(size int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.file.size = size
}

func (h *hub) serveFront(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.record("hub", r)
	hook := h.atFront
	h.mu.Unlock()
	if hook != nil && hook(w, r) {
		return
	}
	if !strings.HasPrefix(r.URL.Path, hubPath) {
		w.Header().Set("X-Error-Code", "RepoNotFound")
		http.Error(w, "no such repository", http.StatusNotFound)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	w.Header().Set("X-Linked-Size", strconv.FormatInt(h.file.size, 10))
	w.Header().Set("X-Linked-Etag", `"`+h.etag+`"`)
	if h.commits {
		w.Header().Set("X-Repo-Commit", strings.Repeat("c0", 20))
	}
	w.Header().Set("Location", h.link())
	w.WriteHeader(http.StatusFound)
}

// link is a signed address in the store, on a host name that differs from the hub's.
func (h *hub) link() string {
	u, _ := url.Parse(h.store.URL)
	if u.Scheme == "http" {
		u.Host = "localhost:" + u.Port()
	}
	return fmt.Sprintf("%s/blob/file?Signature=secret-%d", u, h.key)
}

func (h *hub) serveStore(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.asked++
	n, hook, key := h.asked, h.atStore, h.key
	h.record("store", r)
	h.mu.Unlock()
	if hook != nil && hook(w, r, n) {
		return
	}
	if r.URL.Query().Get("Signature") != fmt.Sprintf("secret-%d", key) {
		http.Error(w, "link expired", http.StatusForbidden)
		return
	}
	h.serveRange(w, r)
}

// span reads the range of a request as the store does: open ranges are refused.
func (h *hub) span(r *http.Request) (extent, bool) {
	var x extent
	if n, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &x.off, &x.end); n != 2 || err != nil {
		return x, false
	}
	x.end++
	return x, x.off < x.end && x.len() <= maxPartBytes
}

func (h *hub) serveRange(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	file, id := h.file, h.storeID
	h.mu.Unlock()
	x, ok := h.span(r)
	if !ok {
		http.Error(w, "want a closed range", http.StatusBadRequest)
		return
	}
	if x.off >= file.size {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", file.size))
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return
	}
	x.end = min(x.end, file.size)
	rangeHeader(w, x, file.size, id)
	w.WriteHeader(http.StatusPartialContent)
	for file.block != nil && x.len() > 0 {
		b := file.block[x.off%int64(len(file.block)):]
		n, err := w.Write(b[:min(int64(len(b)), x.len(), 1<<20)])
		if x.off += int64(n); err != nil {
			return
		}
	}
	if r.Method != http.MethodHead && file.block == nil {
		_, _ = io.CopyBuffer(onlyWriter{w}, onlyReader{io.NewSectionReader(file, x.off, x.len())}, make([]byte, 256<<10))
	}
}

type onlyWriter struct{ io.Writer }

func rangeHeader(w http.ResponseWriter, x extent, size int64, id string) {
	w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", x.off, x.end-1, size))
	w.Header().Set("Content-Length", strconv.FormatInt(x.len(), 10))
	w.Header().Set("Etag", `"`+id+`"`)
}

// client is one that does not pause between its tries.
func (h *hub) client() *Client {
	return &Client{
		Endpoint: h.front.URL,
		Retries:  5,
		Backoff:  func(int) time.Duration { return time.Millisecond },
		Stall:    20 * time.Second,
		MinRate:  -1,
	}
}

// impatient makes a client give up on a silent connection soon. Only for tests
// of just that: on a busy machine any connection may be silent for a moment.
func impatient(c *Client) { c.Stall = 300 * time.Millisecond }

// journalist collects notes.
type journalist struct {
	mu    sync.Mutex
	notes []string
	last  Progress
}

func (j *journalist) progress(p Progress) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last = p
	if p.Note != "" {
		j.notes = append(j.notes, p.Note)
	}
}

func (j *journalist) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.notes, "\n")
}

func (h *hub) request(dest string, j *journalist) Request {
	r := Request{Repo: "owner/name", File: "model.gguf", Dest: dest, PartSize: 1 << 20, Parts: 4}
	if j != nil {
		r.Progress = j.progress
	}
	return r
}

func tempDest(t testing.TB) string { return filepath.Join(t.TempDir(), "model.gguf") }

// wantFile checks the file and that nothing is left beside it.
func wantFile(t *testing.T, dest string, c content) {
	t.Helper()
	f, err := os.Open(dest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(sum.Sum(nil)), c.sha256(); n != c.size || got != want {
		t.Fatalf("%s: want %d bytes with sha256 %s, got %d with %s", dest, c.size, want, n, got)
	}
	for _, s := range []string{".part", ".part.journal", ".part.journal.new", ".part.lock"} {
		if _, err := os.Stat(dest + s); err == nil {
			t.Errorf("%s is left over", filepath.Base(dest+s))
		}
	}
}

// wantNothing checks that no file has the final name.
func wantNothing(t *testing.T, dest string) {
	t.Helper()
	if _, err := os.Lstat(dest); err == nil {
		t.Fatalf("%s exists after an error", filepath.Base(dest))
	}
}
