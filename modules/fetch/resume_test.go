package fetch

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// asked is the number of bytes that requests to the store asked for.
func (h *hub) askedBytes(from int) int64 {
	n := int64(0)
	for _, r := range h.requests()[from:] {
		if r.host != "store" {
			continue
		}
		if x, ok := h.span(&http.Request{Header: http.Header{"Range": {r.span}}}); ok {
			n += x.len()
		}
	}
	return n
}

func TestResume(t *testing.T) {
	h, dest := newHub(t, small), tempDest(t)
	interrupt(t, h, dest, 5)
	left, err := Inspect(dest)
	if err != nil || left.Size != small.size || left.Have < 1<<20 || left.SHA256 != small.sha256() {
		t.Fatalf("%+v, %v", left, err)
	}
	from := len(h.requests())
	res, err := h.client().Get(t.Context(), h.request(dest, nil))
	if err != nil {
		t.Fatal(err)
	}
	if res.Found != left.Have || res.Fetched != small.size-left.Have {
		t.Errorf("want %d found and %d fetched, got %+v", left.Have, small.size-left.Have, res)
	}
	if got := h.askedBytes(from); got != small.size-left.Have {
		t.Errorf("want %d bytes asked for, got %d", small.size-left.Have, got)
	}
	wantFile(t, dest, small)
	if _, err := Inspect(dest); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("want no journal, got %v", err)
	}
}

// TestPowerLoss: the journal has promised what the disk does not have. Data that
// no sync has covered is compared, and fetched again where it is not there.
func TestPowerLoss(t *testing.T) {
	h, dest := newHub(t, small), tempDest(t)
	interrupt(t, h, dest, 5)
	before, err := Inspect(dest)
	if err != nil || before.Check == 0 {
		t.Fatalf("%+v, %v", before, err)
	}
	f, err := os.OpenFile(dest+".part", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 1000), journalOf(t, dest).pending[0].off+4321); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	j, err := os.OpenFile(dest+".part.journal", os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.WriteString("half a record"); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	res, err := h.client().Get(t.Context(), h.request(dest, nil))
	if err != nil {
		t.Fatal(err)
	}
	if lost := before.Have - res.Found; lost < 1000 || lost > bufferBytes {
		t.Errorf("want one buffer fetched again, got %d bytes", lost)
	}
	wantFile(t, dest, small)
}

// journalOf reads the journal of an interrupted download.
func journalOf(t *testing.T, dest string) *journalState {
	t.Helper()
	f, err := os.Open(dest + ".part.journal")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := readJournal(f)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// TestPartDamaged: what was safe and is no longer the same is found by the hash.
func TestPartDamaged(t *testing.T) {
	h, dest := newHub(t, small), tempDest(t)
	interrupt(t, h, dest, 4)
	interrupt(t, h, dest, 2) // the second start has made the first one's data safe
	f, err := os.OpenFile(dest+".part", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{1, 2, 3, 4}, journalOf(t, dest).kept[0].off+100); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var he *HashError
	if _, err := h.client().Get(t.Context(), h.request(dest, nil)); !errors.As(err, &he) || he.Want != small.sha256() {
		t.Fatalf("want a hash error, got %v", err)
	}
	wantNothing(t, dest)
	if _, err := h.client().Get(t.Context(), h.request(dest, nil)); err != nil {
		t.Fatal(err)
	}
	wantFile(t, dest, small)
}

// TestAdopt: a partial file of curl -C -, under either name.
func TestAdopt(t *testing.T) {
	const n = 5<<20 + 77
	all := small.bytes()
	damaged := append([]byte(nil), all[:n]...)
	damaged[2<<20] ^= 1
	for _, c := range []struct {
		name, suffix string
		data         []byte
		found        int64
		want         string // of the error
	}{
		{"part", ".part", all[:n], n, ""},
		{"final name", "", all[:n], n, ""},
		{"part is whole", ".part", all, small.size, ""},
		{"part of one byte", ".part", all[:1], 1, ""},
		{"part of something else", ".part", make([]byte, n), 0, ""},
		{"part too long", ".part", make([]byte, small.size+1), 0, ""},
		{"something else", "", make([]byte, n), 0, "something else"},
		{"longer", "", make([]byte, small.size+1), 0, "move it away"},
		{"same size, other content", "", make([]byte, small.size), 0, "want sha256"},
		{"damaged in the middle", ".part", damaged, 0, "other program"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, dest := newHub(t, small), tempDest(t)
			if err := os.WriteFile(dest+c.suffix, c.data, 0o644); err != nil {
				t.Fatal(err)
			}
			res, err := h.client().Get(t.Context(), h.request(dest, nil))
			if c.want != "" {
				if c.want == "other program" {
					var he *HashError
					if !errors.As(err, &he) || !he.Adopted {
						t.Errorf("want a hash error that says adopted, got %v", err)
					}
				} else if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("want %q, got %v", c.want, err)
				}
				if got, _ := os.ReadFile(dest + c.suffix); c.suffix == "" && string(got) != string(c.data) {
					t.Error("the file that was there is not as it was")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if res.Found != c.found {
				t.Errorf("want %d bytes adopted, got %d", c.found, res.Found)
			}
			wantFile(t, dest, small)
		})
	}
}

// TestLock: the second of two says who holds the file, or waits for it.
func TestLock(t *testing.T) {
	h, dest, j := newHub(t, small), tempDest(t), &journalist{}
	started, carryOn := make(chan struct{}), make(chan struct{})
	h.onStore(func(_ http.ResponseWriter, r *http.Request, n int) bool {
		if n == 2 {
			close(started)
			select {
			case <-carryOn:
			case <-r.Context().Done():
			}
		}
		return false
	})
	c := h.client()
	c.Stall = time.Minute
	first := make(chan error, 1)
	go func() {
		_, err := c.Get(t.Context(), h.request(dest, nil))
		first <- err
	}()
	<-started
	var le *LockedError
	if _, err := c.Get(t.Context(), h.request(dest, nil)); !errors.As(err, &le) || !strings.Contains(err.Error(), "process ") {
		t.Errorf("want a LockedError that names the holder, got %v", err)
	}
	r := h.request(dest, j)
	r.Wait = true
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	if _, err := c.Get(ctx, r); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("want the deadline while waiting, got %v", err)
	}
	cancel()
	second := make(chan error, 1)
	go func() {
		_, err := c.Get(t.Context(), r)
		second <- err
	}()
	close(carryOn)
	if err := errors.Join(<-first, <-second); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(j.text(), "waiting") {
		t.Errorf("notes:\n%s", j.text())
	}
	wantFile(t, dest, small)
}

