package sched

import (
	"math/rand/v2"
	"testing"
)

// TestAhead compares what a request is told when it comes with how many leave before it.
func TestAhead(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	clients := []string{"a", "b", "c", "d"}
	for range 500 {
		var q queue
		for range r.IntN(20) {
			q.push(&Run{req: &Request{Client: clients[r.IntN(len(clients))]}})
			if r.IntN(3) == 0 {
				q.pop()
			}
		}
		last := &Run{req: &Request{Client: clients[r.IntN(len(clients))]}}
		want := q.ahead(last.req.Client)
		q.push(last)
		got := 0
		for q.pop() != last {
			got++
		}
		if got != want {
			t.Fatalf("client %s: want %d to leave before, got %d", last.req.Client, want, got)
		}
	}
}
