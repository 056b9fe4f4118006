//go:build unix

package fetch

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// The full runs: go test -run 'TestKill|TestHuge' -kills 100 -killbytes 1073741824 -hugebytes 81000000000
var (
	kills     = flag.Int("kills", 10, "how often TestKill kills the download")
	killBytes = flag.Int64("killbytes", 128<<20, "size of the file of TestKill")
	hugeBytes = flag.Int64("hugebytes", 4<<30+4321, "size of the sparse file of TestHuge")
)

// A job is what a child process of the test fetches.
type job struct {
	Endpoint string
	Dest     string
	Counter  string // file of 8 bytes, shared: bytes read from sockets, over all lives
	Sparse   bool
}

const jobVariable = "DS4_FETCH_TEST_JOB"

func TestMain(m *testing.M) {
	if text := os.Getenv(jobVariable); text != "" {
		os.Exit(child(text))
	}
	os.Exit(m.Run())
}

// child fetches, and prints the result.
func child(text string) int {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		panic(err)
	}
	count, err := shared(j.Counter)
	if err != nil {
		panic(err)
	}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return countedConn{c, count}, err
	}
	c := Client{Endpoint: j.Endpoint, HTTP: &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 8}}}
	res, err := c.Get(context.Background(), Request{Repo: "owner/name", File: "model.gguf", Dest: j.Dest, Sparse: j.Sparse})
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	_ = json.NewEncoder(os.Stdout).Encode(outcome{res, peakMemory()})
	return 0
}

// An outcome is what a child prints.
type outcome struct {
	Result
	Memory int64 // the most it had, bytes
}

// peakMemory is the most this process has had in memory. Where the system does
// not tell, it is what Go has taken from it. (Maxrss will not do: it begins with the parent's.)
func peakMemory() int64 {
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		for line := range strings.Lines(string(status)) {
			var n int64
			if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &n); err == nil {
				return n << 10
			}
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}

// shared maps a counter that outlives the process.
func shared(path string) (*atomic.Int64, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := f.Truncate(8); err != nil {
		return nil, err
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, 8, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return (*atomic.Int64)(unsafe.Pointer(&b[0])), nil
}

type countedConn struct {
	net.Conn
	count *atomic.Int64
}

func (c countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.count.Add(int64(n))
	return n, err
}

// start runs a child with a job.
func start(t *testing.T, j job) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), jobVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	return cmd
}

// finish runs a child to its end and returns its result and the most memory it had, bytes.
func finish(t *testing.T, j job) (Result, int64) {
	t.Helper()
	cmd := start(t, j)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var o outcome
	if err := json.Unmarshal(out, &o); err != nil {
		t.Fatal(err)
	}
	return o.Result, o.Memory
}

// TestKill kills a download at random moments, then lets it finish: the file is
// right, and per life and connection no more than a buffer came twice.
func TestKill(t *testing.T) {
	h := newHub(t, content{seed: 21, size: *killBytes})
	dir := t.TempDir()
	j := job{Endpoint: h.front.URL, Dest: filepath.Join(dir, "model.gguf"), Counter: filepath.Join(dir, "count")}
	count, err := shared(j.Counter)
	if err != nil {
		t.Fatal(err)
	}
	killed := 0
	for killed < *kills {
		cmd := start(t, j)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		if rand.N(5) == 0 { // at any time: while it starts, compares, hashes, renames
			waitFor(ended, func() bool { return false }, rand.N(80*time.Millisecond))
		} else { // within the transfer
			until := count.Load() + rand.N(*killBytes*8/5/int64(*kills))
			waitFor(ended, func() bool { return count.Load() >= until }, time.Minute)
			time.Sleep(rand.N(2 * time.Millisecond))
		}
		_ = cmd.Process.Kill()
		if err := <-ended; err != nil {
			killed++
			continue
		}
		t.Logf("complete after %d kills; once more", killed)
		wantFile(t, j.Dest, h.file)
		if err := os.Remove(j.Dest); err != nil {
			t.Fatal(err)
		}
		count.Add(-*killBytes)
	}
	res, rss := finish(t, j)
	wantFile(t, j.Dest, h.file)
	twice := count.Load() - *killBytes
	headers := int64(len(h.requests())) * 1024
	const perConn = bufferBytes + 8<<10 // net/http reads ahead by its own small buffer
	if most := int64(killed)*defaultParts*perConn + headers; twice > most {
		t.Errorf("want at most %d bytes fetched twice over %d kills, got %d", most, killed, twice)
	}
	t.Logf("%d kills, %d MiB: %.1f MiB fetched twice, %.2f MiB a kill; the last life found %d MiB; %d MiB of memory",
		killed, *killBytes>>20, float64(twice)/(1<<20), float64(twice)/(1<<20)/float64(killed), res.Found>>20, rss>>20)
}

// waitFor returns when the condition holds, the process has ended, or the time is over.
func waitFor(ended chan error, cond func() bool, limit time.Duration) {
	end := time.Now().Add(limit)
	for !cond() && time.Now().Before(end) && len(ended) == 0 {
		time.Sleep(200 * time.Microsecond)
	}
}

// TestHuge: sizes over 4 GiB are real. The file is sparse at both ends of the
// line, every byte is sent and hashed, and memory stays small.
func TestHuge(t *testing.T) {
	if testing.Short() {
		t.Skip("sends gigabytes")
	}
	h := newHub(t, content{seed: 31, size: *hugeBytes, sparse: true})
	dir := t.TempDir()
	j := job{Endpoint: h.front.URL, Dest: filepath.Join(dir, "model.gguf"), Counter: filepath.Join(dir, "count"), Sparse: true}
	res, rss := finish(t, j)
	if res.Size != *hugeBytes || res.Fetched != *hugeBytes || res.SHA256 != h.etag {
		t.Errorf("%+v", res)
	}
	if rss > 64<<20 {
		t.Errorf("want at most 64 MiB of memory, got %d bytes", rss)
	}
	b := make([]byte, 1<<20)
	f, err := os.Open(j.Dest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := make([]byte, len(b))
	for off := int64(0); off < *hugeBytes; off += 4 << 30 {
		_, err1 := f.ReadAt(b, min(off, *hugeBytes-int64(len(b))))
		_, err2 := h.file.ReadAt(want, min(off, *hugeBytes-int64(len(b))))
		if err1 != nil || err2 != nil || string(b) != string(want) {
			t.Fatalf("at %d: the file differs: %v %v", off, err1, err2)
		}
	}
	t.Logf("%d bytes in %v, %.2f GB/s, %d MiB of memory", res.Size, res.Elapsed.Round(time.Millisecond),
		float64(res.Size)/1e9/res.Elapsed.Seconds(), rss>>20)
}
