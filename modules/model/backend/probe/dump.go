package probe

import "github.com/ds4-go/ds4/modules/model/backend"

// Dump calls f with every row that an operation wrote, as bytes. rows and outs say how many rows a step has now.
func (b *Backend) Dump(rows, outs func() int, f func(c Call, name string, row int, p []byte)) {
	b.After = func(c Call) {
		n := rows()
		if c.Outs {
			n = outs()
		}
		for _, u := range c.Out {
			p := make([]byte, u.RowBytes)
			for i := range min(n, int(u.Rows)) {
				b.Read(p, u, i, nil)
				f(c, b.Name(u), i, p)
			}
		}
	}
}

// Compare dumps two probes of equal models, run one after the other over the same steps, and calls f with every pair of
// rows. The first is run to its end before the second: first keeps what it saw.
type Compare struct {
	rows map[compareKey][]byte
	seq  map[compareKey]int
}

type compareKey struct {
	op, name   string
	layer      int32
	row, visit int
}

// First records everything that b writes.
func (c *Compare) First(b *Backend, rows, outs func() int) {
	c.rows, c.seq = map[compareKey][]byte{}, map[compareKey]int{}
	b.Dump(rows, outs, func(call Call, name string, row int, p []byte) {
		c.rows[c.key(call, name, row)] = append([]byte(nil), p...)
	})
}

// Second compares everything that b writes with what First recorded; a row that First never saw comes with want nil.
func (c *Compare) Second(b *Backend, rows, outs func() int, f func(call Call, name string, row int, got, want []byte)) {
	c.seq = map[compareKey]int{}
	b.Dump(rows, outs, func(call Call, name string, row int, p []byte) {
		f(call, name, row, p, c.rows[c.key(call, name, row)])
	})
}

func (c *Compare) key(call Call, name string, row int) compareKey {
	k := compareKey{op: call.Op, name: name, layer: call.Layer, row: row}
	k.visit = c.seq[k]
	c.seq[compareKey{op: call.Op, name: name, layer: call.Layer, row: row}]++
	return k
}

var _ backend.Backend = (*Backend)(nil)
