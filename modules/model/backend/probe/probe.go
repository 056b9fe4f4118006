// Package probe wraps a backend and looks at every operation: how long it took, what it wrote, how far a second backend
// would have been off. The story knows nothing of it.
package probe

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/ds4-go/ds4/modules/model/backend"
)

// Call is one operation of a step.
type Call struct {
	Op    string
	Layer int32         // −1 outside the layers
	Out   []backend.Buf // what it wrote, persistent state apart
	Outs  bool          // one row per output row of the step, not per row
}

// Backend passes everything on and calls hooks around each operation.
type Backend struct {
	backend.Backend // the nine verbs pass through; every operation is overridden below

	Before func(Call) // nil: none
	After  func(Call) // may Read, which on a device waits for the operation

	names map[int32]string
}

// Wrap makes a probe without hooks.
func Wrap(b backend.Backend) *Backend { return &Backend{Backend: b, names: map[int32]string{}} }

// Alloc remembers the buffer's name.
func (b *Backend) Alloc(name string, rows int, parts ...backend.Part) (backend.Buf, error) {
	u, err := b.Backend.Alloc(name, rows, parts...)
	if err == nil {
		b.names[u.ID] = name
	}
	return u, err
}

// Name is what a buffer was allocated as.
func (b *Backend) Name(u backend.Buf) string { return b.names[u.ID] }

// call runs one operation between the hooks. Absent buffers are left out.
func (b *Backend) call(op string, layer int32, outs bool, run func(), out ...backend.Buf) {
	c := Call{Op: op, Layer: layer, Outs: outs, Out: slices.DeleteFunc(out, func(u backend.Buf) bool { return u.ID == 0 })}
	if b.Before != nil {
		b.Before(c)
	}
	run()
	if b.After != nil {
		b.After(c)
	}
}

func (b *Backend) Embed(a backend.EmbedArgs) {
	b.call("embed", -1, false, func() { b.Backend.Embed(a) }, a.HC)
}
func (b *Backend) HCPre(a backend.HCPreArgs) {
	b.call("hc_pre", a.Layer, false, func() { b.Backend.HCPre(a) }, a.X, a.Mix)
}
func (b *Backend) AttnQKV(a backend.AttnQKVArgs) {
	b.call("attn_qkv", a.Layer, false, func() { b.Backend.AttnQKV(a) }, a.QLat, a.Q, a.KV)
}
func (b *Backend) Compress(a backend.CompressArgs) {
	b.call("compress", a.Layer, false, func() { b.Backend.Compress(a) })
}
func (b *Backend) IndexTopK(a backend.IndexTopKArgs) {
	b.call("index_topk", a.Layer, false, func() { b.Backend.IndexTopK(a) }, a.Sel)
}
func (b *Backend) Attend(a backend.AttendArgs) {
	b.call("attend", a.Layer, false, func() { b.Backend.Attend(a) }, a.O)
}
func (b *Backend) AttnOut(a backend.AttnOutArgs) {
	b.call("attn_out", a.Layer, false, func() { b.Backend.AttnOut(a) }, a.Y)
}
func (b *Backend) HCPost(a backend.HCPostArgs) {
	b.call("hc_post", a.Layer, false, func() { b.Backend.HCPost(a) }, a.HC, a.Tap)
}
func (b *Backend) Route(a backend.RouteArgs) {
	b.call("route", a.Layer, false, func() { b.Backend.Route(a) }, a.IDs, a.Weights)
}
func (b *Backend) Experts(a backend.ExpertsArgs) {
	b.call("experts", a.Layer, false, func() { b.Backend.Experts(a) }, a.Y, a.H)
}
func (b *Backend) SharedExpert(a backend.SharedExpertArgs) {
	b.call("shared_expert", a.Layer, false, func() { b.Backend.SharedExpert(a) }, a.Y)
}
func (b *Backend) HCHead(a backend.HCHeadArgs) {
	b.call("hc_head", -1, true, func() { b.Backend.HCHead(a) }, a.X)
}
func (b *Backend) Logits(a backend.LogitsArgs) {
	b.call("logits", -1, true, func() { b.Backend.Logits(a) }, a.Logits)
}
func (b *Backend) Top(a backend.TopArgs) {
	b.call("top", -1, false, func() { b.Backend.Top(a) })
}
func (b *Backend) DraftJoin(a backend.DraftJoinArgs) {
	b.call("draft_join", -1, false, func() { b.Backend.DraftJoin(a) }, a.HC)
}

// Timer adds up the time of each operation. On a device whose calls only queue it measures the queueing; see the
// backend's own counters there.
type Timer struct {
	start time.Time
	spent map[string]time.Duration
	calls map[string]int
}

// Time hooks a timer into the probe.
func (b *Backend) Time() *Timer {
	t := &Timer{spent: map[string]time.Duration{}, calls: map[string]int{}}
	b.Before = func(Call) { t.start = time.Now() }
	b.After = func(c Call) {
		t.spent[c.Op] += time.Since(t.start)
		t.calls[c.Op]++
	}
	return t
}

// Reset forgets what was added up.
func (t *Timer) Reset() {
	clear(t.spent)
	clear(t.calls)
}

// OpTime is the time of one operation.
type OpTime struct {
	Op      string  `json:"op"`
	Seconds float64 `json:"seconds"`
	Calls   int     `json:"calls"`
}

// Ops are the times of all operations, the longest first.
func (t *Timer) Ops() []OpTime {
	list := []OpTime{}
	for op, d := range t.spent {
		list = append(list, OpTime{op, d.Seconds(), t.calls[op]})
	}
	slices.SortFunc(list, func(a, b OpTime) int { return cmp.Or(cmp.Compare(b.Seconds, a.Seconds), cmp.Compare(a.Op, b.Op)) })
	return list
}

// Spent is the time and the number of calls of one operation.
func (t *Timer) Spent(op string) (time.Duration, int) { return t.spent[op], t.calls[op] }

// String is a table, the longest first.
func (t *Timer) String() string { return Table(t.Ops()) }

// Table writes operations one a line: name, time, share of the sum, calls.
func Table(ops []OpTime) string {
	total := 0.0
	for _, o := range ops {
		total += o.Seconds
	}
	out := ""
	for _, o := range ops {
		out += fmt.Sprintf("%-14s %10.3f ms %5.1f%% %6d calls\n", o.Op, o.Seconds*1e3, 100*o.Seconds/max(total, 1e-12), o.Calls)
	}
	return out
}
