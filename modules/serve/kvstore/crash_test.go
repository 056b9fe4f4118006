package kvstore

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Children of these tests are this test binary again, with a role in the environment.
const (
	childRole = "KVSTORE_TEST_CHILD"
	crashes   = "KVSTORE_TEST_CRASHES" // how many; 200 is what we promise
)

func TestMain(m *testing.M) {
	switch role := strings.Split(os.Getenv(childRole), "|"); {
	case role[0] == "engine":
		if err := restoring(role[1], Format(number(role[2]))); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	case role[0] != "":
		child(role)
	}
	os.Exit(m.Run())
}

const talks, shared = 6, 4500

// child saves and looks up for ever, or as often as it is told, and says on its standard output what is stored.
func child(role []string) {
	dir, seed, budget, times := role[0], number(role[1]), number(role[2]), number(role[3])
	fail := func(err error) {
		fmt.Println("error", err)
		os.Exit(1)
	}
	d, err := OpenDir(dir)
	if err != nil {
		fail(err)
	}
	stored := make(chan Event, 1)
	s, err := Open(Options{Blobs: d, Shape: small(), CtxTokens: 100000, MinTokens: 16, BudgetBytes: int64(budget), Log: func(e Event) {
		switch e.Op {
		case Stored, Failed, Skipped:
			stored <- e
		case Quarantined, Rebuilt:
			fmt.Println("error", e.Op, e.Name, e.Why, e.Err)
		}
	}})
	if err != nil {
		fail(err)
	}
	fmt.Println("ready")
	r := rand.New(rand.NewPCG(uint64(seed), 1))
	for i := 0; times == 0 || i < times; i++ {
		id, n := r.IntN(talks), 16+r.IntN(9000)
		f := newFake(small(), talk(id, shared, n))
		if err := s.Save(f, Mark{Reason: Reason(r.IntN(5))}); err != nil {
			fail(err)
		}
		if e := <-stored; e.Op == Stored {
			fmt.Println("stored", id, n)
		} else {
			fmt.Println("error", e.Op, e.Why, e.Err)
		}
		prompt := talk(r.IntN(talks), shared, 9100)
		if h, err := s.Lookup(Query{Tokens: prompt}); err == nil {
			if err := newFake(small(), prompt).check(h); err != nil && !strings.Contains(err.Error(), ErrNotFound.Error()) {
				fmt.Println("error", err)
			}
			h.Close(Used)
		}
	}
	if err := s.Close(context.Background()); err != nil {
		fail(err)
	}
	os.Exit(0)
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// start runs a child and collects what it says. ready is closed when it begins to write, or ends.
func start(t *testing.T, dir string, seed, budget, times int) (cmd *exec.Cmd, ready chan struct{}, wait func() []string) {
	t.Helper()
	cmd = exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d|%d|%d", childRole, dir, seed, budget, times))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan []string)
	ready = make(chan struct{})
	go func() {
		var l []string
		begin := sync.OnceFunc(func() { close(ready) })
		for sc := bufio.NewScanner(out); sc.Scan(); {
			if sc.Text() == "ready" {
				begin()
				continue
			}
			l = append(l, sc.Text())
		}
		begin()
		lines <- l
	}()
	return cmd, ready, func() []string {
		l := <-lines
		_ = cmd.Wait()
		for _, s := range l {
			if strings.HasPrefix(s, "error") {
				t.Errorf("child: %s", s)
			}
		}
		return l
	}
}

// folderBytes is the size of everything in a folder.
func folderBytes(t *testing.T, dir string) (total int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			total += info.Size()
		}
	}
	return total
}

// A writer is killed at random moments. Whatever is there afterwards loads right, what it had reported as stored is there,
// and the budget holds.
func TestCrash(t *testing.T) {
	rounds := 20
	if v := os.Getenv(crashes); v != "" {
		rounds = number(v)
	} else if testing.Short() {
		rounds = 4
	}
	r := rand.New(rand.NewPCG(11, 12))
	var dir string
	var known [talks]map[int]bool
	stored := 0
	for i := range rounds {
		roomy := i/10%2 == 0 // nothing is evicted: nothing may be missing
		budget := 3 << 20
		if roomy {
			budget = 1 << 30
		}
		if i%10 == 0 {
			dir = t.TempDir()
			for id := range known {
				known[id] = map[int]bool{}
			}
		}
		cmd, ready, wait := start(t, dir, i+1000, budget, 0)
		if i%8 != 0 { // else it may not even have opened the store
			<-ready
		}
		time.Sleep(time.Duration(1+r.IntN(250)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for _, l := range wait() {
			var id, n int
			if _, err := fmt.Sscanf(l, "stored %d %d", &id, &n); err == nil {
				known[id][n] = true
				stored++
			}
		}
		if got := folderBytes(t, dir); got > int64(budget) {
			t.Fatalf("round %d: want at most %d bytes, got %d", i, budget, got)
		}
		b := openBox(t, dir, func(o *Options) { o.BudgetBytes = int64(budget) })
		for id := range known {
			prompt := talk(id, shared, 9100)
			if roomy {
				for n := range known[id] {
					b.want(prompt[:n+1], n)
				}
			}
			for { // everything that is found, longest first
				h, err := b.Lookup(Query{Tokens: prompt})
				if err != nil {
					break
				}
				if err := newFake(small(), prompt).check(h); err != nil {
					t.Fatalf("round %d: %s: %v", i, h.Name, err)
				}
				prompt = prompt[:len(h.Tokens)]
				h.Close(Unused)
			}
		}
		if n := b.count(Quarantined); n > 0 {
			t.Fatalf("round %d: %d files are damaged", i, n)
		}
		b.close()
	}
	t.Logf("killed %d times, %d checkpoints stored", rounds, stored)
}

// Two processes write into one folder and read from it at once.
func TestTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	const budget = 4 << 20
	_, _, wait1 := start(t, dir, 1, budget, 25)
	_, _, wait2 := start(t, dir, 2, budget, 25)
	n := len(wait1()) + len(wait2())
	if n != 50 {
		t.Errorf("want 50 checkpoints stored, got %d", n)
	}
	if got := folderBytes(t, dir); got > budget {
		t.Errorf("want at most %d bytes, got %d", budget, got)
	}
	b := openBox(t, dir, func(o *Options) { o.BudgetBytes = budget })
	found := 0
	for id := range talks {
		prompt := talk(id, shared, 9100)
		if h, err := b.Lookup(Query{Tokens: prompt}); err == nil {
			found++
			if err := newFake(small(), prompt).check(h); err != nil {
				t.Error(err)
			}
			h.Close(Used)
		}
	}
	if found == 0 || b.count(Quarantined) > 0 {
		t.Errorf("found %d talks, %d damaged files", found, b.count(Quarantined))
	}
}

// What one store writes another one, open on the same folder, finds at its next lookup; what one removes the other misses.
func TestTwoStores(t *testing.T) {
	dir := t.TempDir()
	a, b := openBox(t, dir), openBox(t, dir)
	prompt := talk(1, 0, 5000)
	a.save(prompt[:4500], Mark{})
	b.want(prompt, 4500)
	if f := b.save(prompt[:4600], Mark{}); f.read != 1 {
		t.Errorf("want 1 page read, got %d", f.read)
	}
	a.want(prompt, 4600)
	if err := b.Wipe(); err != nil {
		t.Fatal(err)
	}
	a.want(prompt, 0)
	if got := folderBytes(t, dir); got > 100 {
		t.Errorf("want an empty index left, got %d bytes", got)
	}
}
