package program

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Options say how a server starts. It listens on a port of its own, with the demo model on the CPU.
type Options struct {
	Args []string // more flags
	Env  []string // more environment, NAME=VALUE each
}

// Server is a running "ds4 serve".
type Server struct {
	URL string // without a slash at the end

	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how; to be read after done

	mu  sync.Mutex
	log strings.Builder
}

// patience is how long a server may take to say where it listens, and to stop. Nothing is measured by it.
const patience = 2 * time.Minute

// Serve starts a server and waits until it answers.
func Serve(t *testing.T, o Options) *Server {
	t.Helper()
	args := append([]string{"serve", "--demo", "--backend", "cpu", "--port", "0"}, o.Args...)
	s := &Server{t: t, done: make(chan struct{}), cmd: command(context.WithoutCancel(t.Context()), t, o.Env, args...)}
	out, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	address := make(chan string, 1)
	go s.follow(out, address)
	select {
	case s.URL = <-address:
	case <-s.done:
		t.Fatalf("ds4 serve %v: ended at once: %v\n%s", o.Args, s.err, s.Log())
	case <-time.After(patience):
		t.Fatalf("ds4 serve %v: does not say where it listens\n%s", o.Args, s.Log())
	}
	s.Get("/health") // it listens before it accepts, so this waits
	return s
}

// follow keeps what the server says until it ends.
func (s *Server) follow(out io.Reader, address chan<- string) {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		s.mu.Lock()
		s.log.WriteString(line)
		s.mu.Unlock()
		if f := strings.Fields(line); len(f) == 2 && f[0] == "address" {
			address <- f[1]
		}
		if err != nil {
			break
		}
	}
	s.err = s.cmd.Wait()
	close(s.done)
}

// Log is what the server has said so far.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// Kill ends the process as a power cut would. It may have ended before.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // an error says that it has ended
	<-s.done
}

// Stop asks the process to end, and fails the test where it does not do so well.
func (s *Server) Stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatalf("ds4 serve: %v\n%s", err, s.Log())
	}
	select {
	case <-s.done:
		if s.err != nil {
			s.t.Fatalf("ds4 serve: stopped with %v\n%s", s.err, s.Log())
		}
	case <-time.After(patience):
		s.t.Fatalf("ds4 serve: does not stop\n%s", s.Log())
	}
}

// Get returns what the server answers on a path.
func (s *Server) Get(path string) string {
	s.t.Helper()
	q, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+Key)
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.Log())
	}
	defer func() { _ = a.Body.Close() }()
	text, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: want status 200, got %s, %v: %s", path, a.Status, err, text)
	}
	return string(text)
}

// Metric is the value of one of the server's metrics; labels as they are written, {source="disk"}, belong to the name.
func (s *Server) Metric(name string) float64 {
	s.t.Helper()
	for line := range strings.Lines(s.Get("/metrics")) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				s.t.Fatalf("%s: %v", name, err)
			}
			return v
		}
	}
	return 0
}

// Await waits until ok says yes, which must not depend on how fast the machine is.
func (s *Server) Await(what string, ok func() bool) {
	s.t.Helper()
	for since := time.Now(); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Since(since) > patience {
			s.t.Fatalf("ds4 serve: still waiting for %s\n%s", what, s.Log())
		}
	}
}
