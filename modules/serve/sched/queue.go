package sched

import "slices"

// queue holds waiting requests by client. They leave in turns, one of each client, in order within a client.
type queue struct {
	clients []string          // who waits, the next one first
	waiting map[string][]*Run // never empty lists
	n       int
}

func (q *queue) push(r *Run) {
	if q.waiting == nil {
		q.waiting = map[string][]*Run{}
	}
	c := r.req.Client
	if len(q.waiting[c]) == 0 {
		q.clients = append(q.clients, c)
	}
	q.waiting[c] = append(q.waiting[c], r)
	q.n++
}

// putBack returns a request that left just now: it is the next again.
func (q *queue) putBack(r *Run) {
	if q.waiting == nil {
		q.waiting = map[string][]*Run{}
	}
	c := r.req.Client
	q.clients = slices.DeleteFunc(q.clients, func(x string) bool { return x == c })
	q.clients = slices.Insert(q.clients, 0, c)
	q.waiting[c] = slices.Insert(q.waiting[c], 0, r)
	q.n++
}

// pop takes the next request; nil when none waits.
func (q *queue) pop() *Run {
	if q.n == 0 {
		return nil
	}
	c := q.clients[0]
	q.clients = q.clients[1:]
	list := q.waiting[c]
	r := list[0]
	q.n--
	if len(list) == 1 {
		delete(q.waiting, c)
	} else {
		q.waiting[c] = list[1:]
		q.clients = append(q.clients, c)
	}
	return r
}

// remove takes out the requests for which gone says so, and returns them.
func (q *queue) remove(gone func(*Run) bool) []*Run {
	var out []*Run
	for c, list := range q.waiting {
		kept := list[:0:0]
		for _, r := range list {
			if gone(r) {
				out = append(out, r)
			} else {
				kept = append(kept, r)
			}
		}
		if len(kept) == 0 {
			delete(q.waiting, c)
			q.clients = slices.DeleteFunc(q.clients, func(x string) bool { return x == c })
		} else {
			q.waiting[c] = kept
		}
	}
	q.n -= len(out)
	return out
}

// of is how many requests of a client wait.
func (q *queue) of(client string) int { return len(q.waiting[client]) }

// ahead is how many requests leave before one of a client that comes now: all of its own, and of each other client as many
// as have their turn until then.
func (q *queue) ahead(client string) int {
	own := q.of(client)
	turns, n := own+1, own
	for _, c := range q.clients {
		if c == client {
			turns = own // those behind it have had one turn less
			continue
		}
		n += min(q.of(c), turns)
	}
	return n
}
