package kvstore

import (
	"math/rand/v2"
	"testing"
)

// clock is a settable Options.now.
type clock struct{ now int64 }

func (c *clock) set(o *Options) { o.now = func() int64 { return c.now } }

func budget(bytes int64) set { return func(o *Options) { o.BudgetBytes = bytes } }

// Random saves and hits under a small budget: the folder never exceeds it, every checkpoint listed is complete, and what
// is found is right.
func TestBudget(t *testing.T) {
	const limit = 3 << 20
	dir, c := t.TempDir(), &clock{now: 1e9}
	b := openBox(t, dir, c.set, budget(limit))
	r := rand.New(rand.NewPCG(21, 22))
	for range 60 {
		c.now += r.Int64N(4000)
		id := r.IntN(8)
		b.save(talk(id, shared, 16+r.IntN(9000)), Mark{Reason: Reason(r.IntN(5))})
		if got := folderBytes(t, dir); got > limit {
			t.Fatalf("want at most %d bytes, got %d", limit, got)
		}
		for _, i := range b.List() {
			if !i.Complete {
				t.Fatalf("%s lacks blocks", i.Name)
			}
		}
		prompt := talk(r.IntN(8), shared, 9100)
		if h, err := b.Lookup(Query{Tokens: prompt}); err == nil {
			if err := newFake(b.o.Shape, prompt).check(h); err != nil {
				t.Fatal(err)
			}
			h.Close(Outcome(r.IntN(2)))
		}
	}
	if b.count(Evicted) == 0 || b.count(Quarantined) > 0 {
		t.Errorf("want evictions and no damage, got %d and %d", b.count(Evicted), b.count(Quarantined))
	}
	if used := b.Stats().Bytes; used < limit/3 {
		t.Errorf("want the budget used, got %d of %d bytes", used, limit)
	}
}

// What a prompt is about to load stays, whatever is saved meanwhile.
func TestPinned(t *testing.T) {
	c := &clock{now: 1e9}
	b := openBox(t, t.TempDir(), c.set, budget(2500<<10))
	prompt := talk(1, 0, 7000)
	b.save(prompt[:6500], Mark{})
	h, err := b.Lookup(Query{Tokens: prompt})
	if err != nil {
		t.Fatal(err)
	}
	for id := range 10 {
		c.now += 1000
		b.save(talk(id+10, 0, 4500), Mark{Reason: Cold})
	}
	if b.count(Evicted) == 0 {
		t.Fatal("want evictions, got none")
	}
	if err := newFake(b.o.Shape, prompt).check(h); err != nil {
		t.Fatal(err)
	}
	h.Close(Unused)
	for id := range 10 {
		c.now += 1000
		b.save(talk(id+30, 0, 4500), Mark{Reason: Cold})
	}
	b.want(prompt, 0) // and goes when nobody needs it
}

// Order of removal: superseded before superseding, unused before used, a shared head last.
func TestOrder(t *testing.T) {
	c := &clock{now: 1e9}
	dir := t.TempDir()
	b := openBox(t, dir, c.set)
	prompt := talk(1, shared, 9000)
	b.save(prompt[:2100], Mark{Reason: Cold})
	b.save(prompt[:5000], Mark{Reason: Continued})
	b.save(prompt[:8000], Mark{Reason: Evict})
	b.save(talk(2, shared, 8000), Mark{Reason: Evict})
	b.want(talk(2, shared, 8001), 8000) // a hit
	c.now += 600
	var order []int
	for {
		gone := b.catalog.victim(c.now, func(string) bool { return false })
		if len(gone) == 0 {
			break
		}
		if gone[0].kind != kindEnd {
			t.Fatalf("want a checkpoint with its blocks, got %s", gone[0])
		}
		order = append(order, gone[0].tokens*10+int(gone[0].hits))
		for _, e := range gone {
			b.catalog.forget(e)
		}
	}
	want := []int{50000, 80000, 80001, 21000} // tokens·10 + hits
	for i := range want {
		if i >= len(order) || order[i] != want[i] {
			t.Fatalf("want %v, got %v", want, order)
		}
	}
}

// Blocks of a save that was cut off are used by the next one, and removed first if there is none.
func TestOrphans(t *testing.T) {
	c := &clock{now: 1e9}
	b := openBox(t, t.TempDir(), c.set, budget(3<<20))
	f := newFake(b.o.Shape, talk(1, 0, 5000))
	p := plan{tokens: f.tokens}
	p.pages, p.end = chain(b.root, f.tokens)
	if _, err := b.saveMissing(f, &p); err != nil {
		t.Fatal(err)
	}
	if g := b.save(f.tokens, Mark{}); g.read != 1 {
		t.Errorf("want 1 page read, got %d", g.read)
	}
	f = newFake(b.o.Shape, talk(2, 0, 5000))
	p = plan{tokens: f.tokens}
	p.pages, p.end = chain(b.root, f.tokens)
	if _, err := b.saveMissing(f, &p); err != nil {
		t.Fatal(err)
	}
	c.now += 1000
	gone := b.catalog.victim(c.now, func(string) bool { return false })
	if len(gone) != 1 || gone[0].kind != kindBlock || gone[0].tokens != 4096 {
		t.Errorf("want the last orphan, got %v", gone)
	}
}
