package kvstore

import (
	"math"
	"time"
)

// What is removed first when the budget is reached:
//
//  1. quarantined files
//  2. blocks that no checkpoint leads through (a save that was cut off; those of the last two minutes may be one under way)
//  3. checkpoints that a longer one goes on from, unless they are a shared head (cold) or were of use lately
//  4. the others
//
// and among equals what has the least (h+1)·tokens/bytes, h being the hits, halved every six hours without one. Bytes are the
// checkpoint's and of those blocks that it alone leads through, which go with it.

const (
	hitsHalve  = 6 * time.Hour
	orphanRest = 2 * time.Minute
	lowWater   = 0.9 // of the budget: down to here, so that not every save has to remove something
)

// decayed is h.
func (e *entry) decayed(now int64) float64 {
	age := time.Duration(max(0, now-max(e.used, e.created))) * time.Second
	h := float64(e.hits) * math.Exp2(-float64(age)/float64(hitsHalve))
	if h < 0.01 {
		return 0
	}
	return h
}

// rank is the class above and the order in it; ok is false for what cannot go.
func (c *catalog) rank(e *entry, now int64) (class int, score float64, ok bool) {
	switch e.kind {
	case kindBad:
		return 1, float64(e.created), true
	case kindBlock:
		if c.under[e.key]+len(c.ends[e.key]) > 0 {
			return 0, 0, false
		}
		if class = 2; now-e.created < int64(orphanRest/time.Second) {
			class = 5
		}
		return class, float64(e.created), true
	}
	bytes := e.bytes
	if e.kind == kindEnd {
		for _, b := range c.own(e) {
			bytes += b.bytes
		}
	}
	h := e.decayed(now)
	score = (h + 1) * float64(e.tokens) / float64(max(bytes, 1))
	if class = 4; e.kind == kindEnd && h == 0 && e.reason != Cold && c.nexts[e.key] > 0 {
		class = 3
	}
	return class, score, true
}

// victim chooses what goes next, with the blocks that go with it, in the order of removal; none if all that is left is
// pinned or needed.
func (c *catalog) victim(now int64, pinned func(name string) bool) []*entry {
	var best *entry
	var bestClass int
	var bestScore float64
	for _, e := range c.entries {
		if pinned(e.name) {
			continue
		}
		class, score, ok := c.rank(e, now)
		if !ok {
			continue
		}
		older := best != nil && (e.used < best.used || e.used == best.used && e.name < best.name)
		if best == nil || class < bestClass || class == bestClass && (score < bestScore || score == bestScore && older) {
			best, bestClass, bestScore = e, class, score
		}
	}
	if best == nil {
		return nil
	}
	out := []*entry{best}
	if best.kind == kindEnd {
		for _, b := range c.own(best) {
			if pinned(b.name) {
				break // what lies below it is needed too
			}
			out = append(out, b)
		}
	}
	return out
}

// forget removes an entry; what went on from it now goes on from what it went on from.
func (c *catalog) forget(e *entry) {
	c.remove(e.name)
	if e.kind != kindEnd || c.nexts[e.key] == 0 {
		return
	}
	for _, f := range c.sorted() {
		if f.kind == kindEnd && f.prev == e.key {
			c.remove(f.name)
			f.prev = e.prev
			c.add(f)
		}
	}
}
