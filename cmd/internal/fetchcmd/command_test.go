package fetchcmd

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ds4-go/ds4/cmd/internal/cli"
	"github.com/ds4-go/ds4/modules/fetch"
)

const secret = "hf_secretsecretsecret"

// hub serves one file as the hub does, under whatever repository and name.
type hub struct {
	*httptest.Server
	data []byte

	mu    sync.Mutex
	auths []string // the Authorization header of each request
}

// authorizations returns those of the requests since the last call.
func (h *hub) authorizations() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.auths
	h.auths = nil
	return a
}

func newHub(t *testing.T) *hub {
	h := &hub{data: bytes.Repeat([]byte("weights "), 300_000)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.auths = append(h.auths, r.Header.Get("Authorization"))
		h.mu.Unlock()
		if strings.Contains(r.URL.Path, "/missing") {
			w.Header().Set("X-Error-Code", "EntryNotFound")
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("X-Repo-Commit", strings.Repeat("ab", 20))
		w.Header().Set("Etag", `"`+h.sum()+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(h.data))
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hub) sum() string {
	s := sha256.Sum256(h.data)
	return hex.EncodeToString(s[:])
}

// invoke runs the command in a folder of its own.
func (h *hub) invoke(t *testing.T, vars map[string]string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	env := environment{
		get: func(k string) string {
			if k == "HF_ENDPOINT" {
				return h.URL
			}
			return vars[k]
		},
		home:   func() (string, error) { return vars["HOME"], nil },
		memory: func() int64 { return 16e9 },
	}
	var out bytes.Buffer
	code = cli.Exit(f, "ds4", run(t.Context(), args, &out, f, env))
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), string(b), code
}

func TestFetchKnown(t *testing.T) {
	h := newHub(t)
	t.Chdir(t.TempDir())
	_, text, code := h.invoke(t, nil, "q2", "--parts", "2")
	if code != 0 {
		t.Fatalf("code %d:\n%s", code, text)
	}
	for _, want := range []string{
		"antirez/deepseek-v4-gguf", "main at abababababab", "2.40 MB", "gguf", "wants 89.6 GB, this machine has 16.0 GB: too little",
		"our table says 86720111200 bytes, the hub has 2400000", "verified", "sha256 " + h.sum(), "ds4flash.gguf -> ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in:\n%s", want, text)
		}
	}
	files, _ := lookup("q2")
	if to, err := os.Readlink(modelLink); err != nil || to != filepath.Join("gguf", files[0].Path) {
		t.Errorf("link: got %q, %v", to, err)
	}
	if got, err := os.ReadFile(modelLink); err != nil || !bytes.Equal(got, h.data) {
		t.Errorf("file: %d bytes, %v", len(got), err)
	}
	_, text, code = h.invoke(t, nil, "q2")
	if code != 0 || !strings.Contains(text, "was here already") {
		t.Errorf("second time: code %d:\n%s", code, text)
	}
	if _, text, code = h.invoke(t, nil, "--verify-only", "q2"); code != 0 || !strings.Contains(text, "as published") {
		t.Errorf("verify: code %d:\n%s", code, text)
	}
	if err := os.WriteFile(modelLink, bytes.ToUpper(h.data), 0o644); err != nil { // through the link
		t.Fatal(err)
	}
	if _, text, code = h.invoke(t, nil, "--verify-only", "q2"); code != 1 || !strings.Contains(text, "want sha256 "+h.sum()) {
		t.Errorf("verify a damaged file: code %d:\n%s", code, text)
	}
}

