package kvstore

import "time"

// Event is something that happened, for logs.
type Event struct {
	Op     Op
	Name   string // file, where there is one
	Reason Reason
	Tokens int
	Bytes  int64 // written, read or removed
	Hits   uint32
	Took   time.Duration
	Why    string
	Err    error
}

// Op is the kind of an event.
type Op string

// Events.
const (
	Stored      Op = "stored"      // a checkpoint is complete; Bytes are what it cost
	Skipped     Op = "skipped"     // a save that was not done; Why
	Failed      Op = "failed"      // a save or an index that could not be written; Err
	Evicted     Op = "evicted"     // a file went, to hold the budget
	Quarantined Op = "quarantined" // a file was found damaged; Err
	Rebuilt     Op = "rebuilt"     // the index was made anew; Why
)

// Stats are counters and the state of the store, for metrics.
type Stats struct {
	Files, Checkpoints  int
	Bytes, BudgetBytes  int64
	Hits, Misses, Saves int64
	Evictions, Bad      int64
	BytesRead, BytesPut int64
	Queue               int
}
