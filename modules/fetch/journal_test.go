package fetch

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	id := identity{Source: "https://hub/x", Size: 1000, ETag: "e", SHA256: "s", Commit: "c", Adopted: true}
	j, err := createJournal(path, id, []extent{{0, 100}, {900, 1000}})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	steps := []error{
		j.wrote(100, []byte("abc")),
		j.wrote(103, []byte("def")),
		j.sync(data),
		j.sync(data), // nothing new: writes nothing
		j.wrote(500, []byte("ghi")),
		j.Close(),
	}
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := readJournal(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if st.id != id || st.torn {
		t.Errorf("%+v", st)
	}
	if want := []extent{{0, 106}, {900, 1000}}; !slices.Equal(st.kept, want) {
		t.Errorf("kept: want %v, got %v", want, st.kept)
	}
	if len(st.pending) != 1 || st.pending[0].extent != (extent{500, 503}) {
		t.Errorf("pending: got %v", st.pending)
	}
	// each cut and each flipped bit gives less, or an error, never more
	for i := range b {
		for _, bad := range [][]byte{b[:i], flip(b, i)} {
			got, err := readJournal(bytes.NewReader(bad))
			if err != nil {
				if !errors.Is(err, ErrCorrupt) {
					t.Fatalf("byte %d: want ErrCorrupt, got %v", i, err)
				}
				continue
			}
			if got.id != id || total(got.kept) > 206 || len(got.pending) > 3 {
				t.Fatalf("byte %d: %+v", i, got)
			}
		}
	}
}

func flip(b []byte, i int) []byte {
	c := slices.Clone(b)
	c[i] ^= 0x40
	return c
}

func TestExtents(t *testing.T) {
	xs := merge([]extent{{50, 60}, {0, 10}, {10, 20}, {5, 7}, {30, 30}, {55, 70}})
	if want := []extent{{0, 20}, {50, 70}}; !slices.Equal(xs, want) {
		t.Errorf("merge: want %v, got %v", want, xs)
	}
	if want := []extent{{20, 50}, {70, 100}}; !slices.Equal(gaps(xs, 100), want) {
		t.Errorf("gaps: want %v, got %v", want, gaps(xs, 100))
	}
	if want := []extent{{0, 20}, {50, 55}}; !slices.Equal(clip(xs, 55), want) {
		t.Errorf("clip: want %v, got %v", want, clip(xs, 55))
	}
	if total(xs) != 40 || len(gaps(nil, 0)) != 0 {
		t.Error("total or gaps of nothing")
	}
}

func FuzzJournal(f *testing.F) {
	head, err := encodeIdentity(identity{Source: "https://hub/x", Size: 1 << 30, ETag: "e"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(head)
	f.Add(slices.Concat(head, encodeRecord(recordKept, 0, 0, 4096), encodeRecord(recordWritten, 7, 8192, 1<<20),
		encodeRecord(recordSynced, 0, 2, 0), encodeRecord(recordWritten, 9, 1<<29, 1)))
	f.Add(slices.Concat(head, encodeRecord(recordWritten, 0, 1<<63, 1<<63)))
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(b []byte) {
			st, err := readJournal(bytes.NewReader(b))
			if err != nil {
				return
			}
			if st.id.Size <= 0 {
				t.Fatalf("size %d", st.id.Size)
			}
			at := int64(-1)
			for _, x := range st.kept {
				if x.off <= at || x.end <= x.off || x.end > st.id.Size {
					t.Fatalf("kept %v in %d bytes", st.kept, st.id.Size)
				}
				at = x.end
			}
			for _, r := range st.pending {
				if r.off < 0 || r.end <= r.off || r.end > st.id.Size {
					t.Fatalf("pending %v in %d bytes", r, st.id.Size)
				}
			}
		}
		check(b)
		// behind a good header, with good checksums, so that the fuzzer gets past them
		good := slices.Clone(head)
		for len(b) >= 28 {
			rec := encodeRecord(uint32(b[0])%5, uint32(b[4]), u64(b[8:]), u64(b[16:]))
			good = append(good, rec...)
			b = b[28:]
		}
		check(append(good, b...))
	})
}

func u64(b []byte) (n uint64) {
	for i := range 8 {
		n |= uint64(b[i]) << (8 * i)
	}
	return n
}

func FuzzHeaders(f *testing.F) {
	f.Add("bytes 0-99/1000", "5", `W/"abc"`, "1000")
	f.Add("bytes */0", "Fri, 31 Dec 2027 23:59:59 GMT", `"`+small.sha256()+`"`, "-1")
	f.Add("bytes 9223372036854775807-9223372036854775807/*", "99999999999999999999", "", "9223372036854775808")
	f.Fuzz(func(t *testing.T, contentRange, retry, etag, size string) {
		if first, last, n, err := parseContentRange(contentRange); err == nil {
			if first < 0 || last < first || n != -1 && last >= n {
				t.Fatalf("%q: %d-%d/%d", contentRange, first, last, n)
			}
		}
		if d := parseRetryAfter(retry, time.Now()); d < 0 || d > maxRetryAfter {
			t.Fatalf("%q: %v", retry, d)
		}
		for _, final := range []bool{false, true} {
			h := http.Header{}
			h.Set("X-Linked-Size", size)
			h.Set("X-Linked-Etag", etag)
			h.Set("Etag", etag)
			h.Set("Content-Length", size)
			h.Set("X-Repo-Commit", etag)
			m, err := readMetadata(h, final)
			if err != nil {
				continue
			}
			m.hashes()
			if m.size < -1 || m.sha256 != "" && len(m.sha256) != 64 || m.gitSHA != "" && len(m.gitSHA) != 40 || m.commit != "" && len(m.commit) != 40 {
				t.Fatalf("%+v", m)
			}
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for s, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "1.5": 0, "86400": maxRetryAfter, "99999999999999999999": 0,
		now.Add(time.Minute).Format(http.TimeFormat):  time.Minute,
		now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		if got := parseRetryAfter(s, now); got != want {
			t.Errorf("%q: want %v, got %v", s, want, got)
		}
	}
}