// TestLink: a link is replaced, a file is not, and nothing is linked but whole models.
func TestLink(t *testing.T) {
	h := newHub(t)
	t.Chdir(t.TempDir())
	if _, text, code := h.invoke(t, nil, "mtp"); code != 0 || strings.Contains(text, modelLink) {
		t.Errorf("mtp: code %d:\n%s", code, text)
	}
	if _, text, code := h.invoke(t, nil, "q4", "--no-link"); code != 0 || strings.Contains(text, modelLink) {
		t.Errorf("--no-link: code %d:\n%s", code, text)
	}
	if _, err := os.Lstat(modelLink); err == nil {
		t.Fatal("a link was made")
	}
	if err := os.Symlink("elsewhere", modelLink); err != nil {
		t.Skip("no links here: ", err)
	}
	if _, text, code := h.invoke(t, nil, "q4"); code != 0 {
		t.Fatalf("code %d:\n%s", code, text)
	}
	if got, err := os.ReadFile(modelLink); err != nil || !bytes.Equal(got, h.data) {
		t.Errorf("the link was not replaced: %v", err)
	}
	if err := os.Remove(modelLink); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(modelLink, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, text, code := h.invoke(t, nil, "q4")
	if got, _ := os.ReadFile(modelLink); code != 1 || string(got) != "precious" || !strings.Contains(text, "left as it is") {
		t.Errorf("code %d, file %q:\n%s", code, got, text)
	}
}

func TestAnyFile(t *testing.T) {
	h := newHub(t)
	t.Chdir(t.TempDir())
	if _, text, code := h.invoke(t, nil, "someone/some-gguf", "sub/x.gguf", "--dir", "here", "--limit-rate=100M"); code != 0 {
		t.Fatalf("code %d:\n%s", code, text)
	}
	if got, err := os.ReadFile(filepath.Join("here", "x.gguf")); err != nil || !bytes.Equal(got, h.data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, text, code := h.invoke(t, nil, "someone/some-gguf", "missing.gguf"); code != 1 || !strings.Contains(text, "no such repository, revision or file") {
		t.Errorf("code %d:\n%s", code, text)
	}
}

// TestToken: flag, then variable, then file; and never shown.
func TestToken(t *testing.T) {
	h := newHub(t)
	dir := t.TempDir()
	t.Chdir(dir)
	home := filepath.Join(dir, "home")
	for _, d := range []string{filepath.Join(home, ".cache", "huggingface"), filepath.Join(dir, "hf")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(home, ".cache", "huggingface", "token"), secret+"-home\n")
	write(filepath.Join(dir, "hf", "token"), secret+"-hf")
	all := map[string]string{"HF_TOKEN": secret + "-env", "HF_HOME": filepath.Join(dir, "hf"), "HOME": home}
	for _, c := range []struct {
		name string
		vars map[string]string
		args []string
		want string
	}{
		{"flag", all, []string{"--token", secret + "-flag"}, secret + "-flag"},
		{"variable", all, nil, secret + "-env"},
		{"HF_HOME", map[string]string{"HF_HOME": all["HF_HOME"], "HOME": home}, nil, secret + "-hf"},
		{"home", map[string]string{"HOME": home}, nil, secret + "-home"},
		{"none", map[string]string{"HOME": dir}, nil, ""},
	} {
		out, text, code := h.invoke(t, c.vars, append([]string{"o/r", c.name, "--json"}, c.args...)...)
		if code != 0 || strings.Contains(out+text, secret) {
			t.Errorf("%s: code %d:\n%s%s", c.name, code, out, text)
		}
		want := ""
		if c.want != "" {
			want = "Bearer " + c.want
		}
		auths := h.authorizations()
		if len(auths) == 0 {
			t.Errorf("%s: nothing was asked", c.name)
		}
		for _, a := range auths {
			if a != want {
				t.Errorf("%s: want %q, got %q", c.name, want, a)
			}
		}
	}
}

func TestJSON(t *testing.T) {
	h := newHub(t)
	t.Chdir(t.TempDir())
	out, text, code := h.invoke(t, nil, "q2", "--json")
	if code != 0 || text != "" {
		t.Fatalf("code %d:\n%s", code, text)
	}
	var events []string
	for line := range strings.Lines(out) {
		var e struct {
			Event, Path, SHA256 string
			Bytes               int64
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		events = append(events, e.Event)
		if e.Event == "done" && (e.SHA256 != h.sum() || e.Bytes != int64(len(h.data))) {
			t.Errorf("%+v", e)
		}
	}
	if got := strings.Join(events, " "); got != "start done linked" {
		t.Errorf("events: %s", got)
	}
}

func TestList(t *testing.T) {
	h := newHub(t)
	t.Chdir(t.TempDir())
	if err := os.MkdirAll("gguf", 0o755); err != nil {
		t.Fatal(err)
	}
	files, _ := lookup("mtp")
	if err := os.WriteFile(files[0].dest("gguf")+".part", make([]byte, 38_076_024), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{nil, {"--list"}} {
		out, _, code := h.invoke(t, nil, args...)
		for _, want := range []string{"q2-imatrix", "86.7 GB", "q4", "vectors", "168 GB", "no file known", "1%"} {
			if code != 0 || !strings.Contains(out, want) {
				t.Errorf("code %d, want %q in:\n%s", code, want, out)
			}
		}
	}
	if len(h.authorizations()) != 0 {
		t.Error("a list needs no network")
	}
	out, _, _ := h.invoke(t, nil, "--list", "--json")
	_, names := lookup("")
	if n := strings.Count(out, "\n"); n != len(names) {
		t.Errorf("want %d lines, got %d", len(names), n)
	}
}

func TestUsage(t *testing.T) {
	h := newHub(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"q3"}, 2, "want one of q2-imatrix"},
		{[]string{"q2-imatrx"}, 2, "did you mean q2-imatrix?"},
		{[]string{"dspark"}, 1, "no file is known"},
		{[]string{"owner/repo"}, 2, "want OWNER/REPO FILE"},
		{[]string{"q2", "--limit-rate", "fast"}, 2, "--limit-rate: want bytes per second"},
		{[]string{"q2", "--parts", "0"}, 2, "--parts"},
		{[]string{"q2", "--nolink"}, 2, "unknown flag"},
		{[]string{"--verify-only", "q2", "--dir", "nowhere"}, 1, "no such file"},
	} {
		_, text, code := h.invoke(t, nil, c.args...)
		if code != c.code || !strings.Contains(text, c.want) || strings.Count(text, "\n") != 1 {
			t.Errorf("%v: want code %d and %q, got %d:\n%s", c.args, c.code, c.want, code, text)
		}
	}
	if out, _, code := h.invoke(t, nil, "--help"); code != 0 || !strings.Contains(out, "--limit-rate") {
		t.Errorf("help: code %d:\n%s", code, out)
	}
}

// TestKnown: the table can be read, and says what a download needs.
func TestKnown(t *testing.T) {
	for _, f := range Known() {
		if f.SHA256 != "" && len(f.SHA256) != 64 {
			t.Errorf("%s: sha256 %q", f.Name, f.SHA256)
		}
		switch f.Kind {
		case "model", "draft", "data":
		default:
			t.Errorf("%s: kind %q", f.Name, f.Kind)
		}
		if f.Kind == "model" && (f.Memory < f.Bytes || f.Memory == 0) {
			t.Errorf("%s: %d bytes of memory for a file of %d", f.Name, f.Memory, f.Bytes)
		}
		if f.Path != "" && !filepath.IsLocal(f.dest(".")) {
			t.Errorf("%s: %s", f.Name, f.dest("."))
		}
	}
	for _, name := range []string{"q2", "q4", "mtp", "q2-imatrix", "q4-imatrix", "dspark", "vectors"} {
		if files, _ := lookup(name); len(files) == 0 {
			t.Errorf("%s is missing", name)
		}
	}
	for _, bad := range []string{"a b c", "a model x - - r f about", "a model -5 - - r f about"} {
		if _, err := readKnown(bad); err == nil {
			t.Errorf("%q: want an error", bad)
		}
	}
}

func TestWords(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 999: "999 bytes", 1000: "1.00 kB", 86720111200: "86.7 GB", 164633502304: "165 GB"} {
		if got := size(n); got != want {
			t.Errorf("%d: want %s, got %s", n, want, got)
		}
	}
	for d, want := range map[time.Duration]string{3 * time.Second: "3 s", 90 * time.Minute: "1 h 30 min", 125 * time.Second: "2 min"} {
		if got := clock(d); got != want {
			t.Errorf("%v: want %s, got %s", d, want, got)
		}
	}
	for s, want := range map[string]int64{"": 0, "500": 500, "500k": 512000, "1.5M": 1572864, "2G": 2 << 30} {
		if got, err := parseRate(s); err != nil || got != want {
			t.Errorf("%q: want %d, got %d, %v", s, want, got, err)
		}
	}
	for _, s := range []string{"0", "-1", "k", "1x", "NaN", "Inf", "1e300"} {
		if _, err := parseRate(s); err == nil {
			t.Errorf("%q: want an error", s)
		}
	}
	got := describe(fetch.Progress{Phase: fetch.Fetching, Bytes: 10e9, Total: 80e9, Rate: 50e6})
	if want := "fetching 10.0 GB of 80.0 GB (12%), 50.0 MB/s, 23 min left"; got != want {
		t.Errorf("want %q, got %q", want, got)
	}
}

// TestNotes: notes that differ in numbers alone are shown once.
func TestNotes(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := &command{stderr: f}
	d := c.newDisplay("x")
	for _, n := range []string{"part 1: reset", "part 2: reset", "part 2: 503", "part 7: reset"} {
		d.progress(fetch.Progress{Note: n})
	}
	b, err := os.ReadFile(f.Name())
	if err != nil || string(b) != "ds4: part 1: reset\nds4: part 2: 503\n" {
		t.Errorf("%v: %q", err, b)
	}
}
