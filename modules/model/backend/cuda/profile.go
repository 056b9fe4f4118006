package cuda

import "github.com/ds4-go/ds4/modules/model/backend/cuda/driver"

// profile times operations with events, where Options.Profile asks for it.
type profile struct {
	events []driver.Event
	ops    []op
	n      int
	sum    [opCount]float64 // milliseconds
	count  [opCount]int
}

// OpTime is what steps spent in one operation since the last Profile.
type OpTime struct {
	Name         string
	Calls        int
	Milliseconds float64
}

// Profile returns and clears the times of all operations that ran, in the order of the layer.
func (b *Backend) Profile() []OpTime {
	var out []OpTime
	p := &b.prof
	for k := range opCount {
		if p.count[k] > 0 {
			out = append(out, OpTime{opNames[k], p.count[k], p.sum[k]})
		}
	}
	p.sum, p.count = [opCount]float64{}, [opCount]int{}
	return out
}

// SetProfile turns timing on or off between steps.
func (b *Backend) SetProfile(on bool) { b.opt.Profile = on }

func (p *profile) begin(b *Backend) { p.n, p.ops = 0, p.ops[:0] }

// mark is called before an operation's launches.
func (p *profile) mark(b *Backend, k op) {
	if b.opt.Profile {
		p.ops = append(p.ops, k)
		p.record(b)
	}
}

func (p *profile) record(b *Backend) {
	if p.n == len(p.events) {
		e, err := b.d.NewEvent(true)
		if err != nil {
			b.fail(err)
			return
		}
		p.events = append(p.events, e)
	}
	b.check(b.d.Record(p.events[p.n], b.stream))
	p.n++
}

func (p *profile) end(b *Backend) {
	if !b.opt.Profile || b.err != nil || len(p.ops) == 0 {
		return
	}
	p.record(b)
	if b.check(b.d.Sync(b.stream)); b.err != nil {
		return
	}
	for i, k := range p.ops {
		if ms, err := b.d.Elapsed(p.events[i], p.events[i+1]); err == nil {
			p.sum[k] += float64(ms)
			p.count[k]++
		}
	}
}

func (p *profile) close(d *driver.Driver) {
	for _, e := range p.events {
		_ = d.FreeEvent(e)
	}
	p.events = nil
}