func TestLink(t *testing.T) {
	h, dir := newHub(t, small), t.TempDir()
	real, link := filepath.Join(dir, "elsewhere", "m.gguf"), filepath.Join(dir, "m.gguf")
	if err := os.MkdirAll(filepath.Dir(real), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(real, small.bytes()[:1000], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Skip("no links here: ", err)
	}
	if _, err := h.client().Get(t.Context(), h.request(link, nil)); err != nil {
		t.Fatal(err)
	}
	wantFile(t, real, small)
	if to, err := os.Readlink(link); err != nil || to != real {
		t.Errorf("want the link as it was, got %q, %v", to, err)
	}
}

func TestLimit(t *testing.T) {
	l := newLimiter(1000)
	n, err := l.admit(t.Context(), 1<<20)
	if err != nil || n != 512 {
		t.Errorf("want 512 bytes at a time, got %d, %v", n, err)
	}
	now := time.Now()
	l.took(500)
	l.took(500)
	if d := l.free.Sub(now); d < 900*time.Millisecond || d > 2*time.Second {
		t.Errorf("want the line taken for a second by 1000 bytes, got %v", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.admit(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("want context.Canceled, got %v", err)
	}
	h, dest := newHub(t, content{seed: 5, size: 2 << 20}), tempDest(t)
	r := h.request(dest, nil)
	r.Limit = 8 << 20
	if _, err := h.client().Get(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	wantFile(t, dest, h.file)
}

// TestSteal: an idle connection takes half of the largest rest.
func TestSteal(t *testing.T) {
	p := newPlan([]extent{{0, 100 << 20}}, 100<<20, 100<<20)
	a := p.take()
	if n := p.claim(a, bufferBytes); n != bufferBytes {
		t.Fatalf("claimed %d", n)
	}
	b := p.take()
	if b == nil || b.pos != a.end || b.end != 100<<20 || a.claimed > a.end {
		t.Fatalf("want the second half, got %+v of %+v", b, a)
	}
	for _, x := range []*part{a, b} {
		for p.claim(x, bufferBytes) > 0 {
			p.wrote(x, p.claim(x, bufferBytes))
		}
	}
	if done, finished, parts := p.count(); done != 100<<20 || finished != 2 || parts != 2 || p.frontier() != 100<<20 {
		t.Errorf("got %d bytes, %d of %d parts, frontier %d", done, finished, parts, p.frontier())
	}
	if p.take() != nil {
		t.Error("want nothing left")
	}
}

// TestPartBytes: a part never exceeds what the store serves.
func TestPartBytes(t *testing.T) {
	for _, size := range []int64{1, 1 << 20, 9<<20 + 1, 1 << 30, 81e9, 465e9, 1 << 50} {
		for _, conns := range []int{1, 8, 64} {
			n := partBytes(size, conns, 0)
			if n < bufferBytes || n > maxPartBytes || n%bufferBytes != 0 {
				t.Errorf("%d bytes over %d connections: parts of %d", size, conns, n)
			}
		}
	}
	if n := partBytes(465e9, 1, 1<<40); n != maxPartBytes {
		t.Errorf("want at most %d, got %d", int64(maxPartBytes), n)
	}
}
